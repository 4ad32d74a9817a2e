"""Analysis of variance of a linear model over the rows of all sites: a sum of squares for each term.

What a term explains is b'·V⁻¹·b of its coefficients b, where V is the part of (X'X)⁻¹ that belongs to them.
What else is in the model X is what the three types differ in [1]_: the terms before it (I), the terms that do
not contain it (II), or all (III). In the aggregate mode X is orthonormalised, and b'·V⁻¹·b a sum of squared
projections. In the result mode all of it is computed on shares, with X in a coarse public frame.

References
----------
.. [1] F. M. Speed, R. R. Hocking and O. P. Hackney, "Methods of Analysis of Linear Models with Unbalanced
   Data", Journal of the American Statistical Association 73, 1978.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import qr

from fedstats import _frames, _table, design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT, Coding
from fedstats.hypotests._result import check_options
from fedstats.regression import _equations, _orthonormal
from fedstats.regression._equations import Inverse
from fedstats.results import Result
from protocols.floating import floating
from protocols.long import LongArray, concatenate, multiply

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

AnovaType: TypeAlias = Literal[1, 2, 3]

DECLARATION = Declaration(
    "anova",
    aggregate={
        **design.AGGREGATE,
        **_orthonormal.AGGREGATE,
        "residuals": "Σr² of the residuals r",
    },
    result={
        **design.AGGREGATE,
        **_frames.RESULT,
        "sums of squares": "of each term and of the residuals, in the unit of the response's frame",
    },
    published=design.PUBLISHED,
)


def anova(
    formula: str,
    cohort: Cohort,
    *,
    typ: AnovaType = 2,
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> AnovaResult:
    """Test each term of a linear model.

    Parameters
    ----------
    formula
        As for `ols`, with an intercept. For type III code categories by ``C(x, Sum)``.
    cohort
        The rows, see `Federation.cohort`.
    typ
        Type of the sums of squares: 1, in the order of the terms; 2, of terms beside all that do not contain
        them; 3, of terms beside all others.
    missing
        ``"drop"`` leaves out rows with a missing value in a column of the formula; ``"raise"`` refuses them.
    disclose
        ``"result"``: the sums of squares are opened. ``"aggregate"``: pooled cross-products.

    Returns
    -------
    AnovaResult
        As ``anova_lm(fit, typ=typ)`` of statsmodels has it.

    Raises
    ------
    DataError
        The formula, or a column that it uses, cannot be used.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, or the model leaves no residuals.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, the sums of squares to 30 significant bits, a coarse
    frame of each column of the model matrix (its mean and standard deviation to one bit), and of each other
    site which levels it has. A coalition of t sites learns no more in the result mode, and can leave its own
    rows out of these. With ``disclose="aggregate"`` every site learns all cross-products, as by `ols`.

    **Cost.** For three sites and four terms about 320 rounds and 0.7 MB; 10 rounds in the aggregate mode.

    Examples
    --------
    >>> fs.anova("sbp ~ arm * C(sex) + age", cohort, typ=2).to_frame()  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            check_options({"typ": (typ, AnovaType)})

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"typ={typ!r}, missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=check,
        )
        if not part.has_intercept:
            raise DataError(f"formula {formula!r} has no intercept, which an analysis of variance is about")
        tests = _tests(part.coding, typ)
        if not tests:
            raise DataError(f"formula {formula!r} has no terms on its right")
        fitted = _opened if run.disclose == "aggregate" else _secret
        squares, n = fitted(run, part, tests)
        df_resid = n - len(part.names)
        if not squares[-1] > 0:
            raise EstimationError("the model leaves no residuals: there is nothing to test against")
        df = np.array([len(test.tested) for test in tests])
        table = pd.DataFrame(
            {"sum_sq": squares, "df": [*df.astype(float), float(df_resid)]},
            index=[*(test.term for test in tests), "Residual"],
        )
        f = squares[:-1] / df / (squares[-1] / df_resid)
        table["F"] = np.append(f, np.nan)
        table["PR(>F)"] = np.append(stats.f.sf(f, df, df_resid), np.nan)
        return AnovaResult(
            **run.finish(), formula=part.coding.formula.text, typ=typ, nobs=n, df_resid=df_resid, table=table
        )


@dataclass(frozen=True)
class _Test:
    """A term, its columns of the model matrix, and those of the model that it is tested in, its own last."""

    term: str
    tested: tuple[int, ...]
    model: tuple[int, ...]


def _tests(coding: Coding, typ: AnovaType) -> list[_Test]:
    """Return what is to be tested in what, in the order of terms."""
    factors = [frozenset(map(str, term.factors)) for term in coding.formula.terms]
    slices = coding.terms()
    columns = [tuple(range(its.start, its.stop)) for its in slices.values()]

    def stays(k: int, j: int) -> bool:
        return k < j if typ == 1 else typ == 3 or not factors[j] < factors[k]

    return [
        _Test(
            term,
            columns[j],
            tuple(c for k, its in enumerate(columns) if k != j and stays(k, j) for c in its) + columns[j],
        )
        for j, term in enumerate(slices)
        if typ == 3 or term != INTERCEPT
    ]


def _opened(run: Analysis, part: Design, tests: Sequence[_Test]) -> tuple[Array, int]:
    """Return the sums of squares, of terms and of residuals, and the number of rows."""
    y = cast(Array, part.y)[:, np.newaxis]
    basis = _orthonormal.orthonormalise(run, part.X, part.names, y, has_intercept=True, dropped=part.dropped)
    residuals = basis.Y[:, 0] - basis.Q @ basis.projections[:, 0]
    ssr = float(run.sum("residuals", np.array([residuals @ residuals]))[0])
    unit, centre, on_q = basis.frame.unit[0], basis.frame.centre[0], basis.projections[:, 0]
    explained = []
    for test in tests:
        # The response was centred, which the intercept takes up in every model but in its own test.
        target = on_q + (centre / unit * basis.mean if test.term == INTERCEPT else 0.0)
        basis_of_model, _ = qr(basis.R[:, test.model], mode="economic")
        explained.append(basis.n * np.square(basis_of_model[:, -len(test.tested) :].T @ target).sum())
    return unit * (unit * np.array([*explained, ssr])), basis.n


def _secret(run: Analysis, part: Design, tests: Sequence[_Test]) -> tuple[Array, int]:
    """Return the sums of squares and the number of rows, opening the former only."""
    n, _ = _frames.open_rows(run, len(part.X), part.dropped)
    p = len(part.names)
    if n <= p:
        raise EstimationError(f"{n} complete rows over all sites cannot determine {p} terms: use fewer terms")
    run.check_rows(n, p)
    columns = np.column_stack([part.X[:, 1:], cast(Array, part.y)])
    frame = _frames.pooled_frame(run, columns, (*part.names[1:], str(part.response_name)), n)
    framed = frame.apply(columns)
    Z, y = np.column_stack([np.ones(len(framed)), framed[:, :-1]]), framed[:, -1]
    upper = np.triu_indices(p)
    # The intercept of the columns themselves, of coefficients in their frame.
    origin = np.concatenate([[1.0], -(frame.centre / frame.unit)[:-1]])
    height = frame.centre[-1] / frame.unit[-1]
    models: dict[tuple[int, ...], tuple[Inverse, LongArray]] = {}
    with run.on_shares() as engine:
        left, right, total = _equations.shared(
            engine, (Z.T @ Z)[upper], (Z.T @ y)[:, np.newaxis], np.array([y @ y])
        )
        A = _equations.full(left, p)

        def fit(model: tuple[int, ...]) -> tuple[Inverse, LongArray]:
            kept = tuple(sorted(model))
            if kept not in models:
                inverse = _equations.inverted(A[np.ix_(kept, kept)], tuple(part.names[c] for c in kept))
                models[kept] = inverse, inverse.times(right[list(kept)])[:, 0]
            return models[kept]

        explained = []
        for test in tests:
            inverse, solution = fit(test.model)
            kept = sorted(test.model)
            L = np.eye(p)[list(test.tested)] if test.term != INTERCEPT else origin[np.newaxis]
            L = L[:, kept]
            estimates = solution @ L.T
            if test.term == INTERCEPT:
                estimates = estimates + height
            names = tuple(part.names[c] for c in test.tested)
            variances = _equations.inverted(inverse.sandwich(L=L), names)
            explained.append(variances.quadratic(estimates).reshape(1))
        _, solution = fit(tuple(range(p)))
        explained.append(total - multiply(right[:, 0], solution).sum().reshape(1))
        squares = floating(concatenate(explained))
    unit = frame.unit[-1]
    return unit * (unit * run.reveal({"sums of squares": squares})["sums of squares"]), n


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AnovaResult(Result):
    """An analysis of variance, the same at every site.

    Attributes
    ----------
    formula
        The model.
    typ
        Type of the sums of squares.
    nobs, df_resid
        Rows of all sites, and degrees of freedom that the model leaves.
    table
        For each term and for the residuals ``sum_sq, df, F, PR(>F)``.
    """

    formula: str
    typ: int
    nobs: int
    df_resid: int
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, a row for each term."""
        return self.table.copy()

    def summary(self) -> str:
        """Return the table as text."""
        title = f"Analysis of variance, type {'I' * self.typ}: {self.formula}"
        lines = [title, "", *_table.frame_lines(self.table, digits=5)]
        return "\n".join([*lines, "", f"{self.nobs} rows", f"Cost: {self.cost}"])
