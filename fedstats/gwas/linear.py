"""Linear regression of a quantitative trait on each variant, over the samples of all sites.

For every variant g the model is trait ~ g + covariates, with missing calls of g set to the pooled mean.
By the theorem of Frisch, Waugh and Lovell its slope is g'r / g'(I − QQ'/n)g, where Q spans
the covariates and r is the trait's residual on them. The sites first orthonormalise the covariates
over all samples (`orthonormalise`), once. Then everything a variant needs is a handful of sums over
samples, and the sites open those block by block: while one block's sums are on their way, the next
block is decoded and multiplied. Memory does not grow with the number of variants.

Rounds: two or three to agree, eight for covariates and trait, two a block, one to confirm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import design
from fedstats._progress import progress
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.gwas import linear_kernel
from fedstats.gwas._pvalue import neg_log10_p, two_sided_p
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.results import GWASResult
from fedstats.gwas.varianttable import VariantTable
from fedstats.regression import _orthonormal
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.regression._orthonormal import Orthonormal

#: Variants whose sums travel together: enough that rounds cost little, few enough to hold easily.
BLOCK = 2048
#: Longest variant list accepted from a site: some 30 million variants.
MAX_LISTING = 1 << 30
#: The covariates explain a trait entirely if they leave less than this part of its length.
EXPLAINED = 1e-10

DECLARATION = Declaration(
    "gwas.linear",
    aggregate={
        **design.AGGREGATE,
        **_orthonormal.AGGREGATE,
        "trait residuals": "sum of squares of the trait's residuals on the covariates",
        "variant sums": "of each variant: Σg² of its calls, and Σ of calls and of missing calls times 1, "
        "each orthonormalised covariate and the trait's residual",
    },
    published={
        "genotypes": "number and SHA-256 of each site's list of variants",
        "variants": "each site's list of variants, if the lists differ: positions, names, alleles in order",
        **design.PUBLISHED,
    },
)


def linear(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: str,
    covariates: Sequence[str] = (),
    missing: Literal["impute"] = "impute",
    ambiguous: Literal["keep", "drop"] = "keep",
    disclose: Disclose = "aggregate",
) -> GWASResult:
    """Test every variant that the sites share for association with a quantitative trait.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Trait and covariates, with an ``id`` column that holds the .fam files' individual ids.
        Rows without genotypes, and rows with a missing trait or covariate, are left out and counted.
    trait
        A numeric column, or a transformed one such as ``"log(ldl)"``.
    covariates
        Terms as in the formula of `ols`: ``["age", "C(centre)", "pc1"]``. An intercept is added.
    missing
        ``"impute"`` sets missing calls to the variant's mean over all sites.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be told from their alleles, are kept and
        flagged, or dropped.
    disclose
        ``"aggregate"``: each variant's pooled sums are opened to every site.

    Returns
    -------
    GWASResult
        One row a variant; NaN where a variant does not vary beyond the covariates.

    Raises
    ------
    DataError
        The genotype files, the ids, the trait or a covariate cannot be used; or the sites share no
        variant. Raised before anything is opened.
    RemoteError
        The same at another site.
    EstimationError
        The covariates are singular, or explain the trait entirely, or there are too few samples.

    Notes
    -----
    **Leakage.** Every site learns, of all sites together: counts, sums and cross-products of the trait
    and the covariates, as from `ols`; and of each variant the sums that `DECLARATION` lists, allele
    frequency included. Pooled allele frequencies suffice to tell whether a known genome is among the
    samples [1]_. Of each single site it learns the list of variants. A coalition of t sites learns the
    same sums over the other n − t sites; all but one learn the remaining site's.

    **Cost.** Eleven rounds, one more if the variant lists differ, and two for each block of 2,048
    variants. For k columns of covariates and v variants, each site sends about 24·(2k + 5)·v·(s − 1)/s
    bytes when there are s sites, whatever the number of samples.

    References
    ----------
    .. [1] N. Homer et al., "Resolving individuals contributing trace amounts of DNA to highly complex
       mixtures using high-density SNP genotyping microarrays", PLoS Genetics 4(8), 2008.

    Examples
    --------
    >>> hits = fs.gwas.linear(geno, cohort, trait="ldl", covariates=["age", "pc1"])  # doctest: +SKIP
    >>> hits.to_frame().nsmallest(10, "p_value")  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        samples, shared = _agree_variants(run, genotypes, cohort, missing, ambiguous)
        part = design.agree_design(
            run,
            cohort,
            " + ".join([f"{trait} ~ 1", *covariates]),
            call=f"missing={missing!r}, ambiguous={ambiguous!r}",
            needs_response=True,
            check=lambda: samples >= 0,
        )
        basis = _orthonormal.orthonormalise(
            run,
            part.X,
            part.names,
            cast(Array, part.y)[:, np.newaxis],
            has_intercept=part.has_intercept,
            dropped=part.dropped + int(np.count_nonzero(samples < 0)),
        )
        residual, unit = _trait_residual(run, basis, trait)
        scan = _scan(run, genotypes, samples[part.rows], shared, basis, residual)
        return _result(run, basis, shared, scan, unit, trait)


def _agree_variants(
    run: Analysis,
    genotypes: Genotypes,
    cohort: Cohort,
    missing: str,
    ambiguous: Literal["keep", "drop"],
) -> tuple[NDArray[np.int64], Reconciled]:
    """Return each cohort row's sample, or −1, and the variants that all sites share.

    The lists themselves travel only if their fingerprints differ.
    """
    matched: list[NDArray[np.int64]] = []

    def check() -> Mapping[str, Any]:
        if genotypes.federation is not cohort.federation:
            raise DataError(
                "genotypes and cohort belong to different federations: open both with the same one"
            )
        if missing != "impute":
            raise DataError(f"missing={missing!r}: linear knows 'impute'")
        if ambiguous not in ("keep", "drop"):
            raise DataError(f"ambiguous={ambiguous!r}: 'keep' or 'drop'")
        matched.append(genotypes.match(cohort))
        return {"variants": len(genotypes.table), "sha256": genotypes.table.fingerprint()}

    told = run.agree("genotypes", check)
    if all(its == told[run.federation.site] for its in told.values()):
        tables = dict.fromkeys(run.sites, genotypes.table)
    else:
        lists = run.agree("variants", genotypes.table.to_wire, max_bytes=MAX_LISTING)
        tables = {site: VariantTable.from_wire(its, site=site) for site, its in lists.items()}
    shared = reconcile(tables, ambiguous=ambiguous)
    if not len(shared):
        reasons = ", ".join(f"{count} {reason}" for reason, count in shared.counts.items() if count)
        raise DataError(
            f"the sites share no variant ({reasons}): compare genome build, chromosome names and alleles"
        )
    return matched[0], shared


def _trait_residual(run: Analysis, basis: Orthonormal, trait: str) -> tuple[Array, float]:
    """Return the trait's residual on the covariates with mean square 1, and its unit in the trait's."""
    residual = basis.Y[:, 0] - basis.Q @ basis.projections[:, 0]
    of_trait = np.array([residual @ residual])
    squares = float(run.sum("trait residuals", of_trait)[0])
    if squares <= EXPLAINED**2 * basis.y_sums[1, 0]:
        raise EstimationError(f"the covariates explain the trait {trait!r} entirely, or it does not vary")
    spread = np.sqrt(squares / basis.n)
    return residual / spread, float(spread * basis.frame.unit[0])


def _scan(
    run: Analysis,
    genotypes: Genotypes,
    samples: NDArray[np.int64],
    shared: Reconciled,
    basis: Orthonormal,
    residual: Array,
) -> linear_kernel.Scan:
    """Open the sums of all variants, block by block, and solve each block."""
    index, flip = shared.index[run.federation.site], shared.flip[run.federation.site]

    def local(start: int) -> Array:
        rows = slice(start, start + BLOCK)

        def read(part: slice) -> NDArray[np.int8]:
            return genotypes.bed.read(index[rows][part], samples, flip=flip[rows][part])

        return linear_kernel.block_sums(read, index[rows].size, basis.Q, residual)

    starts = range(0, len(shared), BLOCK)
    scans: list[linear_kernel.Scan] = []
    with (
        ThreadPoolExecutor(1) as ahead,
        progress(run.federation, run.declaration.name, len(starts)) as advance,
    ):
        coming = ahead.submit(local, 0)
        for number, start in enumerate(starts):
            mine = coming.result()
            if start + BLOCK < len(shared):
                coming = ahead.submit(local, start + BLOCK)
            pooled = run.sum("variant sums", mine, ring=FIXED128, part=number)
            scans.append(linear_kernel.solve(pooled, basis.n))
            advance()
    return linear_kernel.Scan.concatenate(scans)


def _result(
    run: Analysis, basis: Orthonormal, shared: Reconciled, scan: linear_kernel.Scan, unit: float, trait: str
) -> GWASResult:
    known = shared.variants
    frame = pd.DataFrame(
        {
            "chromosome": known["chromosome"],
            "base_pair_location": known["base_pair_location"],
            "effect_allele": known["effect_allele"],
            "other_allele": known["other_allele"],
            "beta": scan.beta * unit,
            "standard_error": scan.standard_error * unit,
            "effect_allele_frequency": scan.frequency,
            "p_value": two_sided_p(scan.statistic, scan.df),
            "rsid": known["rsid"],
            "n": basis.n,
            "neg_log10_p": neg_log10_p(scan.statistic, scan.df),
            "t": scan.statistic,
            "missing_rate": scan.missing_rate,
            "ambiguous": known["ambiguous"],
        }
    )
    return GWASResult(
        **run.finish(),
        trait=trait,
        frame=frame,
        nobs=basis.n,
        n_missing=basis.dropped,
        df_resid=scan.df,
        reconciled=shared,
    )
