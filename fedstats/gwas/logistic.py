"""Logistic regression of a binary trait on each variant, over the samples of all sites.

The null model, trait ~ covariates, is fitted once. Every variant then has a score test, which needs a few
sums over samples (`logistic_kernel`), opened block by block or kept on shares (`logistic_shares`). The
normal distribution is wrong for the scores of rare variants and of few cases, so where |z| > 2 the P value
comes from a saddle-point approximation, on shares too (`saddle_shares`). What passes a threshold is regressed
in full, on the samples that have a call: maximum likelihood, and Firth's penalised likelihood where that has
no finite maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats
from scipy.linalg import solve_triangular

from fedstats import design
from fedstats.disclosure import Declaration, DiscloseGated
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.gwas import _strands, _traits, _variants, linear_shares, logistic_shares, saddle_shares
from fedstats.gwas import checkpoint as checkpoints
from fedstats.gwas._ahead import tasks
from fedstats.gwas._saddle_ranges import ranges
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.checkpoint import Checkpoint, agree_checkpoint
from fedstats.gwas.genotypes import Genotypes, Reading
from fedstats.gwas.logistic_kernel import Null, Refits, Saddles, Scores, residual_calls, score_sums
from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.reconcile import Reconciled
from fedstats.gwas.results import GWASResult
from fedstats.gwas.saddle_sums import SaddleSums, site_sums
from fedstats.regression import _orthonormal
from fedstats.vertical import gwas as linked
from fedstats.vertical.cohort import VerticalCohort
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.regression._orthonormal import Orthonormal

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: |z| beyond which the P value of a score comes from a saddle point.
SPA_ABOVE: Final = 2.0
#: Genotypes, variants times samples of a site, that saddle points and refits hold as float64 at a time.
HELD: Final = 1 << 22
#: Newton's steps of the null model, of saddle points and of refits.
STEPS: Final = 25
STEPS_FIRTH: Final = 100
#: Information on a covariate, a part of that at even odds, below which cases and controls are told apart.
SEPARATED: Final = 1e-7
#: The null model has converged when no step, in units of standardised covariates, is longer.
CONVERGED: Final = 1e-9

#: Columns that a refit fills in.
_REFITTED: Final = ("beta", "standard_error", "z", "neg_log10_p", "n", "test")

#: Opened in every mode: of the model without variants, and of variants that are regressed in full.
_ALWAYS: Final = {
    **design.AGGREGATE,
    **_orthonormal.AGGREGATE,
    **_strands.OPENED,
    "null model": "at each step of the fit without variants: gradient and information of the "
    "coefficients of the orthonormalised covariates; and for saddle points on shares, Σw and Σwμ of its "
    "probabilities μ, with w = μ(1 − μ)",
    "refits": "of each variant below the threshold of refits, at each step: gradient and information of its "
    "regression; and how many samples have a call",
    "penalties": "the same of Firth's penalty: what it adds to the gradient",
}

_SADDLE_POINTS: Final = (
    "of each variant with |z| > 2: r* of both tails, from which the P value follows; of a tail that does not "
    "count, and where the series do not reach the saddle point, 0"
)

DECLARATION = Declaration(
    "gwas.logistic",
    aggregate={
        **_ALWAYS,
        "variant sums": "of each variant: missing calls, and Σ of calls, of their squares times "
        "w = μ(1 − μ), and of calls times y − μ, w and each standardised covariate",
        "missing calls": "of each variant that lacks calls: Σ over these of y − μ, w and each standardised "
        "covariate",
        "saddle points": "of each variant with |z| > 2: the largest and smallest possible score, two "
        "derivatives of its cumulant generating function at each step, and that function at the last",
    },
    result={
        **_ALWAYS,
        "associations": "of each variant: score and its variance, which is to say effect and standard error",
        "saddle points": _SADDLE_POINTS,
    },
    gated={
        **_ALWAYS,
        "passing": "which variants pass the threshold",
        "associations": "the same as of a result, of variants that pass",
        "saddle points": _SADDLE_POINTS.replace("each variant", "each variant that passes,"),
    },
    published={
        **_variants.PUBLISHED,
        **design.PUBLISHED,
        "cases": "that each site's trait is 0 or 1",
        **checkpoints.PUBLISHED,
    },
)


def logistic(
    genotypes: Genotypes,
    cohort: Cohort | VerticalCohort,
    *,
    trait: str,
    covariates: Sequence[str] = (),
    refit: float | None = None,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
    executor: Executor | None = None,
) -> GWASResult:
    """Test every variant that the sites share for association with a binary trait.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Trait and covariates, with an ``id`` column that holds the .fam files' individual ids.
        Rows without genotypes, and rows with a missing trait or covariate, are left out and counted. Or
        linked columns, as in `linear`: each variant then has its score test alone.
    trait
        A column of 0 (control) and 1 (case), or a condition on others that gives these.
    covariates
        Terms as in the formula of `ols`; an intercept is added.
    refit
        P value of the score test below which a variant is regressed in full. 1 regresses every
        variant, 0 none. By default 1e-4, and 5e-8 on shares: what these regressions take is opened.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be told from their alleles, are kept and
        flagged, or dropped; with ``"frequency"``, kept where all sites can tell it by which allele is
        the rarer, as `fedstats.gwas._strands` says.
    disclose
        ``"result"``: each variant's pooled sums stay shared among the sites, which open score and variance
        alone, and of variants below `refit` the sums of their regressions. ``"gated"``: the same, but only
        for variants that pass the threshold. ``"aggregate"``: the sums are opened to every site.
        Shares take three sites or more.
    threshold
        P value of the score test below which a gated scan opens a variant.
    checkpoint
        A file in which this site keeps what is finished, see `linear`.
    executor
        Who does this site's own arithmetic of the score tests, and of saddle points on shares; see `linear`.

    Returns
    -------
    GWASResult
        One row a variant; beta is the logarithm of the odds ratio of one copy. Its column `test` says where
        beta, standard error and P value come from: ``"score"`` and ``"spa"``, from the score test, beta then
        being the first step of Newton's method, and the P value of the latter from the saddle point;
        on shares ``"binomial"`` where that is not found, a rough approximation to it (`logistic_shares`);
        ``"wald"`` and ``"firth"`` from regressions on the samples with a call. NaN where a variant does not
        vary beyond the covariates, or on shares where a site has no call at all; `n` is then 0. Of a gated
        scan, one row a variant that passes.

    Raises
    ------
    DataError
        The genotype files, the ids, the trait or a covariate cannot be used; or the sites share no
        variant. Raised before anything is opened. Or the checkpoint is of another scan, or of other input.
    RemoteError
        The same at another site.
    EstimationError
        The covariates are singular or tell cases from controls, or there are only cases or controls.

    Notes
    -----
    Score tests set missing calls to the variant's mean, on shares to that at their own site; regressions
    leave them out, as PLINK does. Sex chromosomes are read as in `linear`.

    On shares, P values from saddle points have a relative error of some 1e-4 with thousands of samples, of up
    to 0.05 with a handful of cases at each site, and of up to 0.25 with outliers among the covariates, sites
    of a few samples, all cases at one site, or P values far below 1e-10. Binomial tails are left to variants
    with some ten carriers or fewer, or of which nearly all carriers are cases; to those that the covariates
    explain at a site in a way far from that of all, as at one of cases alone or of a few samples; where the
    series of single samples do not converge; to scans of twelve sites or more; and to P values below
    about 1e-200.

    **Leakage.** Every site learns of each single site the list of variants; and of all sites together
    counts, sums and cross-products of the covariates, and the sums of the model without variants. As
    ``"aggregate"``, it learns the sums of variants that `DECLARATION` lists, from which allele frequencies
    follow; see `linear` for what these tell. As ``"result"`` it learns effect and standard error of each
    variant, and where |z| > 2, r* of the score's two tails (`saddle_shares`), which make up its P value: with
    few cases, they tell which allele is the rarer. As ``"gated"`` it learns this of each variant that passes.
    Of variants below `refit` it learns gradient and information of their regressions, from which their
    frequencies follow. A coalition of t sites learns the same sums over the other n − t sites, all but one
    the remaining site's; of sums on shares nothing, as long as t < n/2, or with a dishonest majority t < n.
    Of linked columns every site learns the list of variants, the coefficients of the covariates at each
    iteration, how many patients and cases count, and each variant's score and the variance of it.

    **Cost.** Some thirty rounds for the null model, four for each block of 2,048 variants, about ten for
    each batch of saddle points, and as many of refits. For k terms with the intercept a variant has 5 + k
    sums, and one that lacks calls 2 + k more. On shares a block takes what one of `linear` with imputed calls
    does; and a batch of up to 2,048 variants with |z| > 2 takes 169 rounds at three sites, and each of
    these variants 40 kB with eleven terms, some 2 MB between two sites alone. Linked columns take what
    `logit` does for the null model, and then what `linear` does.

    Examples
    --------
    >>> hits = fs.gwas.logistic(geno, cohort, trait="case", covariates=["age", "pc1"])  # doctest: +SKIP
    >>> hits.top()  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        if refit or checkpoint is not None or executor is not None:
            raise DataError("scans of linked columns have score tests alone, and no checkpoint or executor")
        return linked.logistic(genotypes, cohort, trait, covariates, variants, ambiguous, disclose)
    below = refit if refit is not None else 1e-4 if disclose == "aggregate" else 5e-8

    def check() -> None:
        _traits.check_traits([trait], covariates)
        if not 0 <= below <= 1:
            raise DataError(f"refit={refit}: a P value between 0 and 1")
        if not 0 < threshold < 1:
            raise DataError(f"threshold={threshold}: a P value between 0 and 1")

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        samples, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, check=check
        )
        part = design.agree_design(
            run,
            cohort,
            " + ".join([f"{trait} ~ 1", *covariates]),
            call=f"refit={refit}, ambiguous={ambiguous!r}, disclose={disclose!r}, threshold={threshold}, "
            f"checkpoint={checkpoint is not None}",
            needs_response=True,
            check=lambda: samples >= 0,
        )
        y = cast(Array, part.y)
        _agree_cases(run, y, trait)
        _traits.require_intercept(part, covariates)
        basis = _orthonormal.orthonormalise(
            run,
            part.X,
            part.names,
            y[:, np.newaxis],
            has_intercept=True,
            dropped=part.dropped + int(np.count_nonzero(samples < 0)),
        )
        null, cases = _fit_null(run, basis, y, trait)
        members = genotypes.members(samples[part.rows])
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        with agree_checkpoint(run, checkpoint, genotypes, cohort, samples, shared) as saved:
            if disclose == "aggregate":
                scores = _score(run, genotypes, shared, members, null, saved, executor)
                frame = table_of(shared, scores, null.n)
                _find_saddles(run, genotypes, shared, members, null, scores, frame, saved)
                passes = np.ones(len(frame), np.bool_)
            else:
                gate = threshold if disclose == "gated" else None
                scores, passes = _score_on_shares(
                    run, genotypes, shared, members, null, saved, executor, gate
                )
                frame = table_of(shared, scores, null.n)
                take_for_binomial(frame, scores, cases / null.n)
                _find_saddles_on_shares(run, genotypes, shared, members, null, scores, frame, saved, executor)
            _refit(run, genotypes, shared, members, null, frame, below, saved)
        return GWASResult(
            **run.finish(),
            trait=trait,
            frame=on_one_copy(frame[passes].reset_index(drop=True)),
            nobs=null.n,
            n_cases=cases,
            n_missing=basis.dropped,
            df_resid=null.n - len(part.names) - 1,
            reconciled=shared,
        )


def _agree_cases(run: Analysis, y: Floats, trait: str) -> None:
    def check() -> Mapping[str, Any]:
        if not np.isin(y, (0.0, 1.0)).all():
            raise DataError(f"the trait {trait!r} has values other than 0 (control) and 1 (case)")
        return {}

    run.agree("cases", check)


def _fit_null(run: Analysis, basis: Orthonormal, y: Floats, trait: str) -> tuple[Null, int]:
    """Fit the model without variants by Newton's method; return it, and how many cases there are."""
    n, terms = basis.n, basis.Q.shape[1]
    upper = np.triu_indices(terms)
    # Responses were centred: their sum is found again from the mean.
    cases = round(float(basis.y_sums[0, 0] * basis.frame.unit[0] + n * basis.frame.centre[0]))
    if not 0 < cases < n:
        raise EstimationError(f"the trait {trait!r} has {cases} cases among {n} samples: nothing to compare")
    theta = np.zeros(terms)
    theta[0] = special.logit(cases / n)
    for number in range(STEPS):
        mu = special.expit(basis.Q @ theta)
        w = mu * (1 - mu)
        information = (basis.Q.T @ (w[:, np.newaxis] * basis.Q))[upper]
        opened = run.sum("null model", np.concatenate([basis.Q.T @ (y - mu), information]), part=number)
        matrix = np.zeros((terms, terms))
        matrix[upper] = opened[terms:]
        matrix += np.triu(matrix, 1).T
        if np.linalg.eigvalsh(matrix / n)[0] < SEPARATED:
            break
        step = np.linalg.solve(matrix, opened[:terms])
        if np.abs(step).max() < CONVERGED:
            factor = np.linalg.cholesky(matrix / n)
            Z = solve_triangular(factor, basis.Q.T, lower=True).T
            return Null(y, mu, w, Z, factor.T @ theta, n), cases
        theta = theta + step
    raise EstimationError(
        f"the covariates tell cases of {trait!r} from controls, or nearly: leave out those that do"
    )


def _score(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    null: Null,
    saved: Checkpoint,
    executor: Executor | None,
) -> Scores:
    """Open the scores of all variants."""
    numbers, weights = null.numbers(members), null.weights(members)

    def task(part: slice) -> Callable[[], tuple[Floats, Integers, Floats]]:
        return partial(_own_sums, genotypes.reading(shared, part, members), numbers, weights)

    found = [Scores(**its) for its in saved.finished("scores")]
    for number, _, own in tasks(run, len(shared), task, done=len(found), executor=executor):
        mine, lacking, lost = own
        pooled = run.sum("variant sums", mine, ring=FIXED128, part=number)
        which = np.flatnonzero(pooled[:, 0] > 0.5)
        of_missing = np.zeros((which.size, numbers.columns))
        if which.size:
            of_missing[np.searchsorted(which, lacking)] = lost
            of_missing = run.sum("missing calls", of_missing, ring=FIXED128, part=number)
        found.append(Scores.of(pooled, null.n, which, of_missing))
        saved.keep("scores", vars(found[-1]))
    return Scores.concatenate(found)


def _own_sums(reading: Reading, numbers: Numbers, weights: Numbers) -> tuple[Floats, Integers, Floats]:
    """Return what this site adds for a block, and of which variants what more; maybe in another process."""
    block = reading.block()
    sums = score_sums(block, numbers, weights)
    which = np.flatnonzero(sums[:, 0])
    return sums, which, block.of_missing(which, numbers)


def _score_on_shares(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    null: Null,
    saved: Checkpoint,
    executor: Executor | None,
    threshold: float | None,
) -> tuple[Scores, NDArray[np.bool_]]:
    """Open score and variance of all variants, or of those that pass a threshold; return which these are."""
    numbers, weights = null.numbers(members), null.weights(members)
    model = linear_shares.Model(null.n, null.Z.shape[1], 1, within=False, df=null.n)

    def task(part: slice) -> Callable[[], logistic_shares.Contribution]:
        return partial(_own_contribution, genotypes.reading(shared, part, members), numbers, weights, null.n)

    kept = saved.finished("scores")
    scores = [Scores(**its["scores"]) for its in kept]
    passes = [its["passes"] for its in kept]
    for number, _, mine in tasks(run, len(shared), task, done=len(scores), executor=executor):
        if threshold is None:
            scan, passing = linear_shares.associations(run, number, mine, model)
        else:
            scan, passing = linear_shares.passing(run, number, mine, model, threshold)
        scores.append(Scores.opened(scan.beta[:, 0], scan.standard_error[:, 0]))
        passes.append(passing[:, 0])
        saved.keep("scores", {"scores": vars(scores[-1]), "passes": passes[-1]})
    return Scores.concatenate(scores), np.concatenate(passes)


def _own_contribution(
    reading: Reading, numbers: Numbers, weights: Numbers, n: int
) -> logistic_shares.Contribution:
    """Return what this site shares of a block; perhaps in another process."""
    return logistic_shares.Contribution.of_scores(reading.block(), reading.members, numbers, weights, n)


def _find_saddles_on_shares(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    null: Null,
    scores: Scores,
    frame: pd.DataFrame,
    saved: Checkpoint,
    executor: Executor | None,
) -> None:
    """Replace the P values of extreme scores by those of their saddle points, where they are found."""
    which = np.flatnonzero(np.abs(scores.z) > SPA_ABOVE)
    if not which.size or len(run.sites) > saddle_shares.MOST_SITES:
        return
    weight, cases = run.sum("null model", np.array([null.w.sum(), null.w @ null.mu]), part=STEPS)
    usable, where = ranges(
        np.abs(scores.score[which]),
        scores.variance[which],
        frame["chromosome"].iloc[which].isin(_variants.HAPLOID).to_numpy(),
        weight,
        cases / weight,
    )
    which, sites = which[usable], len(run.sites)
    # Should a site's processor make other ranges of these numbers, the next opening is refused.
    run.engine.absorb("saddle ranges", where.centre.tobytes(), where.radius.tobytes())

    def task(part: slice) -> Callable[[], SaddleSums]:
        reading = genotypes.reading(shared, which[part], members)
        return partial(site_sums, reading, null, where.take(part), sites)

    length = saddle_shares.variants_at_a_time(sites, null.Z.shape[1])
    done = saved.finished("saddle points")
    found = [its["neg_log10_p"] for its in done]
    for number, part, mine in tasks(run, which.size, task, done=len(done), most=length, executor=executor):
        with run.on_shares() as engine:
            secret = saddle_shares.tails(engine, mine, where.take(part), null.n)
            opened = run.reveal({"saddle points": secret}, part=number)["saddle points"]
        found.append(saddle_shares.neg_log10_p(opened))
        saved.keep("saddle points", {"neg_log10_p": found[-1]})
    if found:
        _enter_saddles(frame, which, np.concatenate(found))


def take_for_binomial(frame: pd.DataFrame, scores: Scores, cases: float) -> None:
    """Replace the P values of extreme scores by those of binomial numbers."""
    which = np.flatnonzero(np.abs(scores.z) > SPA_ABOVE)
    frame.loc[which, "neg_log10_p"] = logistic_shares.binomial_neg_log10_p(
        scores.score[which], scores.variance[which], cases
    )
    frame.loc[which, "test"] = "binomial"


def table_of(shared: Reconciled, scores: Scores, n: int) -> pd.DataFrame:
    """Return what the score tests say, by the columns of a result."""
    known = shared.variants
    return pd.DataFrame(
        {
            "chromosome": known["chromosome"],
            "base_pair_location": known["base_pair_location"],
            "effect_allele": known["effect_allele"],
            "other_allele": known["other_allele"],
            "beta": scores.score / scores.variance,
            "standard_error": 1 / np.sqrt(scores.variance),
            "effect_allele_frequency": scores.mean / 2,
            "p_value": np.nan,
            "rsid": known["rsid"],
            "n": np.where(np.isnan(scores.z), 0, n),
            "neg_log10_p": _neg_log10_p(scores.z),
            "z": scores.z,
            "test": np.where(np.isnan(scores.z), "", "score"),
            "missing_rate": scores.missing / n,
            "ambiguous": known["ambiguous"],
        }
    )


def _find_saddles(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    null: Null,
    scores: Scores,
    frame: pd.DataFrame,
    saved: Checkpoint,
) -> None:
    """Replace the P values of extreme scores by those of their saddle points."""
    number = 0
    batches = _batches(np.flatnonzero(np.abs(scores.z) > SPA_ABOVE), null.n)
    done = saved.finished("saddle points")
    for which, minus_log in zip(batches, [its["neg_log10_p"] for its in done], strict=False):
        _enter_saddles(frame, which, minus_log)
    for which in batches[len(done) :]:
        calls = genotypes.block(shared, which, members).calls()
        h = residual_calls(calls, scores.mean[which], scores.projection[which], null)
        search = Saddles(scores.score[which], scores.variance[which])
        search.bound(run.sum("saddle points", search.reach(h, null), ring=FIXED128, part=number))
        for _ in range(STEPS):
            number += 1
            here = search.derivatives(h, null)
            search.step(run.sum("saddle points", here, ring=FIXED128, part=number))
            if search.found.all():
                break
        number += 1
        cumulants = run.sum("saddle points", search.cumulants(h, null), ring=FIXED128, part=number)
        number += 1
        minus_log = search.neg_log10_p(cumulants)
        _enter_saddles(frame, which, minus_log)
        saved.keep("saddle points", {"neg_log10_p": minus_log})


def _enter_saddles(frame: pd.DataFrame, which: Integers, minus_log: Floats) -> None:
    known = which[np.isfinite(minus_log)]
    frame.loc[known, "neg_log10_p"] = minus_log[np.isfinite(minus_log)]
    frame.loc[known, "test"] = "spa"


def _refit(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    null: Null,
    frame: pd.DataFrame,
    threshold: float,
    saved: Checkpoint,
) -> None:
    """Replace estimates and P values of the variants below the threshold by those of their regressions."""
    parts = {"refits": 0, "penalties": 0}

    def total(label: str, mine: Floats) -> Floats:
        parts[label] += 1
        return run.sum(label, mine, ring=FIXED128, part=parts[label])

    def fit(which: Integers, *, firth: bool) -> Integers:
        """Regress, enter what converged, and return what did not."""
        calls = genotypes.block(shared, which, members).calls()
        called = null.n * (1 - frame.loc[which, "missing_rate"].to_numpy())
        if np.isnan(called).any():
            called = total("refits", np.count_nonzero(calls >= 0, axis=1).astype(np.float64))
        theta = np.zeros((which.size, null.Z.shape[1] + 1))
        fits = Refits(theta + np.append(null.coefficients, 0.0), firth=firth)
        for _ in range(STEPS_FIRTH if firth else STEPS):
            if not fits.open.size:
                break
            gradients = fits.learn(total("refits", fits.sums(calls, null)))
            if firth and fits.open.size:
                gradients = gradients + total("penalties", fits.penalties(calls, null))
            fits.step(gradients)
        beta, error = fits.estimates()
        good, rows = fits.converged, which[fits.converged]
        frame.loc[rows, "beta"], frame.loc[rows, "standard_error"] = beta[good], error[good]
        z = beta[good] / error[good]
        frame.loc[rows, "z"], frame.loc[rows, "neg_log10_p"] = z, _neg_log10_p(z)
        frame.loc[rows, "test"] = "firth" if firth else "wald"
        frame.loc[rows, "n"] = np.rint(called[good]).astype(np.int64)
        return which[~good]

    below = np.flatnonzero(frame["neg_log10_p"].to_numpy() >= -np.log10(max(threshold, 1e-300)))
    batches, done = _batches(below, null.n), saved.finished("refits")
    for which, its in zip(batches, done, strict=False):
        for name in _REFITTED:
            frame.loc[which, name] = its[name]
    for which in batches[len(done) :]:
        left = fit(which, firth=False)
        if left.size:
            fit(left, firth=True)
        rows = frame.loc[which]
        numbers = {name: rows[name].to_numpy() for name in _REFITTED if name != "test"}
        saved.keep("refits", {**numbers, "test": rows["test"].to_list()})


def _batches(which: Integers, n: int) -> list[Integers]:
    """Split variants into batches of which a site with all samples could hold the genotypes."""
    size = max(1, HELD // n)
    return [which[start : start + size] for start in range(0, which.size, size)]


def _neg_log10_p(z: Floats) -> Floats:
    return np.asarray(-(stats.norm.logsf(np.abs(z)) + np.log(2)) / np.log(10))


def on_one_copy(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill in P values, and count the one copy of a haploid chromosome as one."""
    frame["p_value"] = 10.0 ** -frame["neg_log10_p"]
    haploid = frame["chromosome"].isin(_variants.HAPLOID)
    frame.loc[haploid, ["beta", "standard_error"]] *= 2
    return frame
