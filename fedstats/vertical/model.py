"""Models of linked columns: which site codes which term, and the terms of all patients, on shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from formulaic.formula import SimpleFormula
from formulaic.parser.types import Term
from numpy.typing import NDArray

from fedstats import formula as formulas
from fedstats import levels as level_sets
from fedstats.errors import DataError
from fedstats.expressions import Array, Expression, Inputs
from fedstats.formula import INTERCEPT, Coding, ModelFormula, Rows, is_categorical, used_as
from fedstats.schema import Kind
from fedstats.vertical import halves, joined
from fedstats.vertical.joined import LARGEST, PUBLISHED, Group, Variables
from protocols.secret import SecretArray, concatenate, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

#: Name of the response's group.
RESPONSE = "response ~"
__all__ = ["PUBLISHED", "Model", "Terms", "agree_model", "gram", "terms_on_shares"]


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A formula over linked columns, agreed on.

    Attributes
    ----------
    formula
        As parsed.
    names
        Of the terms, the intercept first; without a response, of the terms but the intercept.
    variables
        The terms but the intercept, in the order of `names`, and the response, if there is one, at the end.
    coding
        How rows are coded where a site has all columns; for predictions.
    """

    formula: ModelFormula
    names: tuple[str, ...]
    variables: Variables
    coding: Coding

    @property
    def response_name(self) -> str:
        """The response, as the formula has it."""
        return self.variables.names[-1]

    @property
    def unframing(self) -> Array:
        """The matrix that takes coefficients in the frame to those of the columns, but for the units."""
        frame = self.variables.frame
        matrix = np.eye(len(self.names))
        matrix[0, 1:] = -(frame.centre / frame.unit)[:-1]
        return matrix

    def hint(self, name: str) -> str:
        """Return which levels may be of no patient that counts, if a term is a combination of others.

        A level that a site tells of may be of patients only whom other sites do not have, or of whom they
        miss a value. Whether it is, nobody learns.
        """
        text, place = self._place(name)
        of_term = [str(factor) for term in self.formula.terms if str(term) == text for factor in term.factors]
        factors = [self.formula.factors[its] for its in of_term if its in self.formula.factors]
        columns = [its.columns[0] for its in factors if is_categorical(its, self.coding.kinds)]
        if not columns:
            return ""
        site = self.variables.owners[self.variables.groups[text][0]]
        which = f"one of the combinations of levels of {' and '.join(map(repr, columns))}"
        if len(factors) == 1:
            which = self._levels(factors[0], place, len(self.variables.groups[text]))
        return (
            f"; or, if it is one as no linked patient that counts has {which}, let site {site} merge that "
            "level with another in its table, or leave out the rows that have it"
        )

    def _levels(self, factor: Expression, place: int, width: int) -> str:
        """Return the levels whose absence makes an indicator a combination of those before it."""
        levels = list(self.variables.levels[factor.columns[0]])
        contrast = factor.contrast
        if len(levels) != width + 1 or (contrast is not None and contrast.coding != "treatment"):
            return f"one of the levels {', '.join(map(repr, levels))} of {factor.columns[0]!r}"
        reference = levels[0] if contrast is None or contrast.reference is None else contrast.reference
        its = [level for level in levels if level != reference][place]
        last = f"the reference level {reference!r} or " if place == width - 1 else ""
        return f"{last}the level {its!r} of {factor.columns[0]!r}"

    def _place(self, name: str) -> tuple[str, int]:
        """Return the term that has a variable, and which of its variables it is."""
        at = self.variables.names.index(name) if name in self.variables.names else -1
        for text, places in self.variables.groups.items():
            if at in places:
                return text, places.index(at)
        return "", 0

    @property
    def units(self) -> Array:
        """The units of the terms, 1 of the intercept."""
        return np.concatenate([[1.0], self.variables.frame.unit[:-1]])


def agree_model(
    run: Analysis,
    cohort: VerticalCohort,
    formula: str,
    call: str,
    check_response: Callable[[Array], None] | None = None,
    *,
    frame_response: bool = True,
    needs_response: bool = True,
    check: Callable[[], object] = lambda: None,
) -> Model:
    """Agree with the other sites on a model, each of whose terms is of columns of one site.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    cohort
        The linked columns.
    formula
        ``"response ~ terms"``, with an intercept; or ``"terms"``, which takes none.
    call
        Every option that all sites must give alike, as text.
    check_response
        Checks the response at the site that has it. May raise DataError.
    frame_response
        Whether the response is measured in a unit.
    needs_response
        Whether the formula must have a response, or must have none.
    check
        Checks whatever else the analysis needs of this site. May raise DataError.

    Raises
    ------
    DataError
        The formula cannot be used; says why and what to do.
    RemoteError
        The same at another site.
    """
    parsed: list[ModelFormula] = []
    coded: list[_Coded] = []

    def check_all() -> list[str]:
        model = formulas.parse(formula)
        if needs_response and model.response is None:
            raise DataError(f"formula {formula!r} has no response: write response ~ terms")
        if not needs_response and model.response is not None:
            raise DataError(f"formula {formula!r} must have no response: write the terms alone")
        if any(expression.pooled for expression in model.expressions):
            raise DataError(f"formula {formula!r}: center and scale are not there for linked columns")
        for name in model.columns:
            if cohort.schema.require(name) is Kind.EMPTY:
                raise DataError(f"column {name!r} has no value: leave it out of {formula!r}")
        response = model.response
        if response and (response.contrast is not None or is_categorical(response, cohort.schema.kinds)):
            raise DataError(f"the response {response.text!r} is categorical, a number is needed")
        terms = [str(term) for term in model.terms]
        if "1" not in terms:
            raise DataError(f"formula {formula!r} has no intercept, which models of linked columns need")
        if not needs_response and len(terms) == 1:
            raise DataError(f"formula {formula!r} has no covariates")
        for term in model.terms:
            if str(term) != "1":
                _owner(cohort, model, term)
        if response:
            _owner_of(cohort, response.columns, response.text)
        check()
        parsed.append(model)
        return [*(term for term in terms if term != "1"), *([RESPONSE] if response else [])]

    def owner(name: str) -> str:
        [model] = parsed
        if name == RESPONSE:
            response = cast(Expression, model.response)
            return _owner_of(cohort, response.columns, response.text)
        return _owner(cohort, model, next(term for term in model.terms if str(term) == name))

    def part(name: str) -> Group:
        [model] = parsed
        if name == RESPONSE:
            return _response(cohort, model, check_response, in_units=frame_response)
        if not coded:
            coded.append(_code(cohort, model))
        return coded[0].group(name)

    variables = joined.agree(run, f"{formula!r}, {call}", check_all, owner, part)
    [model] = parsed
    names = (INTERCEPT, *variables.names[:-1]) if needs_response else variables.names
    return Model(model, names, variables, Coding(model, cohort.schema.kinds, variables.levels, {}))


def _owner(cohort: VerticalCohort, model: ModelFormula, term: Term) -> str:
    return _owner_of(cohort, _columns(model, term), str(term))


def _owner_of(cohort: VerticalCohort, columns: list[str], text: str) -> str:
    owners = sorted({cohort.owners[name] for name in columns})
    if len(owners) != 1:
        raise DataError(
            f"term {text!r} is of columns of sites {', '.join(owners)}: linked terms are of one site each"
            if owners
            else f"{text!r} is of no column"
        )
    return owners[0]


def _complete(
    cohort: VerticalCohort, model: ModelFormula, columns: list[str]
) -> tuple[Rows, NDArray[np.intp]]:
    """Return this site's rows without missing values of some columns, and their positions."""
    numbers, texts = used_as(model, cohort.schema.kinds)
    values = {name: cohort.numbers(name) for name in columns if name in numbers}
    levels = {name: cohort.texts(name) for name in columns if name in texts}
    there = np.ones(len(cohort), np.bool_)
    for its in values.values():
        there &= ~np.isnan(its)
    for texts_ in levels.values():
        there &= np.array([text is not None for text in texts_], np.bool_)
    where = np.flatnonzero(there)
    rows = Rows(
        len(where),
        {name: its[where] for name, its in values.items()},
        {name: its[where] for name, its in levels.items()},
    )
    return rows, where


def _response(
    cohort: VerticalCohort,
    model: ModelFormula,
    check: Callable[[Array], None] | None,
    *,
    in_units: bool,
) -> Group:
    response = cast(Expression, model.response)
    rows, where = _complete(cohort, model, response.columns)
    y = np.full((len(cohort), 1), np.nan)
    y[where, 0] = response(Inputs(rows.numbers, {}))
    _check_finite(y[where], response.text)
    if check is not None:
        check(y[where, 0])
    return Group([response.text], y, in_units=in_units)


@dataclass(frozen=True, eq=False, repr=False)
class _Coded:
    """This site's terms of a model: a row for each of its patients, NaN where a column is missing."""

    matrix: Array
    names: tuple[str, ...]
    terms: Mapping[str, slice]
    levels: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, list[str]]

    def group(self, term: str) -> Group:
        where = self.terms[term]
        levels = {name: self.levels[name] for name in self.columns[term] if name in self.levels}
        return Group(list(self.names[where]), self.matrix[:, where], levels)


def _code(cohort: VerticalCohort, model: ModelFormula) -> _Coded:
    """Code the terms of this site; those of others do not change how, as there is an intercept."""
    site, kinds = cohort.federation.site, cohort.schema.kinds
    mine = [term for term in model.terms if str(term) != "1" and _owner(cohort, model, term) == site]
    columns = {str(term): _columns(model, term) for term in mine}
    factors = {str(factor) for term in mine for factor in term.factors}
    own = replace(
        model,
        response=None,
        factors={text: its for text, its in model.factors.items() if text in factors},
        terms=SimpleFormula([*(one for one in model.terms if str(one) == "1"), *mine], _ordering="none"),
    )
    rows, where = _complete(cohort, own, own.columns)
    levels: dict[str, tuple[str, ...]] = {}
    for name, texts in rows.texts.items():
        found = level_sets.used(texts.tolist(), kinds[name])
        level_sets.check_tellable(name, found, rows.count, kinds[name])
        if len(found) < 2:
            raise DataError(f"column {name!r} has {len(found)} level: leave it out of {model.text!r}")
        order = cohort.categories(name)
        levels[name] = tuple(found if order is None else [its for its in order if its in found])
    coding = Coding(own, kinds, levels, {})
    coded, names = coding.matrix(rows)
    _check_finite(coded, model.text)
    matrix = np.full((len(cohort), len(names)), np.nan)
    matrix[where] = coded
    return _Coded(matrix, names, coding.terms(), levels, columns)


def _columns(model: ModelFormula, term: Term) -> list[str]:
    """Return the columns of a term."""
    factors = [str(factor) for factor in term.factors]
    return [name for text in factors if text in model.factors for name in model.factors[text].columns]


def _check_finite(values: Array, text: str) -> None:
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"{text!r} is not finite in {bad} rows of this site that have no missing value: correct these "
            "rows, set them to missing, or change the term"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Terms:
    """The model matrix and the response of patients that count, 0 for others.

    Attributes
    ----------
    Z
        Shape ``(terms, patients of the list)``: the intercept first, which is 1 for patients that count.
    y
        Shape ``(patients,)``.
    member
        Which patients count, whole numbers 0 and 1.
    """

    Z: SecretArray
    y: SecretArray
    member: SecretArray


def terms_on_shares(
    engine: Engine, cohort: VerticalCohort, model: Model, among: NDArray[np.bool_] | None = None
) -> Terms:
    """Bring the terms and the response onto shares; for `among` see `joined.counting`.

    **Cost.** Four rounds for three parties, two with tables.
    """
    fraction = joined.fraction_of_products(engine, cohort)
    variables = model.variables
    values = joined.spread(engine, cohort, variables, bound=LARGEST, fraction=fraction)
    member = joined.counting(engine, cohort, variables, [range(len(variables.names))], among)
    kept = joined.masked(values, member)
    return Terms(with_intercept(member, kept[:-1]), kept[-1], member[0])


def with_intercept(member: SecretArray, kept: SecretArray) -> SecretArray:
    """Return the model matrix: the intercept, which is 1 for patients that count, and the other terms."""
    return concatenate([member.rescale(kept.format.fraction).assume(LARGEST), kept])


def gram(engine: Engine, cohort: VerticalCohort, model: Model) -> tuple[SecretArray, SecretArray]:
    """Return the matrix of products of the terms and the response, and how many patients count.

    **Cost.** Five rounds for three parties, two with tables; six for two parties, see `halves.gram`.
    """
    if halves.are_there(engine, cohort):
        return halves.gram(engine, cohort, model.variables)
    terms = terms_on_shares(engine, cohort, model)
    return products_of(terms), terms.member.sum()


def products_of(terms: Terms) -> SecretArray:
    """Return the matrix of products of the terms and the response, summed over patients. One round."""
    columns = concatenate([terms.Z, stack([terms.y])])
    return joined.products(columns, columns)
