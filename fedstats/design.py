"""The design of a model: each site's model matrix, built alike because all sites agreed how.

Every method with a formula or with covariates starts here. One round tells each site that all ask
for the same analysis, that all inputs are sound, and which levels categorical columns have. Only
``center`` and ``scale`` cost more: two sums for their moments, and a round to hear whether
what was computed with them is finite everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import levels as level_sets
from fedstats._moments import Frame, location_sums, moments, power_sums
from fedstats.cohort import largest, require_rows, to_numbers, to_texts
from fedstats.errors import DataError
from fedstats.expressions import Array, Contrast, Expression, Inputs, MeanStd, translate
from fedstats.formula import INTERCEPT, Coding, ModelFormula, Rows, is_categorical, parse, used_as
from fedstats.schema import Kind, kind_of

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Missing: TypeAlias = Literal["drop", "raise"]
#: Looks at this site's response and further variables in the rows that are used; may raise DataError.
RowCheck: TypeAlias = Callable[[Array | None, Mapping[str, Array]], None]

#: What `agree_design` publishes and opens; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {
    "formula": "the text of the call, and which levels of its categorical columns a site's rows have "
    "(not of columns whose levels were declared)",
    "transforms": "that each site's transformed values are finite (only with center or scale)",
}
AGGREGATE: Mapping[str, str] = {
    "transform sums": "n, Σx and Σ|x| of the arguments of center and scale",
    "transform squares": "Σ(x − mean) and Σ(x − mean)² of the arguments of center and scale",
}


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """This site's part of a design; its repr shows no row.

    Attributes
    ----------
    X
        Model matrix of the complete rows, shape ``(rows, terms)``.
    y
        Response, shape ``(rows,)``; None if the formula has none. Of a categorical one, positions among
        its `levels`.
    names
        Terms, the same at every site.
    coding
        How rows are coded; serves to code new ones.
    rows
        Positions in the cohort of the complete rows.
    ids
        Their identifiers, if the cohort has any.
    dropped
        How many rows of this site were left out for a missing value.
    further
        Further variables that were asked for, by name, each of shape ``(rows,)``.
    further_expressions
        Their expressions, to evaluate new rows.
    """

    X: Array
    y: Array | None
    names: tuple[str, ...]
    coding: Coding
    rows: NDArray[np.intp]
    ids: NDArray[np.object_] | None
    dropped: int
    further: Mapping[str, Array]
    further_expressions: Mapping[str, Expression]

    @property
    def has_intercept(self) -> bool:
        """Whether the first term is the intercept."""
        return self.names[:1] == (INTERCEPT,)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of a categorical response."""
        response = self.coding.formula.response
        if response is None or response.contrast is None:
            raise TypeError("the response has no levels")
        return self.coding.levels[response.columns[0]]

    @property
    def response_name(self) -> str | None:
        """The response, as the formula has it."""
        response = self.coding.formula.response
        return None if response is None else response.text

    def __repr__(self) -> str:
        return f"<Design {self.coding.formula.text!r}: {', '.join(self.names)}>"


def agree_design(
    run: Analysis,
    cohort: Cohort,
    formula: str,
    *,
    call: str,
    needs_response: bool,
    missing: Missing = "drop",
    check: Callable[[], NDArray[np.bool_] | None] | None = None,
    categorical: bool = False,
    further: Mapping[str, str | None] | None = None,
    needed: Sequence[str] = (),
    check_rows: RowCheck | None = None,
) -> Design:
    """Agree with the other sites on a design, and build this site's part of it.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED` and `AGGREGATE`.
    cohort
        The rows.
    formula
        ``"response ~ terms"`` or ``"terms"``.
    call
        Every option that all sites must give alike, as text.
    needs_response
        Whether the formula must have a response, or must have none.
    missing
        Leave out rows with a missing value in any used column, or refuse them.
    check
        Checks whatever else the analysis needs of this site, and returns which rows take part, or
        None if all do. May raise DataError.
    categorical
        Whether the response, a bare column, is taken as categories.
    further
        Further variables of each row, by a name of the caller's: expressions as in formulas, or None.
    needed
        Columns that must not be missing in the rows that are used, beside those of the expressions.
    check_rows
        Checks the response and the further variables of the rows that are used.

    Raises
    ------
    DataError
        See `parse` and `Cohort.numbers`; or a column has missing values under ``missing="raise"``,
        none at any site, levels that would identify rows or only one level; or a term is not finite;
        or the sites ask for different analyses.
    RemoteError
        The same at another site alone.

    Notes
    -----
    **Leakage.** `PUBLISHED`, and with ``center`` or ``scale`` also `AGGREGATE`.

    Cost: one round; six with ``center`` or ``scale``.
    """
    mine: list[_Local] = []

    def local() -> Mapping[str, Any]:
        require_rows(cohort)
        selected = None if check is None else check()
        asked = _asked(formula, needs_response, categorical, further or {})
        part = _Local.build(cohort, asked, missing, selected, needed, largest(run.disclose))
        if not part.pooled:
            part.check_rows(check_rows, {})
        mine.append(part)
        run.takes(cohort, part.positions)
        return {"call": f"{formula!r}, {call}", "levels": part.told_levels()}

    told = run.agree("formula", local, max_bytes=1 << 20)
    check_same_call(told, run.federation.site)
    [part] = mine
    coding = Coding(part.formula, part.kinds, part.merge_levels(told), {})
    run.check_parameters(coding.width)
    if part.pooled:
        coding = Coding(part.formula, part.kinds, coding.levels, _pooled_moments(run, part))

        def finite() -> Mapping[str, Any]:
            part.check_finite(coding.moments)
            part.check_rows(check_rows, coding.moments)
            return {}

        run.agree("transforms", finite, max_bytes=1 << 10)
    X, names = coding.matrix(part.rows)
    return Design(
        X,
        coding.response(part.rows),
        names,
        coding,
        part.positions,
        None if cohort.ids is None else cohort.ids[part.positions],
        part.dropped,
        part.evaluate(coding.moments),
        part.further,
    )


def code_new_rows(coding: Coding, frame: pd.DataFrame) -> tuple[NDArray[np.intp], Array]:
    """Code rows that were not part of the analysis, at this site alone.

    Parameters
    ----------
    coding
        From `Design.coding`.
    frame
        Has every column on the right of the formula.

    Returns
    -------
    positions : ndarray
        Positions of the rows without missing values.
    X : ndarray
        Their model matrix.

    Raises
    ------
    DataError
        A column is absent, of another type, or has a level that the analysis did not.
    """
    terms = replace(coding, formula=replace(coding.formula, response=None))
    absent = [name for name in terms.formula.columns if name not in frame]
    if absent:
        raise DataError(f"the data frame has no column {', '.join(map(repr, absent))}")
    numbers, categories = used_as(terms.formula, coding.kinds)
    for name in numbers:
        kind = kind_of(frame[name])
        if not (kind.is_numeric or kind is Kind.EMPTY):
            raise DataError(f"column {name!r} is {kind}, a number is needed")
    used = frame[terms.formula.columns]
    positions = np.flatnonzero(used.notna().all(axis=1).to_numpy())
    complete = used.iloc[positions]
    rows = Rows(
        len(positions),
        {name: to_numbers(complete[name], name) for name in numbers},
        {name: to_texts(complete[name], name, coding.kinds[name]) for name in categories},
    )
    for name, texts in rows.texts.items():
        unknown = sum(text not in coding.levels[name] for text in texts)
        if unknown:
            raise DataError(f"column {name!r} has levels in {unknown} rows that the analysis did not have")
    return positions, terms.matrix(rows)[0]


def evaluate_new_rows(coding: Coding, expression: Expression, frame: pd.DataFrame) -> Array:
    """Evaluate a further expression on rows that were not part of the analysis, at this site alone.

    Parameters
    ----------
    coding
        From `Design.coding`.
    expression
        One of `Design.further_expressions`.
    frame
        Has every column of the expression.

    Returns
    -------
    ndarray
        Shape ``(rows,)``; NaN where a column is missing.

    Raises
    ------
    DataError
        A column is absent or holds no numbers.
    """
    absent = [name for name in expression.columns if name not in frame]
    if absent:
        raise DataError(f"the data frame has no column {', '.join(map(repr, absent))}")
    numbers = {name: to_numbers(frame[name], name) for name in expression.columns}
    return np.broadcast_to(expression(Inputs(numbers, coding.moments)), (len(frame),))


def check_same_call(told: Mapping[str, Mapping[str, Any]], me: str) -> None:
    """Raise DataError, at every site alike, unless all sites ask for the same analysis."""
    differing = [site for site, its in told.items() if its.get("call") != told[me]["call"]]
    if differing:
        other = str(told[differing[0]].get("call"))[:200]
        raise DataError(
            f"the sites ask for different analyses: site {differing[0]} for {other!r}, site {me} for "
            f"{told[me]['call']!r}; run the same script everywhere"
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Local:
    """This site's complete rows, checked, before the sites have agreed."""

    cohort: Cohort
    formula: ModelFormula
    further: Mapping[str, Expression]
    kinds: Mapping[str, Kind]
    rows: Rows
    positions: NDArray[np.intp]
    dropped: int
    largest: float

    @classmethod
    def build(
        cls,
        cohort: Cohort,
        asked: tuple[ModelFormula, Mapping[str, Expression]],
        missing: Missing,
        selected: NDArray[np.bool_] | None,
        needed: Sequence[str],
        most: float,
    ) -> _Local:
        formula, further = asked
        columns = dict.fromkeys([*formula.columns, *(name for e in further.values() for name in e.columns)])
        kinds = {name: cohort.schema.require(name) for name in (*columns, *needed)}
        for name, kind in kinds.items():
            if kind is Kind.EMPTY:
                raise DataError(f"column {name!r} has no value at any site: leave it out of {formula.text!r}")
        response = formula.response
        if response is not None and response.contrast is None and is_categorical(response, kinds):
            raise DataError(f"the response {response.text!r} is categorical, a number is needed")
        numbers, categories = used_as(formula, kinds)
        numbers = [*dict.fromkeys([*numbers, *(name for e in further.values() for name in e.columns)])]
        positions, dropped = _complete_rows(cohort, list(kinds), missing, selected)
        rows = Rows(
            len(positions),
            {name: cohort.numbers(name, most)[positions] for name in numbers},
            {name: cohort.texts(name)[positions] for name in categories},
        )
        part = cls(cohort, formula, further, kinds, rows, positions, dropped, most)
        part.check_finite({})
        return part

    @property
    def expressions(self) -> list[Expression]:
        """All of them: the formula's and the further ones."""
        return [*self.formula.expressions, *self.further.values()]

    @property
    def pooled(self) -> bool:
        """Whether center or scale occurs in them."""
        return any(expression.pooled for expression in self.expressions)

    def evaluate(self, available: Mapping[str, MeanStd]) -> dict[str, Array]:
        """Return the further variables, each of shape ``(rows,)``."""
        inputs, shape = Inputs(self.rows.numbers, available), (self.rows.count,)
        return {name: np.broadcast_to(expression(inputs), shape) for name, expression in self.further.items()}

    def check_rows(self, check: RowCheck | None, available: Mapping[str, MeanStd]) -> None:
        """Let the caller check the response, if it is a number, and the further variables."""
        if check is None:
            return
        response = self.formula.response
        y = None
        if response is not None and response.contrast is None:
            y = response(Inputs(self.rows.numbers, available))
        check(y, self.evaluate(available))

    def check_finite(self, available: Mapping[str, MeanStd]) -> None:
        """Raise DataError if a term is NaN, infinite or too large in a complete row.

        Of terms whose moments are not yet available, the arguments of center and scale are checked.
        """
        inputs = Inputs(self.rows.numbers, available)
        for expression in self.expressions:
            if is_categorical(expression, self.kinds):
                continue
            known = expression.pooled.keys() <= available.keys()
            for values in [expression(inputs)] if known else expression.arguments(inputs):
                bad = int(np.count_nonzero(~(np.abs(values) <= self.largest)))
                if bad:
                    raise DataError(
                        f"{expression.text!r} is not finite in {bad} rows of this site that have no missing "
                        f"value, or beyond {self.largest:g}: correct these rows, set them to missing, or "
                        "change the term"
                    )

    def told_levels(self) -> dict[str, Any]:
        """Return the levels of undeclared categorical columns, as told to the other sites."""
        told: dict[str, Any] = {}
        for name in self._undeclared():
            levels = level_sets.used(self.rows.texts[name])
            level_sets.check_tellable(name, levels, self.rows.count, self.kinds[name])
            told[name] = level_sets.to_metadata(levels, self.cohort.categories(name))
        return told

    def merge_levels(self, told: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
        """Return the agreed levels, and refuse, at every site alike, what cannot be coded with them."""
        levels = {
            name: self.cohort.declared_levels[name]
            for name in self.rows.texts
            if name in self.cohort.declared_levels
        }
        for name in self._undeclared():
            by_site = {site: its.get("levels") for site, its in told.items()}
            levels[name] = level_sets.merge(name, by_site, self.kinds[name], self.cohort.categories(name))
        for name, its in levels.items():
            if len(its) < 2:
                raise DataError(
                    f"column {name!r} has {len(its)} level over all sites in the rows that are used: "
                    f"leave it out of {self.formula.text!r}"
                )
        for expression in self.formula.expressions:
            contrast = expression.contrast
            if contrast is not None and contrast.reference is not None:
                its = levels[expression.columns[0]]
                if contrast.reference not in its:
                    raise DataError(
                        f"{expression.text!r}: there is no level {contrast.reference!r}; the levels are "
                        f"{', '.join(map(repr, its))}"
                    )
        return levels

    def _undeclared(self) -> list[str]:
        return [name for name in self.rows.texts if name not in self.cohort.declared_levels]


def _asked(
    text: str, needs_response: bool, categorical: bool, further: Mapping[str, str | None]
) -> tuple[ModelFormula, dict[str, Expression]]:
    """Return the parsed formula and the further expressions, refusing what the analysis cannot take."""
    formula = parse(text)
    response = formula.response
    if needs_response and response is None:
        raise DataError(f"formula {text!r} has no response: write response ~ terms")
    if not needs_response and response is not None:
        raise DataError(f"formula {text!r} must have no response: write the terms alone")
    if not categorical and response is not None and response.contrast is not None:
        raise DataError(f"the response {response.text!r} is categorical, a number is needed")
    if categorical and response is not None:
        if response.contrast is None and not response.is_column:
            raise DataError(f"the response {response.text!r} is to be a column, whose values are categories")
        # As if it were written C(column).
        formula = replace(formula, response=replace(response, contrast=response.contrast or Contrast()))
    expressions: dict[str, Expression] = {}
    for name, its in further.items():
        if its is None:
            continue
        expressions[name] = translate(its) if isinstance(its, str) else _no_text(name)
        if expressions[name].contrast is not None:
            raise DataError(f"{name}={its!r} is categorical, a number is needed")
    return formula, expressions


def _no_text(name: str) -> NoReturn:
    raise DataError(f"{name} is a column's name or an expression, as text")


def _complete_rows(
    cohort: Cohort, columns: list[str], missing: Missing, selected: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], int]:
    """Return positions of selected rows without missing values, and the number of those with."""
    if missing not in ("drop", "raise"):
        raise DataError(f"missing must be 'drop' or 'raise', not {missing!r}")
    taken = np.ones(len(cohort), dtype=bool) if selected is None else selected.copy()
    before = int(taken.sum())
    for name in columns:
        gaps = cohort.missing(name) & taken
        if missing == "raise" and gaps.any():
            raise DataError(
                f"column {name!r} has {int(gaps.sum())} missing values at this site: fill them, or use "
                "missing='drop'"
            )
        taken &= ~gaps
    rows = np.flatnonzero(taken)
    return rows, before - len(rows)


def _pooled_moments(run: Analysis, part: _Local) -> dict[str, MeanStd]:
    """Return mean and standard deviation over all sites of each argument of center and scale."""
    arguments = {
        key: values
        for expression in part.expressions
        for key, values in zip(
            expression.pooled, expression.arguments(Inputs(part.rows.numbers, {})), strict=True
        )
    }
    x = np.column_stack(list(arguments.values()))
    opened = run.sum("transform sums", np.vstack([np.full(x.shape[1], float(len(x))), location_sums(x)]))
    count, total, magnitude = opened
    frame = Frame.of(count, total, magnitude)
    found = moments(count, run.sum("transform squares", power_sums(frame.apply(x), 2)), frame)
    pooled = {
        key: MeanStd(float(mean), float(std))
        for key, mean, std in zip(arguments, found.mean, found.std, strict=True)
    }
    for expression in part.expressions:
        for key in expression.pooled:
            if not pooled[key].std > 0:
                raise DataError(
                    f"{expression.text!r}: {key} has the same value in all rows of all sites, or no rows"
                )
    return pooled
