"""A risk score: ridge regression cross-validated over hospitals, and its ROC curve in new patients.

    python examples/risk_model.py

Three hospitals model how far diabetes progresses within a year. To choose the penalty, each of them is left
out in turn. They learn the chosen coefficients, and of the cross-validation a mean error for each penalty;
nothing of a single hospital. Each then scores its new patients itself, and all together draw the ROC curve
for fast progression. What it prints, among other things::

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

    ROC curve of fast

    Rows   148    Area under the curve           0.87183
    Cases   59    Standard error                0.027484
    Sites    3    95 % interval         0.8180 to 0.9257

            fpr     tpr
    ───────────────────
    0         0       0
    1         0  0.2542
    2   0.03371  0.4576
    3    0.1236  0.5593
    4    0.2022  0.6949
    5    0.2809  0.8305
    6     0.382  0.9322
    7    0.5169  0.9831
    8    0.6629       1
    9    0.8315       1
    10        1       1
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

import fedstats as fs

FORMULA = "progression ~ age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6"


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> list[fs.results.Result]:
    """Fit and evaluate together with the other hospitals: every hospital runs this."""
    is_new = np.arange(len(rows)) % 3 == 0
    known, new = rows[~is_new], rows[is_new]

    fit = fs.ridge(FORMULA, federation.cohort(known), cv="sites", n_alphas=16)

    new = new.assign(fast=new["progression"] > 180)
    scores = fit.predict(new)  # never leaves the hospital
    curve = fs.roc(federation.cohort(new), score=scores, outcome="fast", points=10)
    return [fit, curve]


if __name__ == "__main__":
    table = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    hospitals = [table[:90], table[90:230], table[230:]]

    fit, curve = fs.simulate(analysis, hospitals, names=["aachen", "bergen", "cork"])[0]
    print(fit.summary(), curve.summary(), fit.leakage, sep="\n\n")
