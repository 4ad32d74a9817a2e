"""Meta-analysis of each variant: what the sites would find alone, combined, while no site's finding is seen.

Every site regresses the trait on each variant among its own samples, with an intercept and covariates of its
own. Combined by weights w = 1/se² [1]_, effects need nothing but sums over the sites: Σw, Σwβ, Σwβ² and Σw²
give the fixed effect, Cochran's Q and DerSimonian and Laird's τ², and with that known, Σw* and Σw*β of
w* = 1/(se² + τ²) give the effect of a random sample of sites. These sums and the results are the same
information, so the sums are opened, rounded.

Beside `linear`, whose estimates are those of the pooled samples, this tells where sites disagree.

References
----------
.. [1] R. DerSimonian, N. Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7, 1986,
   177–188.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg, stats

from fedstats import _table, design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.gwas import _strands, _traits, _variants, linear_kernel, plots
from fedstats.gwas._ahead import blocks
from fedstats.gwas._inflation import lambda_gc
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Block, Genotypes
from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.reconcile import Reconciled
from fedstats.gwas.results import GWASResult
from fedstats.results import Result
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Floats: TypeAlias = NDArray[np.float64]

#: A covariate is a combination of others at a site if they leave less than this part of its length.
TOLERANCE: Final = 1e-7
#: Bits to which a site rounds what it adds.
DIGITS: Final = 36

_OPENED: Final = {
    **design.AGGREGATE,
    **_strands.OPENED,
    "samples": "number of samples that are used, and of rows that were left out",
    "spread": "Σ of squares of the trait about each site's own mean",
    "weights": "of each variant: number of sites that have an estimate, and Σw, Σwβ, Σwβ² and Σw² over them",
    "random weights": "of each variant whose τ² is not 0: Σw* and Σw*β",
}
DECLARATION = Declaration(
    "gwas.meta_analysis",
    aggregate=_OPENED,
    result=_OPENED,
    published={**_variants.PUBLISHED, **design.PUBLISHED},
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GWASMetaResult(Result):
    """Estimates of the sites, combined for every variant; the same at every site.

    Attributes
    ----------
    trait
        What was analysed.
    nobs, n_missing
        Samples of all sites that were used; rows of all sites' cohorts that were left out.
    reconciled
        How the sites' variant lists were matched.
    """

    trait: str
    nobs: int
    n_missing: int
    frame: pd.DataFrame = field(repr=False)
    reconciled: Reconciled = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant in the order of the genome.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`; `beta`,
        `standard_error` and `p_value` of the fixed effect, `rsid`, `neg_log10_p`; `n_sites` that have an
        estimate; Cochran's `q` and its `q_p_value`; `i2`, the share of the variation that is between sites,
        and `tau2`, its variance; `beta_random`, `standard_error_random` and `p_value_random`.
        NaN where no site has an estimate, or, of what compares sites, only one.
        """
        return self.frame.copy()

    def beside(self, pooled: GWASResult) -> pd.DataFrame:
        """Return this table, with `beta_pooled`, `standard_error_pooled` and `p_value_pooled` of a scan."""
        names = ["beta", "standard_error", "p_value"]
        other = pooled.to_frame()[[*_variants.KEY, *names]]
        renamed = other.rename(columns={name: f"{name}_pooled" for name in names})
        return self.frame.merge(renamed, how="left", on=_variants.KEY)

    @property
    def lambda_gc(self) -> float:
        """Genomic control factor of the fixed effects."""
        return lambda_gc(self.frame["neg_log10_p"].to_numpy())

    def summary(self) -> str:
        """Return the most significant variants, and how far sites agree, as text."""
        f = self.frame
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Left out", f"{self.n_missing:,}"),
            ("Sites", len(self.sites)),
            ("Variants estimated", f"{int(f['beta'].notna().sum()):,}"),
            ("P < 5e-8", int((f["neg_log10_p"] > plots.GENOME_WIDE).sum())),
            ("P(Q) < 1e-6", int((f["q_p_value"] < 1e-6).sum())),
            ("Mean I²", round(float(f["i2"].mean()), 4)),
            ("Genomic control λ", round(self.lambda_gc, 4)),
        ]
        top = f.nlargest(10, "neg_log10_p")
        place = top["chromosome"] + ":" + top["base_pair_location"].astype(str)
        shown = [
            "beta",
            "standard_error",
            "neg_log10_p",
            "beta_random",
            "standard_error_random",
            "i2",
            "q_p_value",
        ]
        heads = ["beta", "se", "-log10 p", "random", "its se", "I²", "P(Q)"]
        table = top[shown].set_axis(place).set_axis(heads, axis=1)
        return "\n".join(
            [
                f"Meta-analysis of {self.trait} with each variant",
                *_table.pair_lines(facts),
                "",
                *_table.frame_lines(table, digits=4),
                "",
                f"Cost: {self.cost}",
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the Manhattan plot of the fixed effects; needs matplotlib."""
        return plots.manhattan(self.frame, ax=ax)


def meta_analysis(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: str,
    covariates: Sequence[str] = (),
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: Disclose = "result",
) -> GWASMetaResult:
    """Regress a quantitative trait on each variant at every site alone, and combine what they find.

    Parameters
    ----------
    genotypes, cohort, trait, covariates, variants, ambiguous
        As in `linear`. A covariate that does not vary at a site, or is a combination of others there, takes
        no part there.
    disclose
        Both modes open the same.

    Returns
    -------
    GWASMetaResult

    Raises
    ------
    DataError
        The genotype files, the ids, the trait or a covariate cannot be used; or the sites share no variant.
    RemoteError
        The same at another site.
    EstimationError
        The trait does not vary at any site.

    Notes
    -----
    Missing calls are left out, as of ``missing="exact"`` in `linear`. A site with too few samples for its
    regressions has no estimate, and takes no part. P values are of the normal distribution.

    **Leakage.** Every site learns, of each variant, the combined effect and standard error, Q, τ², and of
    how many sites they are; and each site's list of variants. No site's own estimate is opened; where two
    sites have one, each knows the other's by subtraction, and of three sites, any two that put theirs
    together know the third's.

    **Cost.** Seven rounds, one more if the variant lists differ, and two or four for each block of 2,048
    variants, with five or seven sums a variant.

    Examples
    --------
    >>> by_site = fs.gwas.meta_analysis(geno, cohort, trait="ldl", covariates=["age"])  # doctest: +SKIP
    >>> by_site.beside(hits).query("q_p_value < 1e-6")  # doctest: +SKIP
    """

    def check() -> None:
        _traits.check_traits([trait], covariates)

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        samples, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, check=check
        )
        part = design.agree_design(
            run,
            cohort,
            " + ".join([f"{trait} ~ 1", *covariates]),
            call=f"ambiguous={ambiguous!r}",
            needs_response=True,
            check=lambda: samples >= 0,
        )
        _traits.require_intercept(part, covariates)
        dropped = part.dropped + int(np.count_nonzero(samples < 0))
        n, n_missing = (int(count) for count in run.sum("samples", np.array([part.rows.size, dropped])))
        run.check_rows(n, len(part.names))
        members = genotypes.members(samples[part.rows])
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        own = _Own.of(part.X, cast(Array, part.y))
        scale = _scale(run, cast(Array, part.y), n, trait)
        numbers = members.numbers(np.hstack([own.Q, own.R]), terms=own.Q.shape[1])

        def local(where: slice) -> tuple[Floats, Floats]:
            block = genotypes.block(shared, where, members)
            scan = _alone(block, members, numbers)
            return scan.beta[:, 0] * own.unit / scale, scan.standard_error[:, 0] * own.unit / scale

        tables = []
        for number, _, (beta, error) in blocks(run, len(shared), local):
            has = np.isfinite(beta) & (error > 0)
            sums = run.sum("weights", _summands(beta, error, has), ring=FIXED128, part=number)
            table = _fixed(sums)
            varies = np.flatnonzero(table["tau2"] > 0)
            if varies.size:
                b, e, here = beta[varies], error[varies], has[varies]
                u = np.where(here, 1 / (e**2 + table["tau2"].to_numpy()[varies]), 0.0)
                mine = _rounded(np.column_stack([u, u * np.where(here, b, 0.0)]))
                again = run.sum("random weights", mine, ring=FIXED128, part=number)
                table.loc[varies, "beta_random"] = again[:, 1] / again[:, 0]
                table.loc[varies, "standard_error_random"] = 1 / np.sqrt(again[:, 0])
            tables.append(table)
        return GWASMetaResult(
            **run.finish(),
            trait=trait,
            nobs=n,
            n_missing=n_missing,
            frame=_frame(shared, pd.concat(tables, ignore_index=True), scale),
            reconciled=shared,
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Own:
    """Covariates and trait of this site alone; its repr shows no row.

    Attributes
    ----------
    Q
        Covariates that are no combinations of others here, Q'Q = n·I, columns sum to zero.
    R
        What they leave of the trait, r'r = n.
    unit
        Of R, in the trait's; NaN if they leave nothing.
    """

    Q: Floats
    R: Floats
    unit: float

    @classmethod
    def of(cls, X: Array, y: Array) -> _Own:
        """Orthonormalise this site's rows; the first column of X is the intercept."""
        n = len(X)
        if not n:
            return cls(np.zeros((0, 0)), np.zeros((0, 1)), 1.0)
        centred, y = X[:, 1:] - X[:, 1:].mean(axis=0), y - y.mean()
        length = np.sqrt(np.square(X[:, 1:]).sum(axis=0))
        varies = np.sqrt(np.square(centred).sum(axis=0)) > TOLERANCE * length
        scaled = centred[:, varies] / np.sqrt(np.square(centred[:, varies]).sum(axis=0))
        Q, R, _ = linalg.qr(scaled, mode="economic", pivoting=True)
        Q = Q[:, np.abs(np.diag(R)) > TOLERANCE]
        left = y - Q @ (Q.T @ y)
        left -= Q @ (Q.T @ left)
        size = np.linalg.norm(left)
        nothing = size <= TOLERANCE * np.linalg.norm(y)
        unit = np.nan if nothing else size / np.sqrt(n)
        return cls(Q * np.sqrt(n), np.nan_to_num(left[:, np.newaxis] / unit), float(unit))


def _alone(block: Block, members: Members, numbers: Numbers) -> linear_kernel.Scan:
    """Return the regressions among this site's samples, on those of them that have a call."""
    n = len(members)
    sums = linear_kernel.first_sums(block, numbers)
    which = np.flatnonzero(sums[:, 0])
    of_missing, squares = block.squares_of_missing(which, numbers)
    centred = linear_kernel.centre(sums, n, which, of_missing)
    lost = linear_kernel.deficit(of_missing, squares, n - sums[which, 0], numbers)
    with np.errstate(invalid="ignore"):  # of no samples
        return linear_kernel.solve(centred, which, lost, n, numbers)


def _scale(run: Analysis, y: Array, n: int, trait: str) -> float:
    """Return a power of two near the trait's standard deviation within sites: sums have few bits."""
    apart = np.square(y - y.mean()).sum() if y.size else 0.0
    [squares] = run.sum("spread", np.array([apart]))
    if not squares > 0:
        raise EstimationError(f"the trait {trait!r} does not vary among the samples of any site")
    return float(2.0 ** np.round(np.log2(squares / n) / 2))


def _summands(beta: Floats, error: Floats, has: NDArray[np.bool_]) -> Floats:
    """Return what this site adds: whether it has an estimate, w, wβ, wβ² and w²."""
    b = np.where(has, beta, 0.0)
    with np.errstate(divide="ignore"):
        w = np.where(has, 1 / error**2, 0.0)
    return np.column_stack([has, _rounded(np.column_stack([w, w * b, w * b**2, w**2]))])


def _rounded(values: Floats) -> Floats:
    """Round to `DIGITS` bits."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, DIGITS)), exponent - DIGITS))


def _fixed(sums: Floats) -> pd.DataFrame:
    """Return fixed effects and what compares sites; random effects as if τ² were 0."""
    k, w, wb, wbb, ww = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        beta, error = wb / w, 1 / np.sqrt(w)
        q = np.where(k > 1, np.maximum(wbb - wb**2 / w, 0.0), np.nan)
        tau2 = np.maximum((q - (k - 1)) / (w - ww / w), 0.0)
        i2 = np.where(q > 0, np.maximum(q - (k - 1), 0.0) / q, np.where(np.isnan(q), np.nan, 0.0))
    random = np.where(k > 1, beta, np.nan)
    return pd.DataFrame(
        {
            "beta": beta,
            "standard_error": np.where(k > 0, error, np.nan),
            "n_sites": np.rint(k).astype(np.int64),
            "q": q,
            "q_p_value": stats.chi2.sf(q, np.maximum(k - 1, 1)),
            "i2": i2,
            "tau2": tau2,
            "beta_random": random,
            "standard_error_random": np.where(k > 1, error, np.nan),
        }
    )


def _frame(shared: Reconciled, found: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Return the table of a result, in the unit of the trait and of one copy."""
    known = shared.variants
    minus_log = _neg_log10_p(found["beta"] / found["standard_error"])
    random = _neg_log10_p(found["beta_random"] / found["standard_error_random"])
    # The one copy of a haploid chromosome is counted as two.
    unit = scale * np.where(known["chromosome"].isin(_variants.HAPLOID), 2.0, 1.0)
    return pd.DataFrame(
        {
            **{name: known[name] for name in _variants.KEY},
            "beta": found["beta"] * unit,
            "standard_error": found["standard_error"] * unit,
            "p_value": 10.0**-minus_log,
            "rsid": known["rsid"],
            "neg_log10_p": minus_log,
            **{name: found[name] for name in ("n_sites", "q", "q_p_value", "i2")},
            "tau2": found["tau2"] * unit**2,
            "beta_random": found["beta_random"] * unit,
            "standard_error_random": found["standard_error_random"] * unit,
            "p_value_random": 10.0**-random,
        }
    )


def _neg_log10_p(z: pd.Series[float]) -> Floats:
    return np.asarray(-(stats.norm.logsf(np.abs(z)) + np.log(2)) / np.log(10))
