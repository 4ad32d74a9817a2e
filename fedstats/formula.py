"""Model formulas: parsed by formulaic, coded with levels and moments on which all sites agreed.

formulaic parses the formula into terms and expands products, and codes the terms with the rank that
the structure of the formula allows. It never evaluates a factor: that is done by
`fedstats.expressions`, which knows only what is the same at every site.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import FormulaicError
from formulaic.formula import SimpleFormula, StructuredFormula
from formulaic.materializers import PandasMaterializer
from formulaic.parser.types import Factor, Term
from formulaic.transforms.contrasts import C, Contrasts, SumContrasts, TreatmentContrasts
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.expressions import Array, Expression, Inputs, MeanStd, column, translate
from fedstats.schema import Kind

INTERCEPT = "Intercept"


@dataclass(frozen=True)
class ModelFormula:
    """A formula without data.

    Attributes
    ----------
    text
        As it was written.
    response
        Left of ``~``, if the formula has that.
    factors
        The expressions to its right, by their text.
    terms
        formulaic's terms over these factors: the intercept first, then by order of interaction,
        then as written.
    """

    text: str
    response: Expression | None
    factors: Mapping[str, Expression]
    terms: SimpleFormula

    @property
    def expressions(self) -> list[Expression]:
        """The response, if there is one, and the factors."""
        return [*([self.response] if self.response else []), *self.factors.values()]

    @property
    def columns(self) -> list[str]:
        """Every column that is used, in the order of its appearance."""
        return list(dict.fromkeys(name for e in self.expressions for name in e.columns))


def parse(text: str) -> ModelFormula:
    """Parse a formula such as ``"sbp ~ age + C(arm)"``, or ``"age + pc1"`` without response.

    Raises
    ------
    DataError
        The formula cannot be parsed, has several responses or parts, or a term that bears the name of
        the intercept or reads as a number; or a factor is refused by `fedstats.expressions.translate`.
    """
    if not isinstance(text, str):
        raise DataError(f"a formula is text, such as 'sbp ~ age + C(arm)', not {type(text).__name__}")
    try:
        formula = Formula(text)
    except (FormulaicError, SyntaxError) as error:
        # formulaic underlines the place with control characters of terminals.
        reason = re.sub(r"\x1b\[[0-9;]*m|⧛\[[0-9;]*m|⧚", "", str(error)).split("\n")[0].split(". ")[0]
        raise DataError(f"formula {text!r} cannot be parsed: {reason}") from None
    left: Sequence[Term] = ()
    right = formula
    if isinstance(formula, StructuredFormula):
        if set(formula._to_dict()) != {"lhs", "rhs"}:
            raise DataError(f"formula {text!r} has several parts; write one response ~ terms")
        left, right = formula.lhs, formula.rhs
    if not isinstance(right, SimpleFormula):
        raise DataError(f"formula {text!r} has several parts; write one response ~ terms")
    if left and (len(left) > 1 or len(left[0].factors) > 1):
        raise DataError(f"formula {text!r} has several responses; I(a + b) makes one of two columns")
    factors: dict[str, Expression] = {}
    terms = [Term([_as_lookup(factor, factors) for factor in term.factors]) for term in right]
    if INTERCEPT in factors:
        raise DataError(f"formula {text!r}: {INTERCEPT!r} is the name of the constant; rename the column")
    for name in factors:
        if re.fullmatch(r"\d+(\.\d*)?|\.\d+", name):
            raise DataError(f"formula {text!r}: the column {name!r} reads as a number; rename it")
    response = _expression(left[0].factors[0]) if left else None
    return ModelFormula(text, response, factors, SimpleFormula(terms, _ordering="none"))


def _as_lookup(factor: Factor, factors: dict[str, Expression]) -> Factor:
    """Note a factor's expression, and return the factor as one whose values are looked up."""
    if factor.eval_method is Factor.EvalMethod.LITERAL:
        return factor
    factors.setdefault(factor.expr, _expression(factor))
    return Factor(factor.expr, eval_method=Factor.EvalMethod.LOOKUP)


def _expression(factor: Factor) -> Expression:
    if factor.eval_method is Factor.EvalMethod.LOOKUP:
        return column(factor.expr)
    return translate(factor.expr)


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Rows without missing values, by column.

    Attributes
    ----------
    count
        How many.
    numbers
        Columns that are used in arithmetic.
    texts
        Columns that are used as categories, as levels.
    """

    count: int
    numbers: Mapping[str, Array]
    texts: Mapping[str, NDArray[np.object_]]


@dataclass(frozen=True)
class Coding:
    """All that is needed to code rows as numbers: the same at every site, and no row of any.

    Attributes
    ----------
    formula
        What is coded.
    kinds
        Agreed kind of each column.
    levels
        Agreed levels of each categorical column.
    moments
        Pooled moments of the arguments of ``center`` and ``scale``.
    """

    formula: ModelFormula
    kinds: Mapping[str, Kind]
    levels: Mapping[str, tuple[str, ...]]
    moments: Mapping[str, MeanStd]

    def matrix(self, rows: Rows) -> tuple[Array, tuple[str, ...]]:
        """Return the model matrix and the names of its columns.

        Parameters
        ----------
        rows
            Rows without missing values, whose texts are among the levels.

        Returns
        -------
        X : ndarray
            Shape ``(rows, terms)``, float64.
        names : tuple of str
            As formulaic and patsy name them: ``"Intercept"``, ``"age"``, ``"C(arm)[T.b]"``.
        """
        products = self._products(rows)
        if products:
            return np.stack(list(products.values()), axis=1), tuple(products)
        matrix = self._coded(rows)
        names = tuple(map(str, matrix.columns))
        return np.ascontiguousarray(matrix.to_numpy(dtype=np.float64)), names

    def _products(self, rows: Rows) -> dict[str, Array]:
        """Return the model matrix by columns, if its terms are products of numbers; else none.

        That is what formulaic would return for them, but without its passing over the rows again and again.
        """
        if any(is_categorical(factor, self.kinds) for factor in self.formula.factors.values()):
            return {}
        inputs = Inputs(rows.numbers, self.moments)
        values = {text: factor(inputs) for text, factor in self.formula.factors.items()}
        products = {}
        for term in self.formula.terms:
            names = [factor.expr for factor in term.factors]
            if names == ["1"]:
                products[INTERCEPT] = np.ones(rows.count)
            elif values.keys() >= set(names):
                products[":".join(names)] = reduce(operator.mul, (values[name] for name in names))
            else:  # a number as a factor
                return {}
        return products

    def terms(self) -> dict[str, slice]:
        """Return which columns of the model matrix each term has, the intercept's first."""
        none = Rows(
            0,
            {name: np.zeros(0) for name in self.kinds},
            {name: np.zeros(0, object) for name in self.levels},
        )
        slices = self._coded(none).model_spec.term_slices
        return {INTERCEPT if str(term) == "1" else str(term): its for term, its in slices.items()}

    def width(self) -> int:
        """Return how many columns the model matrix has, also before the moments are known."""
        any_moments = {key: MeanStd(0.0, 1.0) for its in self.formula.expressions for key in its.pooled}
        slices = replace(self, moments=any_moments).terms().values()
        return max((its.stop for its in slices), default=0)

    def _coded(self, rows: Rows) -> Any:
        """Return formulaic's model matrix."""
        inputs = Inputs(rows.numbers, self.moments)
        values = {
            text: self._categories(e, rows.texts[e.columns[0]])
            if is_categorical(e, self.kinds)
            else e(inputs)
            for text, e in self.formula.factors.items()
        }
        # Without any column of its own, the data frame gives nothing but the number of rows.
        materializer = PandasMaterializer(pd.DataFrame(index=range(rows.count)), context=values)
        return materializer.get_model_matrix(self.formula.terms, output="pandas", na_action="ignore")

    def response(self, rows: Rows) -> Array | None:
        """Return the response, if the formula has one; a category as its position among its levels."""
        if self.formula.response is None:
            return None
        if self.formula.response.contrast is not None:
            name = self.formula.response.columns[0]
            return np.asarray(pd.Categorical(rows.texts[name], self.levels[name]).codes, dtype=np.float64)
        return self.formula.response(Inputs(rows.numbers, self.moments))

    def _categories(self, expression: Expression, texts: NDArray[Any]) -> Any:
        """Return a categorical factor as formulaic takes it: its values and how to code them."""
        contrast = expression.contrast
        coding: Contrasts
        if contrast is not None and contrast.coding == "sum":
            coding = SumContrasts()
        elif contrast is not None and contrast.reference is not None:
            coding = TreatmentContrasts(base=contrast.reference)
        else:
            coding = TreatmentContrasts()
        return C(pd.Series(pd.Categorical(texts, categories=self.levels[expression.columns[0]])), coding)


def used_as(formula: ModelFormula, kinds: Mapping[str, Kind]) -> tuple[list[str], list[str]]:
    """Return the columns that are used in arithmetic, and those that are used as categories."""
    numbers: dict[str, None] = {}
    categories: dict[str, None] = {}
    for expression in formula.expressions:
        (categories if is_categorical(expression, kinds) else numbers).update(
            dict.fromkeys(expression.columns)
        )
    return list(numbers), list(categories)


def is_categorical(expression: Expression, kinds: Mapping[str, Kind]) -> bool:
    """Tell whether a factor has levels: ``C(x)``, or a bare column that is categorical."""
    return expression.contrast is not None or (
        expression.is_column and kinds[expression.columns[0]] is Kind.CATEGORICAL
    )
