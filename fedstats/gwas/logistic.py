"""Logistic regression of a binary trait on each variant, over the samples of all sites.

The null model, trait ~ covariates, is fitted once. Every variant then has a score test, which needs a few
sums over samples (`logistic_kernel`), opened block by block. The normal distribution is wrong for the
scores of rare variants and of few cases, so where |z| > 2 the P value comes from a saddle-point
approximation. What passes a threshold is regressed in full, on the samples that have a call: maximum
likelihood, and Firth's penalised likelihood where that has no finite maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats
from scipy.linalg import solve_triangular

from fedstats import design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.gwas import _traits, _variants
from fedstats.gwas._ahead import blocks
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.logistic_kernel import Null, Refits, Saddles, Scores, residual_calls, score_sums
from fedstats.gwas.members import Members
from fedstats.gwas.reconcile import Reconciled
from fedstats.gwas.results import GWASResult
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
#: P value of the score below which a variant is regressed, by default.
REFIT: Final = 1e-4
#: Genotypes, variants times samples of a site, that saddle points and refits hold as float64 at a time.
HELD: Final = 1 << 22
#: Newton's steps of the null model, of saddle points and of refits.
STEPS: Final = 25
STEPS_FIRTH: Final = 100
#: Information on a covariate, a part of that at even odds, below which cases and controls are told apart.
SEPARATED: Final = 1e-7
#: The null model has converged when no step, in units of standardised covariates, is longer.
CONVERGED: Final = 1e-9

DECLARATION = Declaration(
    "gwas.logistic",
    aggregate={
        **design.AGGREGATE,
        **_orthonormal.AGGREGATE,
        "null model": "at each step of the fit without variants: gradient and information of the "
        "coefficients of the orthonormalised covariates",
        "variant sums": "of each variant: missing calls, and Σ of calls, of their squares times "
        "w = μ(1 − μ), and of calls times y − μ, w and each standardised covariate",
        "missing calls": "of each variant that lacks calls: Σ over these of y − μ, w and each standardised "
        "covariate",
        "saddle points": "of each variant with |z| > 2: the largest and smallest possible score, two "
        "derivatives of its cumulant generating function at each step, and that function at the last",
        "refits": "of each variant below the threshold, at each step: gradient and information of its "
        "regression",
        "penalties": "the same of Firth's penalty: what it adds to the gradient",
    },
    published={
        **_variants.PUBLISHED,
        **design.PUBLISHED,
        "cases": "that each site's trait is 0 or 1",
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
    disclose: Disclose | None = None,
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
        P value of the score test below which a variant is regressed in full, 1e-4 by default. 1 regresses
        every variant. Not of linked columns.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be told from their alleles, are kept and
        flagged, or dropped.
    disclose
        ``"aggregate"``, by default: each variant's pooled sums are opened to every site. ``"result"``, which
        linked columns have instead: its score, and the variance of it.

    Returns
    -------
    GWASResult
        One row a variant; beta is the logarithm of the odds ratio of one copy. Its column `test` says where
        beta, standard error and P value come from: ``"score"`` and ``"spa"``, from the score test, beta then
        being the first step of Newton's method, and the P value of the latter from the saddle point;
        ``"wald"`` and ``"firth"`` from regressions on the samples with a call. NaN where a variant does not
        vary beyond the covariates.

    Raises
    ------
    DataError
        The genotype files, the ids, the trait or a covariate cannot be used; or the sites share no
        variant. Raised before anything is opened.
    RemoteError
        The same at another site.
    EstimationError
        The covariates are singular or tell cases from controls, or there are only cases or controls.

    Notes
    -----
    Score tests set missing calls to the variant's mean; regressions leave them out, as PLINK does.
    Sex chromosomes are read as in `linear`. P values of linked columns are those of the normal distribution
    throughout: do not trust the small ones of rare variants where cases are few.

    **Leakage.** Every site learns, of all sites together, the sums that `DECLARATION` lists, from
    which allele frequencies follow; see `linear` for what these tell. Of each single site it learns the
    list of variants. A coalition of t sites learns the same sums over the other n − t sites; all but one
    learn the remaining site's. Of linked columns: the coefficients of the covariates at each iteration, the
    number of cases, and each variant's score and the variance of it; a coalition of t < n/2 nothing more.

    **Cost.** Some thirty rounds for the null model, four for each block of 2,048 variants, about ten for
    each batch of saddle points, and as many of refits. For k terms with the intercept a variant has 5 + k
    sums, and one that lacks calls 2 + k more. Linked columns: as `glm` for the null model, then as `linear`.

    Examples
    --------
    >>> hits = fs.gwas.logistic(geno, cohort, trait="case", covariates=["age", "pc1"])  # doctest: +SKIP
    >>> hits.top()  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        if refit is not None:
            raise DataError(
                "refit= is not there for linked columns, of which variants have score tests alone"
            )
        return linked.logistic(
            genotypes, cohort, trait, covariates, variants, ambiguous, disclose or "result"
        )
    below = REFIT if refit is None else refit

    def check() -> None:
        _traits.check_traits([trait], covariates)
        if not 0 <= below <= 1:
            raise DataError(f"refit={refit}: a P value between 0 and 1")

    with cohort.federation.analysis(DECLARATION, disclose or "aggregate") as run:
        samples, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, check=check
        )
        part = design.agree_design(
            run,
            cohort,
            " + ".join([f"{trait} ~ 1", *covariates]),
            call=f"refit={below}, ambiguous={ambiguous!r}",
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
        scores = _score(run, genotypes, shared, members, null)
        frame = table_of(shared, scores, null.n)
        _find_saddles(run, genotypes, shared, members, null, scores, frame)
        _refit(run, genotypes, shared, members, null, frame, below)
        return GWASResult(
            **run.finish(),
            trait=trait,
            frame=on_one_copy(frame),
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


def _score(run: Analysis, genotypes: Genotypes, shared: Reconciled, members: Members, null: Null) -> Scores:
    """Open the scores of all variants."""
    numbers, weights = null.numbers(members), null.weights(members)

    def local(part: slice) -> tuple[Any, Floats]:
        block = genotypes.block(shared, part, members)
        return block, score_sums(block, numbers, weights)

    found = []
    for number, _, (block, mine) in blocks(run, len(shared), local):
        pooled = run.sum("variant sums", mine, ring=FIXED128, part=number)
        which = np.flatnonzero(pooled[:, 0] > 0.5)
        of_missing = np.zeros((0, numbers.columns))
        if which.size:
            here = block.of_missing(which, numbers)
            of_missing = run.sum("missing calls", here, ring=FIXED128, part=number)
        found.append(Scores.of(pooled, null.n, which, of_missing))
    return Scores.concatenate(found)


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
            "n": n,
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
) -> None:
    """Replace the P values of extreme scores by those of their saddle points."""
    number = 0
    for which in _batches(np.flatnonzero(np.abs(scores.z) > SPA_ABOVE), null.n):
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
) -> None:
    """Replace estimates and P values of the variants below the threshold by those of their regressions."""
    parts = {"refits": 0, "penalties": 0}

    def total(label: str, mine: Floats) -> Floats:
        parts[label] += 1
        return run.sum(label, mine, ring=FIXED128, part=parts[label])

    def fit(which: Integers, *, firth: bool) -> Integers:
        """Regress, enter what converged, and return what did not."""
        calls = genotypes.block(shared, which, members).calls()
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
        frame.loc[rows, "n"] = np.rint(null.n * (1 - frame.loc[rows, "missing_rate"])).astype(np.int64)
        return which[~good]

    below = np.flatnonzero(frame["neg_log10_p"].to_numpy() >= -np.log10(max(threshold, 1e-300)))
    for which in _batches(below, null.n):
        left = fit(which, firth=False)
        if left.size:
            fit(left, firth=True)


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
