"""Ridge, lasso and elastic net over the rows of all sites, the penalty chosen by cross-validation over sites.

The sites sum cross-products of the columns by fold. All that follows, fits without each fold and errors
in it, is computed from these: in public (``disclose="aggregate"``, this file), or on shares
(``disclose="result"``, `_penalized_shares`). Logistic models have no such sums and take Newton's steps
(`_penalized_logistic`; on shares `_penalized_logistic_shares`, and where sites are held out
`_penalized_logistic_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack, cast, get_args

import numpy as np
import pandas as pd

from fedstats import _frames, design
from fedstats._moments import Frame
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _penalized_logistic as logistic
from fedstats.regression import _penalized_logistic_rows as logistic_on_rows
from fedstats.regression import _penalized_logistic_shares as logistic_on_shares
from fedstats.regression import _penalized_shares as on_shares
from fedstats.regression._folds import PUBLISHED, Folds, check_site, deal, fold_count, products_by_fold
from fedstats.regression._path import curve_of, minimise
from fedstats.regression._penalized_results import Family, PenalizedResult
from fedstats.regression._penalty import Fitted, Penalty, Rule

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

_PRODUCTS = "Σxx' of the scaled columns and the response over each fold's rows of all sites, and their number"


def declare(penalty: Penalty, family: Family) -> Declaration:
    """Return what a penalised regression opens, which depends on what is chosen and from what."""
    chooses = penalty.alpha is None
    if family == "binomial":
        held_out = {} if chooses else {"held-out deviance"}
        opened = {label: text for label, text in logistic.AGGREGATE.items() if label not in held_out}
        by_site = chooses and penalty.cv == "sites"
        fits = {**logistic_on_shares.STEPS, **(logistic_on_shares.CURVE if chooses else {})}
        if by_site:
            signs = {} if penalty.l1_ratio else on_shares.ABSOLUTE
            fits = {label: text for label, text in logistic_on_rows.RESULT.items() if label not in signs}
        return Declaration(
            "elastic_net",
            aggregate={**design.AGGREGATE, **_frames.AGGREGATE, **opened},
            result={
                **design.AGGREGATE,
                **_frames.RESULT,
                **fits,
                **(logistic_on_shares.GRID if penalty.needs_largest else {}),
            },
            published={
                **design.PUBLISHED,
                **({**PUBLISHED, **logistic_on_rows.PUBLISHED} if by_site else {}),
            },
        )
    parts = [
        (on_shares.COEFFICIENTS, True),
        (on_shares.CURVE, chooses),
        (on_shares.GRID, penalty.needs_largest),
        (on_shares.BY_SITE, chooses and penalty.cv == "sites"),
        (on_shares.ABSOLUTE, penalty.l1_ratio > 0),
    ]
    result = {label: text for part, is_opened in parts if is_opened for label, text in part.items()}
    return Declaration(
        "elastic_net",
        aggregate={**design.AGGREGATE, **_frames.AGGREGATE, "fold products": _PRODUCTS},
        result={**design.AGGREGATE, **_frames.RESULT, **result},
        published={**design.PUBLISHED, **(PUBLISHED if chooses and penalty.cv == "sites" else {})},
    )


def elastic_net(
    formula: str,
    cohort: Cohort,
    *,
    alpha: float | None = None,
    l1_ratio: float = 0.5,
    family: Family = "gaussian",
    alphas: Sequence[float] | None = None,
    n_alphas: int = 50,
    eps: float | None = None,
    cv: Folds = 5,
    rule: Rule = "min",
    random_state: int = 0,
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> PenalizedResult:
    """Fit a linear or logistic model with a penalty on its coefficients to the rows of all sites.

    What is minimised, as by glmnet and scikit-learn's `ElasticNet` on standardised columns, is ::

        loss + alpha · (l1_ratio · Σ|b| + (1 − l1_ratio)/2 · Σb²)

    with coefficients b of the columns in units of their standard deviation (denominator n) over all sites,
    and the intercept not penalised. The loss is Σ(y − prediction)² / 2n, or minus the mean log-likelihood
    of a logistic model. In scikit-learn's terms Ridge(alpha=n·alpha), LogisticRegression(C=1/(n·alpha)).

    Parameters
    ----------
    formula
        As for `ols`, with an intercept.
    cohort
        The rows, see `Federation.cohort`.
    alpha
        The penalty, in units of the response. Chosen by cross-validation if None.
    l1_ratio
        Share of absolute values: 1 for the lasso, 0 for ridge regression.
    family
        ``"gaussian"``, or ``"binomial"`` for a response of 0 and 1.
    alphas, n_alphas, eps
        What is chosen from: these, or so many in equal ratios from the smallest alpha that leaves no term
        down to its eps-th part, a thousandth by default. For ridge regression, which keeps all terms, from
        their number down to a ten-thousandth of that.
    cv
        A number of folds to which each site deals its own rows, so that each fold has rows of all
        sites; or ``"sites"``: each site is held out in turn, in the result mode.
    rule
        ``"min"``: the smallest mean error; ``"1se"``: the largest alpha within one standard error of it.
    random_state
        By which rows are shuffled before they are dealt.
    missing
        As for `ols`.
    disclose
        ``"result"``: errors by alpha and the chosen coefficients are opened; of logistic models with folds
        within sites the coefficients of all fits at each step. ``"aggregate"``: pooled cross-products by
        fold, of logistic models those of all fits at each step.

    Returns
    -------
    PenalizedResult
        Coefficients in the units of the columns, and the errors of cross-validation.

    Raises
    ------
    DataError
        The formula, or a column that it uses, or an option cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        A column is constant, there are too few rows, or collinear columns with too small an alpha.

    Notes
    -----
    **Leakage.** In the result mode every site learns how many rows there are, mean and spread of each column
    to within a factor of two, the largest alpha of the grid, for each alpha the mean error of held-out rows
    and its standard error, and the chosen coefficients, those that are 0 included; besides a few bits that
    say whether the computation may go on. Fits of gaussian models without a fold or for other alphas are
    opened to nobody, nor is any fold's own error. With ``cv="sites"`` the mean error is over all sites; of
    three sites or more no single one's follows.

    Of a logistic model with folds within sites, or a given alpha, it learns the coefficients of all fits, at
    each step on their way, as sites make the sums of the next step from them: as many fits as there are
    alphas, times one more than folds. Of the sums themselves, and of likelihoods, it learns nothing.
    Coefficients of a fit to all sites but one would tell what that site's rows contribute. With
    ``cv="sites"`` rows are shared instead, and as little is opened as of a gaussian model; each site's number
    of rows is told, rounded up by an eighth at most.

    In the aggregate mode every site learns, of the rows of all sites together, the cross-products of all
    columns and of the response by fold; for a logistic model the weighted ones at each step of each fold and
    alpha. No site is ever left out of them, which is why ``cv="sites"`` is not offered there.

    In both modes, of each single site it learns which levels of the categorical columns occur there. A
    coalition of t sites learns the same, and in the aggregate mode of the other n − t together.

    Cost: ten rounds in the aggregate mode, for logistic models two more for each step. In the result mode for
    three sites some 400 rounds for ridge regression and 650 otherwise, up to 1,500 with nearly collinear
    columns; three times as many for logistic models. Everybody sends some 6 kB for each fit and each pair of
    terms: 175 MB for ten terms, 50 alphas and five folds; four times as much for logistic models. With sites
    held out, logistic models take 2 kB more for each row and fit in each of some eight steps: choose from few
    alphas (``n_alphas=10``), and for more than 10,000 rows prefer folds within sites.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via Coordinate
    Descent", Journal of Statistical Software 33 (1), 2010.

    Examples
    --------
    >>> fit = fs.elastic_net("ltg ~ age + bmi + bp", cohort, rule="1se")  # doctest: +SKIP
    >>> fit.params, fit.cv_frame()  # doctest: +SKIP
    """
    penalty = Penalty(
        alpha, l1_ratio, None if alphas is None else tuple(alphas), n_alphas, eps, cv, rule, random_state
    )
    with cohort.federation.analysis(declare(penalty, family), disclose) as run:

        def check() -> None:
            if family not in get_args(Family):
                raise DataError(f"family must be one of {', '.join(get_args(Family))}, not {family!r}")
            penalty.check()
            if cv == "sites" and alpha is None and disclose == "aggregate":
                raise DataError(
                    "cv='sites' with disclose='aggregate' would open the sums of all sites but one, and so "
                    "each site's: use disclose='result', or folds within sites (cv=5)"
                )

        def check_rows(y: Array | None, _: Mapping[str, Array]) -> None:
            if family == "binomial":
                logistic.check_outcome(cast(Array, y), formula.split("~")[0].strip())

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"{penalty}, family={family!r}, missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=check,
            check_rows=check_rows,
        )
        if not part.has_intercept or len(part.names) < 2:
            raise DataError(f"a penalised model has an intercept and terms to penalise: change {formula!r}")
        X, y, names = part.X[:, 1:], cast(Array, part.y), part.names[1:]
        n, dropped = _frames.open_rows(run, len(X), part.dropped)
        folds = 1 if alpha is not None else fold_count(run, cv)
        _refuse_few(n, folds, run)
        run.check_rows(n, len(part.names))
        if folds > 1 and cv == "sites":
            check_site(run, len(X))
        fold = np.zeros(len(X), np.intp) if folds == 1 else deal(run, cv, len(X), random_state)
        if family == "binomial":
            frame = _frames.pooled_frame(run, X, names, n)
            response = Frame(np.zeros(1), np.ones(1))
            fit = logistic.fit
            if disclose == "result":
                by_site = folds > 1 and cv == "sites"
                fit = logistic_on_rows.fit if by_site else logistic_on_shares.fit
            fitted = fit(run, frame.apply(X), y, fold, folds, n, penalty)
        else:
            both = _frames.pooled_frame(run, np.column_stack([X, y]), (*names, str(part.response_name)), n)
            frame, response = both[: len(names)], both[len(names) :]
            columns = np.column_stack([np.ones(len(X)), both.apply(np.column_stack([X, y]))])
            sums = products_by_fold(columns, fold, folds)
            unit = float(response.unit[0])
            if disclose == "aggregate":
                fitted = _from_products(run.sum("fold products", sums), penalty, unit)
            else:
                fitted = on_shares.fit(run, sums, penalty, unit, n, by_site=cv == "sites")
        return _result(run, part, penalty, family, fitted, frame, response, (n, dropped))


class Options(TypedDict, total=False):
    """Options of `elastic_net` that `ridge` and `lasso` have too."""

    alpha: float | None
    family: Family
    alphas: Sequence[float] | None
    n_alphas: int
    eps: float | None
    cv: Folds
    rule: Rule
    random_state: int
    missing: design.Missing
    disclose: Disclose


def ridge(formula: str, cohort: Cohort, **options: Unpack[Options]) -> PenalizedResult:
    """Fit a linear or logistic model with a penalty on squared coefficients: `elastic_net` of l1_ratio 0."""
    return elastic_net(formula, cohort, l1_ratio=0.0, **options)


def lasso(formula: str, cohort: Cohort, **options: Unpack[Options]) -> PenalizedResult:
    """Fit a linear or logistic model with a penalty on absolute coefficients: `elastic_net` of l1_ratio 1."""
    return elastic_net(formula, cohort, l1_ratio=1.0, **options)


def _refuse_few(n: int, folds: int, run: Analysis) -> None:
    """Raise EstimationError if folds would have fewer pooled rows than groups may have, or none."""
    least = run.federation.shared_policy.min_cell
    if n < max(folds * least, 2):
        raise EstimationError(
            f"{n} complete rows over all sites are too few for {folds} folds of at least {least} rows: use "
            "fewer folds, or give alpha"
        )


def _from_products(products: Array, penalty: Penalty, unit: float) -> Fitted:
    """Fit from pooled cross-products by fold.

    Parameters
    ----------
    products
        Σxx' of (1, columns, response) in frames, shape ``(folds, q, q)``.
    penalty
        In the response's units.
    unit
        Of the response.
    """
    total = products.sum(axis=0)
    mean = total[0, 1:] / total[0, 0]
    centred = total[1:, 1:] / total[0, 0] - np.outer(mean, mean)
    scale = np.sqrt(np.diag(centred))[:-1]
    # To standardised columns and a centred response.
    W = np.diag([1.0, *1 / scale, 1.0])
    W[0, 1:] = -mean / [*scale, 1.0]
    standard = np.einsum("ai,kab,bj->kij", W, products, W)

    train = np.concatenate([standard.sum(axis=0) - standard, standard.sum(axis=0)[np.newaxis]])
    if len(products) == 1:
        train = train[1:]
    size = train[:, 0, 0]
    means = train[:, 0, 1:] / size[:, np.newaxis]
    moments = (
        train[:, 1:, 1:] / size[:, np.newaxis, np.newaxis] - means[:, :, np.newaxis] * means[:, np.newaxis]
    )
    A, c = moments[:, :-1, :-1], moments[:, :-1, -1]

    alphas = penalty.grid(float(np.abs(c[-1]).max()) * unit, A.shape[1])
    k, m, p = len(train), len(alphas), A.shape[1]
    problems = np.repeat(np.arange(k), m)
    l1, l2 = penalty.split(np.tile(alphas, k), unit)
    b = minimise(A[problems], c[problems], l1, l2).reshape(k, m, p)
    intercept = means[:, np.newaxis, -1] - np.einsum("kmp,kp->km", b, means[:, :-1])

    curve = None
    if k > 1:
        # Squared residuals are (−b0, −b, 1)·Σxx'·(−b0, −b, 1)'.
        u = np.concatenate([-intercept[..., np.newaxis], -b, np.ones((k, m, 1))], axis=2)[:-1]
        errors = unit * unit * np.einsum("kmi,kij,kmj->km", u, standard, u)
        curve = curve_of(alphas, errors, standard[:, 0, 0])
    slopes = b[-1] / scale
    intercepts = intercept[-1] + mean[-1] - slopes @ mean[:-1]
    chosen = 0 if curve is None else penalty.choose(curve)
    return Fitted(alphas, np.column_stack([intercepts, slopes]), chosen, curve)


def _result(
    run: Analysis,
    part: design.Design,
    penalty: Penalty,
    family: Family,
    fitted: Fitted,
    frame: Frame,
    response: Frame,
    rows: tuple[int, int],
) -> PenalizedResult:
    """Return a fit in the units of columns and response."""
    unit, centre = float(response.unit[0]), float(response.centre[0])
    slopes = unit * fitted.coefficients[:, 1:] / frame.unit
    intercepts = centre + unit * fitted.coefficients[:, 0] - slopes @ frame.centre
    params = np.column_stack([intercepts, slopes])
    alphas, curve = fitted.alphas, fitted.curve
    path = None
    if len(params) == len(alphas) > 1:
        path = pd.DataFrame(params, columns=list(part.names), index=pd.Index(alphas, name="alpha"))
    return PenalizedResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        family=family,
        params=pd.Series(params[fitted.chosen % len(params)], index=list(part.names), name="coef"),
        alpha=float(alphas[fitted.chosen]),
        l1_ratio=penalty.l1_ratio,
        rule=None if curve is None else penalty.rule,
        curve=curve,
        cv=None if curve is None else penalty.cv,
        path=path,
        nobs=rows[0],
        n_missing=rows[1],
        coding=part.coding,
    )
