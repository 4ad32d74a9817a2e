"""Linear regression of a quantitative trait on each variant, over the samples of all sites.

For every variant g the model is trait ~ g + covariates, on the samples that have a call, or on all with
missing calls set to the mean. The sites first orthonormalise the covariates over all samples
(`orthonormalise`), once, and take the traits' residuals on them. Then everything a variant needs is a
handful of sums over samples (`linear_kernel`), and the sites open those block by block: while one block's
sums are on their way, the next block is multiplied. Memory does not grow with the number of variants.

Rounds: two or three to agree, eight for covariates and traits, two or four a block, one to confirm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.disclosure import Declaration, DiscloseGated
from fedstats.errors import DataError
from fedstats.gwas import _traits, _variants, linear_kernel, linear_shares
from fedstats.gwas._ahead import blocks
from fedstats.gwas._pvalue import neg_log10_p
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.reconcile import Reconciled
from fedstats.gwas.results import GWASResult
from fedstats.vertical import gwas as linked
from fedstats.vertical.cohort import VerticalCohort
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.gwas._traits import Traits


Floats: TypeAlias = NDArray[np.float64]
Missing: TypeAlias = Literal["exact", "impute"]

DECLARATION = Declaration(
    "gwas.linear",
    aggregate={
        **_traits.AGGREGATE,
        "variant sums": "of each variant: number of missing calls, Σg and Σg² of its calls, and Σ of its "
        "calls times each orthonormalised covariate and residual; centred site by site, and with the number "
        "of sites that have calls, if each site has an intercept",
        "missing calls": "of each variant that lacks calls: Σ over these of each orthonormalised covariate "
        "and residual and, for exact regressions, of their products",
    },
    result={
        **_traits.AGGREGATE,
        "associations": "of each variant: its variation that the covariates leave, and its product with each "
        "trait's residual, which is to say effect and standard error",
    },
    gated={
        **_traits.AGGREGATE,
        "passing": "which variants pass the threshold with which trait",
        "associations": "the same as of a result, of variants that pass",
    },
    published={**_variants.PUBLISHED, **_traits.PUBLISHED},
)


@overload
def linear(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: str,
    covariates: Sequence[str] = (),
    missing: Missing | None = None,
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
) -> GWASResult: ...


@overload
def linear(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: list[str],
    covariates: Sequence[str] = (),
    missing: Missing | None = None,
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
) -> dict[str, GWASResult]: ...


def linear(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: str | list[str],
    covariates: Sequence[str] = (),
    missing: Missing | None = None,
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
) -> GWASResult | dict[str, GWASResult]:
    """Test every variant that the sites share for association with quantitative traits.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Trait and covariates, with an ``id`` column that holds the .fam files' individual ids.
        Rows without genotypes, and rows with a missing trait or covariate, are left out and counted. Or
        linked columns, ``fed.cohort(…, partition="vertical", on=…, id=…)``: one site has the genotypes of
        all, the others ``fed.genotypes(None)``, and trait and covariates are at any. One trait, and
        ``"result"``.
    trait
        A numeric column, or a transformed one such as ``"log(ldl)"``; or a list of such, which are scanned
        together on the rows that have them all, at little more than the cost of one. Traits that many
        rows lack are better scanned by themselves.
    covariates
        Terms as in the formula of `ols`: ``["age", "C(centre)", "pc1"]``. An intercept is added, and
        cannot be taken away.
    missing
        ``"exact"`` regresses each variant on the samples that have a call, as PLINK does, with those of
        the covariates that are no combination of others among these samples; ``"impute"``
        sets missing calls to the variant's mean, which is as good where few are missing at random. By
        default exact as ``"aggregate"``, imputed on shares, where nobody knows which samples lack calls.
    site_intercepts
        Whether each site has an intercept of its own, which takes up whatever makes sites differ. Trait,
        covariates and calls are then centred at each site, and missing calls set to the site's own mean.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be told from their alleles, are kept and
        flagged, or dropped.
    disclose
        ``"result"``: each variant's pooled sums stay shared among the sites, which open its association
        alone; a missing call is set to the mean of its own site. ``"gated"``: the same, but only for
        variants that pass the threshold. ``"aggregate"``: the sums are opened to every site. Shares
        take three sites or more.
    threshold
        P value below which a gated scan opens a variant.

    Returns
    -------
    GWASResult
        One row a variant; NaN where a variant does not vary beyond the covariates, or, on shares, where a
        site has no call at all. Of a gated scan, one row a variant that passes. For a list of traits a
        dict of them, by trait, in their order.

    Raises
    ------
    DataError
        The genotype files, the ids, a trait or a covariate cannot be used; or the sites share no
        variant. Raised before anything is opened.
    RemoteError
        The same at another site.
    EstimationError
        The covariates are singular, or explain a trait entirely, or there are too few samples.

    Notes
    -----
    **Sex chromosomes** are read as PLINK 2 does by default: on X a man has 0 or 2 copies, on Y there are
    no calls but those of men, and on Y and MT the one copy counts as one. Heterozygous calls of men on X and
    Y are errors, and count as missing. Sexes are those of the .fam file. Put sex among the covariates
    when X is scanned; PLINK does so by itself.

    **Leakage.** Every site learns each single site's list of variants and, of all sites together, counts,
    sums and cross-products of the traits and the covariates, as from `ols`. Of each variant it learns

    - as ``"aggregate"``: the sums that `DECLARATION` lists, allele frequency included. Pooled allele
      frequencies suffice to tell whether a known genome is among the samples [1]_.
    - as ``"result"``: effect and standard error, to five digits or more. A standard error tells the
      frequency of the rarer allele nearly, and effects of very many variants on a trait that is known of
      somebody can tell whether they are among the samples [2]_: for few recipients, or few variants.
    - as ``"gated"``: whether it passes, and effect and standard error if it does. Too few numbers for either.

    A coalition of t sites learns as much of the other n − t; of sums on shares it learns nothing, as long
    as t < n/2.

    Of linked columns every site learns the list of variants, how many patients count, the trait's residual
    variance, and the same of each variant as from ``"result"``; of the covariates nothing but the coarse
    frame that `ols` publishes. Missing calls are set to the mean of the calls that the genotypes' site has.

    **Cost.** Eleven rounds, one more if the variant lists differ. As ``"aggregate"``, two rounds for each
    block of 2,048 variants, or four if calls are missing in it. For k columns of covariates without the
    intercept and m traits, a variant has 3 + k + m sums (one more with intercepts of sites), and one that
    lacks calls k + m more, and in exact regressions k(k + 1)/2 + km + m more yet. Each site sends about
    24·(s − 1)/s bytes for each sum when there are s sites, whatever the number of samples. On shares, a
    block takes eight rounds and one for each site but the first, or if gated nine more and four more if
    something passes; and 16 bytes for each of 4 + k + m numbers a variant to about half of the sites, and for
    a few more to each. Linked columns take some 150 rounds, and twenty for each block of 2 million genotypes:
    32 bytes for each variant and patient of the list from the genotypes' site to half of the others, and
    about 200 megabytes of memory at each.

    References
    ----------
    .. [1] N. Homer et al., "Resolving individuals contributing trace amounts of DNA to highly complex
       mixtures using high-density SNP genotyping microarrays", PLoS Genetics 4(8), 2008.
    .. [2] H. K. Im et al., "On sharing quantitative trait GWAS results in an era of multiple-omics data and
       the limits of genomic privacy", American Journal of Human Genetics 90(4), 2012.

    Examples
    --------
    >>> hits = fs.gwas.linear(geno, cohort, trait="ldl", covariates=["age", "pc1"])  # doctest: +SKIP
    >>> hits.to_frame().nsmallest(10, "p_value")  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        if missing == "exact" or site_intercepts:
            raise DataError("scans of linked columns have missing='impute', and no intercepts of sites")
        return linked.linear(genotypes, cohort, trait, covariates, variants, ambiguous, disclose)
    traits = trait if isinstance(trait, list) else [trait]

    def check() -> None:
        if missing not in (*get_args(Missing), None):
            raise DataError(f"missing={missing!r}: 'exact' or 'impute'")
        if disclose != "aggregate" and missing == "exact":
            raise DataError(
                f"disclose={disclose!r} needs missing='impute': regressions on complete cases are opened in "
                "'aggregate' mode only"
            )
        if not 0 < threshold < 1:
            raise DataError(f"threshold={threshold}: a P value between 0 and 1")
        _traits.check_traits(traits, covariates)

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        samples, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, check=check
        )
        model = _traits.agree_traits(
            run,
            cohort,
            traits,
            covariates,
            samples,
            options=f"missing={missing!r}, site_intercepts={site_intercepts}, ambiguous={ambiguous!r}, "
            f"disclose={disclose!r}, threshold={threshold}",
            site_intercepts=site_intercepts,
        )
        members = genotypes.members(samples[model.rows])
        numbers = members.numbers(np.hstack([model.Q, model.R]), terms=model.Q.shape[1])
        if disclose == "aggregate":
            scan = _scan(run, genotypes, shared, members, numbers, model, exact=missing != "impute")
            passes = np.ones(scan.beta.shape, np.bool_)
        else:
            gate = threshold if disclose == "gated" else None
            scan, passes = _scan_on_shares(run, genotypes, shared, members, numbers, model, gate)
        common = run.finish()
    results = {
        name: _result(common, model, shared, scan, column, passes[:, column])
        for column, name in enumerate(model.names)
    }
    return results if isinstance(trait, list) else results[trait]


def _scan(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    numbers: Numbers,
    model: Traits,
    *,
    exact: bool,
) -> linear_kernel.Scan:
    """Open the sums of all variants, block by block, and solve each block."""
    n, site_intercepts = model.n, model.site_intercepts

    def local(part: slice) -> tuple[linear_kernel.Block, Floats]:
        block = genotypes.block(shared, part, members)
        sums = linear_kernel.first_sums(block, numbers)
        if site_intercepts:
            sums = linear_kernel.centre_here(sums, block, members, numbers).to_array()
        return block, sums

    def pool(number: int, block: linear_kernel.Block, mine: Floats) -> linear_kernel.Scan:
        pooled = run.sum("variant sums", mine, ring=FIXED128, part=number)
        which = np.flatnonzero(pooled[:, 0] > 0.5)
        deficit: Floats | None = None
        if site_intercepts:
            centred = linear_kernel.Centred.from_array(pooled)
            if exact and which.size:
                here = linear_kernel.deficit_here(block, which, members, numbers)
                deficit = run.sum("missing calls", here, ring=FIXED128, part=number)
        else:
            of_missing = np.zeros((0, numbers.columns))
            if which.size and exact:
                both = np.hstack(block.squares_of_missing(which, numbers))
                both = run.sum("missing calls", both, ring=FIXED128, part=number)
                of_missing, squares = np.hsplit(both, [numbers.columns])
                deficit = linear_kernel.deficit(of_missing, squares, n - pooled[which, 0], numbers)
            elif which.size:
                here = block.of_missing(which, numbers)
                of_missing = run.sum("missing calls", here, ring=FIXED128, part=number)
            centred = linear_kernel.centre(pooled, n, which, of_missing)
        return linear_kernel.solve(centred, which, deficit, n, numbers)

    return linear_kernel.Scan.concatenate(
        [pool(number, *its) for number, _, its in blocks(run, len(shared), local)]
    )


def _scan_on_shares(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    numbers: Numbers,
    traits: Traits,
    threshold: float | None,
) -> tuple[linear_kernel.Scan, NDArray[np.bool_]]:
    """Scan without opening any sum; with a threshold, open what passes it alone."""
    model = linear_shares.Model(
        traits.n, numbers.terms, len(traits.names), traits.site_intercepts, traits.df_resid
    )

    def local(part: slice) -> linear_shares.Contribution:
        return linear_shares.contribution(genotypes.block(shared, part, members), members, numbers, model)

    found = [
        linear_shares.associations(run, number, mine, model)
        if threshold is None
        else linear_shares.passing(run, number, mine, model, threshold)
        for number, _, mine in blocks(run, len(shared), local)
    ]
    scans, passes = zip(*found, strict=True)
    return linear_kernel.Scan.concatenate(scans), np.concatenate(passes)


def _result(
    common: dict[str, Any],
    model: Traits,
    shared: Reconciled,
    scan: linear_kernel.Scan,
    column: int,
    passes: NDArray[np.bool_],
) -> GWASResult:
    frame = table_of(shared.variants, scan, column, model.unit[column])
    return GWASResult(
        **common,
        trait=model.names[column],
        frame=frame[passes].reset_index(drop=True),
        nobs=model.n,
        n_missing=model.dropped,
        df_resid=model.df_resid,
        reconciled=shared,
    )


def table_of(known: pd.DataFrame, scan: linear_kernel.Scan, column: int, unit: float) -> pd.DataFrame:
    """Return what a scan says of one of its traits, by the columns of a result, in the trait's unit."""
    # The one copy of a haploid chromosome is counted as two.
    units = unit * np.where(known["chromosome"].isin(_variants.HAPLOID), 2.0, 1.0)
    statistic = scan.statistic[:, column]
    minus_log = neg_log10_p(statistic, np.maximum(scan.df, 1.0))
    return pd.DataFrame(
        {
            "chromosome": known["chromosome"],
            "base_pair_location": known["base_pair_location"],
            "effect_allele": known["effect_allele"],
            "other_allele": known["other_allele"],
            "beta": scan.beta[:, column] * units,
            "standard_error": scan.standard_error[:, column] * units,
            "effect_allele_frequency": scan.frequency,
            "p_value": 10.0**-minus_log,
            "rsid": known["rsid"],
            "n": scan.n.astype(np.int64),
            "neg_log10_p": minus_log,
            "t": statistic,
            "missing_rate": scan.missing_rate,
            "ambiguous": known["ambiguous"],
        }
    )
