"""Differential privacy with no curator: analyses whose results tell next to nothing of any single row.

Every function here opens sums over all sites with noise, or what is chosen by such sums, and nothing else.
Nobody draws that noise for all: each site adds its own to its own numbers, so that t sites that pool their
rows and their noise learn no more than anybody from the result (`protocols.noise`, `protocols.choice`). What
a call may cost is said as ``rho=``, in ρ of zero-concentrated differential privacy, which adds up over
analyses as exact fractions; or as ``epsilon=`` with ``delta=``. A site with a budget reserves the cost before
the noise is drawn, or all stop.

**Neighbours** are tables that differ by one row, added or removed at any site: the number of rows is private
too. A patient with k rows has the protection of k²·ρ. Not protected is what does not depend on rows: the
script with its bounds and levels, names and kinds of columns, that a site takes part. Bounds, edges, grids
and levels must be known beforehand; taken from the rows they tell of them. Missing, infinite and extreme
values, and levels that were not declared, are clipped or left out, and never an error.

**Intervals** account for the noise, and unless a function says otherwise for sampling as well.

Functions: `mean`, `histogram`, `value_counts`, `crosstab`, `quantile`, `ols`, `logit`, `chi2_contingency`,
`kaplan_meier`, `allele_frequencies`, `gwas_top`; `plan` says what they would cost and how precise they would
be.
"""

from fedstats.privacy._model import PrivateModel
from fedstats.privacy._result import PrivateResult, PrivateTable
from fedstats.privacy.accounting import delta_for, epsilon_for, rho_for
from fedstats.privacy.association import PrivateTop, gwas_top
from fedstats.privacy.contingency import PrivateTest, chi2_contingency
from fedstats.privacy.counts import crosstab, histogram, value_counts
from fedstats.privacy.frequencies import PrivateFrequencies, allele_frequencies
from fedstats.privacy.linear import ols
from fedstats.privacy.logistic import logit
from fedstats.privacy.moments import mean
from fedstats.privacy.planning import Plan, plan
from fedstats.privacy.quantiles import quantile
from fedstats.privacy.survival import PrivateCurve, kaplan_meier

__all__ = [
    "Plan",
    "PrivateCurve",
    "PrivateFrequencies",
    "PrivateModel",
    "PrivateResult",
    "PrivateTable",
    "PrivateTest",
    "PrivateTop",
    "allele_frequencies",
    "chi2_contingency",
    "crosstab",
    "delta_for",
    "epsilon_for",
    "gwas_top",
    "histogram",
    "kaplan_meier",
    "logit",
    "mean",
    "ols",
    "plan",
    "quantile",
    "rho_for",
    "value_counts",
]
