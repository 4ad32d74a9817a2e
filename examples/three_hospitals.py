"""Three hospitals in one process: the way to try fedstats, and to test a script before sending it round.

    python examples/three_hospitals.py

README.md shows what it prints. At real sites the body of `analysis` stands in a script of its own, below
``with fs.join() as federation:``.
"""

import pandas as pd
from sklearn.datasets import load_diabetes

import fedstats as fs


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> list[fs.results.Result]:
    """Analyse one hospital's rows together with the others': every hospital runs this."""
    patients = federation.cohort(rows)
    return [
        fs.describe(patients, ["age", "bmi", "bp"], by="sex"),
        fs.ols("progression ~ age + C(sex) + bmi + bp", patients, cov_type="HC1"),
    ]


if __name__ == "__main__":
    table = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    table["sex"] = table["sex"].map({1.0: "female", 2.0: "male"})
    hospitals = [table[:60], table[60:200], table[200:]]

    describe, fit = fs.simulate(analysis, hospitals, names=["aachen", "bergen", "cork"])[0]
    print(describe.summary(), fit.summary(), fit.leakage, sep="\n\n")
