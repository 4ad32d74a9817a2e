"""A risk score: ridge regression cross-validated over hospitals, and its ROC curve in patients it has not seen.

    python examples/risk_model.py

Three hospitals fit how far diabetes progresses within a year, each of them left out in turn to choose the penalty.
They learn the coefficients, and of the cross-validation one mean error for each penalty; no hospital's own. Every
hospital then scores its new patients itself, and all together draw the ROC curve for fast progression.
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

    fit = fs.ridge(FORMULA, federation.cohort(known), cv="sites", n_alphas=20)

    new = new.assign(fast=new["progression"] > 180)
    scores = fit.predict(new)  # never leaves the hospital
    curve = fs.roc(federation.cohort(new), score=scores, outcome="fast", points=10)
    return [fit, curve]


if __name__ == "__main__":
    table = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    hospitals = [table[:90], table[90:230], table[230:]]

    fit, curve = fs.simulate(analysis, hospitals, names=["aachen", "bergen", "cork"])[0]
    print(fit.summary(), curve.summary(), fit.leakage, sep="\n\n")
