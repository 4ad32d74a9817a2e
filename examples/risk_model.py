"""Two risk scores, ridge and lasso, cross-validated over hospitals, and their ROC curves in new patients.

    python examples/risk_model.py

Three hospitals model how far diabetes progresses within a year. To choose the penalty, each of them is left
out in turn. They learn the chosen coefficients, and of the cross-validation a mean error for each penalty;
nothing of a single hospital. In the same way they model whether it progresses fast, by logistic regression on
few terms. Each hospital then scores its new patients itself, and all together draw the ROC curve of either
score. What it prints, among other things::

    Penalised regression: progression ~ age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6

    Response                 progression    Share of l1                                 0
    Rows                             294    Coefficients not zero                10 of 10
    Rows left out (missing)            0    Held out                    each site in turn
    Sites                              3    Rule                                      min
    Family                      gaussian    Error (mean squared error)               2915
    Alpha                      0.0034145    Its standard error                     139.83

                   coef
    ───────────────────
    Intercept    -310.2
    age         0.15636
    sex          -17.65
    bmi          5.2305
    bp           1.0705
    s1         -0.98339
    s2          0.52777
    s3          0.57181
    s4           11.779
    s5           59.091
    s6          0.15051

    Penalised regression: fast ~ age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6

    Response                     fast    Share of l1                            1
    Rows                          294    Coefficients not zero            3 of 10
    Rows left out (missing)         0    Held out               each site in turn
    Sites                           3    Rule                                 1se
    Family                   binomial    Error (mean deviance)             1.0144
    Alpha                    0.081643    Its standard error              0.071431

                   coef
    ───────────────────
    Intercept   -7.8717
    age               0
    sex               0
    bmi        0.096452
    bp         0.010385
    s1                0
    s2                0
    s3                0
    s4                0
    s5          0.75773
    s6                0

    ROC curve of fast

    Rows   148    Area under the curve           0.87412
    Cases   59    Standard error                0.027381
    Sites    3    95 % interval         0.8205 to 0.9278

            fpr     tpr
    ───────────────────
    0         0       0
    1         0  0.2542
    2   0.04494  0.4407
    3    0.1011  0.5932
    4    0.2135   0.678
    5    0.2809  0.8305
    6    0.3596  0.9661
    7    0.5169  0.9831
    8    0.6629       1
    9    0.8315       1
    10        1       1
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

import fedstats as fs

TERMS = "age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6"


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> list[fs.results.Result]:
    """Fit and evaluate together with the other hospitals: every hospital runs this."""
    rows = rows.assign(fast=(rows["progression"] > 180).astype(int))
    is_new = np.arange(len(rows)) % 3 == 0
    known, new = federation.cohort(rows[~is_new]), rows[is_new]

    ridge = fs.ridge(f"progression ~ {TERMS}", known, cv="sites", n_alphas=16)
    lasso = fs.lasso(f"fast ~ {TERMS}", known, family="binomial", cv="sites", rule="1se", n_alphas=8)

    results: list[fs.results.Result] = [ridge, lasso]
    for fit in (ridge, lasso):
        scores = fit.predict(new)  # never leaves the hospital
        results.append(fs.roc(federation.cohort(new), score=scores, outcome="fast", points=10))
    return results


if __name__ == "__main__":
    table = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    hospitals = [table[:90], table[90:230], table[230:]]

    results = fs.simulate(analysis, hospitals, names=["aachen", "bergen", "cork"])[0]
    for result in results:
        print(result.summary(), end="\n\n")
    print(results[0].leakage)
