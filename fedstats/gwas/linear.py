"""Linear regression of a quantitative trait on each variant, over the samples of all sites.

For every variant g the model is trait ~ g + covariates, on the samples that have a call, or on all with
missing calls set to the mean. The sites first orthonormalise the covariates over all samples
(`orthonormalise`), once, and take the traits' residuals on them. Then everything a variant needs is a
handful of sums over samples (`linear_kernel`), and the sites open those block by block: while one block's
sums are on their way, the next block is multiplied. Memory does not grow with the number of variants.

Rounds: two or three to agree, eight for covariates and traits, two or four a block, one to confirm.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.disclosure import Declaration, DiscloseGated
from fedstats.errors import DataError
from fedstats.gwas import _strands, _traits, _variants, linear_kernel, linear_shares
from fedstats.gwas import checkpoint as checkpoints
from fedstats.gwas._ahead import tasks
from fedstats.gwas._pvalue import neg_log10_p
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.checkpoint import Checkpoint, agree_checkpoint
from fedstats.gwas.genotypes import Genotypes, Reading
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
        **_strands.OPENED,
        "variant sums": "of each variant: number of missing calls, Σg and Σg² of its calls, and Σ of its "
        "calls times each orthonormalised covariate and residual; centred site by site, and with the number "
        "of sites that have calls, if each site has an intercept",
        "missing calls": "of each variant that lacks calls: Σ over these of each orthonormalised covariate "
        "and residual and, for exact regressions, of their products",
    },
    result={
        **_traits.AGGREGATE,
        **_strands.OPENED,
        "associations": "of each variant: its variation that the covariates leave, and its product with each "
        "trait's residual, which is to say effect and standard error; and of regressions on complete cases "
        "how many these are",
    },
    gated={
        **_traits.AGGREGATE,
        **_strands.OPENED,
        "passing": "which variants pass the threshold with which trait",
        "associations": "the same as of a result, of variants that pass",
    },
    published={**_variants.PUBLISHED, **_traits.PUBLISHED, **checkpoints.PUBLISHED},
)


@overload
def linear(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: str,
    covariates: Sequence[str] = (),
    missing: Missing = "exact",
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
    executor: Executor | None = None,
) -> GWASResult: ...


@overload
def linear(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: list[str],
    covariates: Sequence[str] = (),
    missing: Missing = "exact",
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
    executor: Executor | None = None,
) -> dict[str, GWASResult]: ...


def linear(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: str | list[str],
    covariates: Sequence[str] = (),
    missing: Missing = "exact",
    site_intercepts: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
    executor: Executor | None = None,
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
        all, the others ``fed.genotypes(None)``, and trait and covariates are at any. One trait,
        ``missing="impute"`` and ``"result"``.
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
        sets missing calls to the variant's mean, or on shares to the mean at their own site, which is as
        good where few are missing at random, and faster.
    site_intercepts
        Whether each site has an intercept of its own, which takes up whatever makes sites differ. Trait,
        covariates and calls are then centred at each site, and missing calls set to the site's own mean.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be told from their alleles, are kept and
        flagged, or dropped; with ``"frequency"``, kept where all sites can tell it by which allele is
        the rarer, as `fedstats.gwas._strands` says.
    disclose
        ``"result"``: each variant's pooled sums stay shared among the sites, which open its association
        alone. ``"gated"``: the same, but only for
        variants that pass the threshold. ``"aggregate"``: the sums are opened to every site. Shares
        take three sites or more.
    threshold
        P value below which a gated scan opens a variant.
    checkpoint
        A file in which this site keeps what is finished, or None; at all sites alike, each its own. After
        a crash or Ctrl-C anywhere, run the same script again: it goes on after the last block that all
        sites have kept, see `fedstats.gwas.checkpoint`. Leakage and cost of the result are then those of the
        last run. Delete it when the results are safe.
    executor
        Who does this site's own arithmetic, one thread by default: any executor of `concurrent.futures`,
        such as ``ThreadPoolExecutor(8)``, or of many machines, ``dask.distributed.Client(…).get_executor()``.
        Processes read the genotypes by their path, and are sent this site's rows of trait and covariates.

    Returns
    -------
    GWASResult
        One row a variant; NaN where a variant does not vary beyond the covariates, or is not tested on
        shares, see below. Of a gated scan, one row a variant that passes. For a list of traits a
        dict of them, by trait, in their order.

    Raises
    ------
    DataError
        The genotype files, the ids, a trait or a covariate cannot be used; or the sites share no
        variant. Raised before anything is opened. Or the checkpoint is of another scan, or of other input.
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

    **Not tested** on shares are variants that lack too many calls. Imputed, that is all calls of a site. On
    complete cases, it is calls that may make up half of what some combination of covariates varies by, or of
    a trait: of half of the samples, or half of the patients of a centre if it is among the covariates, or of
    all women on Y; and, where each site has an intercept, all calls of a site. ``n`` is then 0, as it is
    of imputed calls wherever there is no estimate.

    **Leakage.** Every site learns each single site's list of variants and, of all sites together, counts,
    sums and cross-products of the traits and the covariates, as from `ols`. Of each variant it learns

    - as ``"aggregate"``: the sums that `DECLARATION` lists, allele frequency included. Pooled allele
      frequencies suffice to tell whether a known genome is among the samples [1]_.
    - as ``"result"``: effect and standard error, to five digits or more, and of complete cases how many
      these are. A standard error tells the
      frequency of the rarer allele nearly, and effects of very many variants on a trait that is known of
      somebody can tell whether they are among the samples [2]_: for few recipients, or few variants.
    - as ``"gated"``: whether it passes, and the same as of a result if it does. Too few numbers for either.

    A coalition of t sites learns as much of the other n − t; of sums on shares it learns nothing, as long
    as t < n/2, or with a dishonest majority t < n.

    Of linked columns every site learns the list of variants, how many patients count, the trait's residual
    variance, and the same of each variant as from ``"result"``; of the covariates nothing but the coarse
    frame that `ols` publishes. Missing calls are set to the mean of the calls that the genotypes' site has.

    **Cost.** Eleven rounds, one more if the variant lists differ, and one with a checkpoint. As
    ``"aggregate"``, two rounds for each block of 2,048 variants, or four if calls are missing in it. For k
    columns of covariates without the intercept and m traits, a variant has 3 + k + m sums (one more with
    intercepts of sites), and one that lacks calls k + m more, and in exact regressions k(k + 1)/2 + km + m
    more yet. Each site sends about 24·(s − 1)/s bytes for each sum when there are s sites, whatever the
    number of samples. On shares, a block of imputed calls takes eight rounds and one for each site but the
    first, or if gated nine more and four more if something passes; and 16 bytes for each of 4 + k + m numbers
    a variant to about half of the sites, and for a few more to each. A block of complete cases takes 42
    rounds; and as much for (k + 1)(k + 2)/2 + (k + 3)(m + 1) numbers to half of the sites, and for some
    (k + 1)(12 + 7m) + 20m to each.

    Linked columns take some 120 rounds, and ten for each block of 2 million genotypes; 32 bytes for each
    variant and patient of the list from the genotypes' site to half of the others, some 4 kB for each variant
    and covariate from every site, and 300 megabytes of memory.

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
        if missing != "impute" or site_intercepts or checkpoint is not None or executor is not None:
            raise DataError(
                "scans of linked columns have missing='impute', and no intercepts of sites, checkpoint or "
                "executor"
            )
        return linked.linear(genotypes, cohort, trait, covariates, variants, ambiguous, disclose)
    traits = trait if isinstance(trait, list) else [trait]

    def check() -> None:
        if missing not in get_args(Missing):
            raise DataError(f"missing={missing!r}: 'exact' or 'impute'")
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
            f"disclose={disclose!r}, threshold={threshold}, checkpoint={checkpoint is not None}",
            site_intercepts=site_intercepts,
        )
        members = genotypes.members(samples[model.rows])
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        numbers = members.numbers(np.hstack([model.Q, model.R]), terms=model.Q.shape[1])
        exact = missing == "exact"
        with agree_checkpoint(run, checkpoint, genotypes, cohort, samples, shared) as saved:
            if disclose == "aggregate":
                scan = _scan(run, genotypes, shared, members, numbers, model, saved, executor, exact=exact)
                passes = np.ones(scan.beta.shape, np.bool_)
            else:
                gate = threshold if disclose == "gated" else None
                scan, passes = _scan_on_shares(
                    run, genotypes, shared, members, numbers, model, saved, executor, gate, exact=exact
                )
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
    saved: Checkpoint,
    executor: Executor | None,
    *,
    exact: bool,
) -> linear_kernel.Scan:
    """Open the sums of all variants, block by block, and solve each block."""
    n = model.n

    def task(part: slice) -> Callable[[], _Own]:
        reading = genotypes.reading(shared, part, members)
        return partial(_own_sums, reading, numbers, within=model.site_intercepts, exact=exact)

    def pool(number: int, own: _Own) -> linear_kernel.Scan:
        pooled = run.sum("variant sums", own.sums, ring=FIXED128, part=number)
        which = np.flatnonzero(pooled[:, 0] > 0.5)
        lost = np.zeros((0, own.lost.shape[1]))
        if which.size and own.lost.shape[1]:
            lost = np.zeros((which.size, own.lost.shape[1]))
            lost[np.searchsorted(which, own.which)] = own.lost
            lost = run.sum("missing calls", lost, ring=FIXED128, part=number)
        if model.site_intercepts:
            centred = linear_kernel.Centred.from_array(pooled)
            return linear_kernel.solve(centred, which, lost if exact else None, n, numbers)
        of_missing, squares = np.hsplit(lost, [numbers.columns])
        deficit = linear_kernel.deficit(of_missing, squares, n - pooled[which, 0], numbers) if exact else None
        centred = linear_kernel.centre(pooled, n, which, of_missing)
        return linear_kernel.solve(centred, which, deficit, n, numbers)

    found = [linear_kernel.Scan(**its) for its in saved.finished("variants")]
    for number, _, own in tasks(run, len(shared), task, done=len(found), executor=executor):
        found.append(pool(number, own))
        saved.keep("variants", vars(found[-1]))
    return linear_kernel.Scan.concatenate(found)


@dataclass(frozen=True, eq=False, repr=False)
class _Own:
    """What one site adds for a block of variants; its repr shows no number.

    Attributes
    ----------
    sums
        What every variant needs.
    which, lost
        Variants that lack calls here, and what they need more.
    """

    sums: Floats
    which: NDArray[np.int64]
    lost: Floats


def _own_sums(reading: Reading, numbers: Numbers, *, within: bool, exact: bool) -> _Own:
    """Return this site's sums of a block; perhaps in another process."""
    block, members = reading.block(), reading.members
    sums = linear_kernel.first_sums(block, numbers)
    which = np.flatnonzero(sums[:, 0])
    if within:
        centred = linear_kernel.centre_here(sums, block, members, numbers)
        if exact:
            lost = linear_kernel.deficit_here(block, which, members, numbers)
            return _Own(centred.to_array(), which, lost)
        # Samples without calls take part: so does their site's intercept, though none of them has a call.
        centred = replace(centred, groups=np.full(len(sums), float(len(members) > 0)))
        return _Own(centred.to_array(), which, np.zeros((which.size, 0)))
    if exact:
        return _Own(sums, which, np.hstack(block.squares_of_missing(which, numbers)))
    return _Own(sums, which, block.of_missing(which, numbers))


def _scan_on_shares(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    numbers: Numbers,
    traits: Traits,
    saved: Checkpoint,
    executor: Executor | None,
    threshold: float | None,
    *,
    exact: bool,
) -> tuple[linear_kernel.Scan, NDArray[np.bool_]]:
    """Scan without opening any sum; with a threshold, open what passes it alone."""
    model = linear_shares.Model(
        traits.n, numbers.terms, len(traits.names), traits.site_intercepts, traits.df_resid, exact
    )

    def task(part: slice) -> Callable[[], linear_shares.Contribution]:
        return partial(_own_contribution, genotypes.reading(shared, part, members), numbers, model)

    kept = saved.finished("variants")
    scans = [linear_kernel.Scan(**its["scan"]) for its in kept]
    passes = [its["passes"] for its in kept]
    for number, _, mine in tasks(run, len(shared), task, done=len(scans), executor=executor):
        if threshold is None:
            scan, passing = linear_shares.associations(run, number, mine, model)
        else:
            scan, passing = linear_shares.passing(run, number, mine, model, threshold)
        scans.append(scan)
        passes.append(passing)
        saved.keep("variants", {"scan": vars(scan), "passes": passing})
    return linear_kernel.Scan.concatenate(scans), np.concatenate(passes)


def _own_contribution(
    reading: Reading, numbers: Numbers, model: linear_shares.Model
) -> linear_shares.Contribution:
    """Return what this site shares of a block; perhaps in another process."""
    return linear_shares.contribution(reading.block(), reading.members, numbers, model)


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
