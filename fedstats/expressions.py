"""Expressions in formulas: what a site may compute from a row without looking at other rows.

A formula's factors are Python expressions, such as ``log(crp)`` or ``I(center(age)**2)``. Here they
are not evaluated as Python: a factor's syntax tree is translated into functions of arrays, and only
elementwise arithmetic is translated. Everything else is refused by name, above all what would be
computed from this site's rows alone, such as ``age - age.mean()`` or ``bs(age)``.

``center(x)`` and ``scale(x)`` need a mean and a standard deviation. They are translated into functions
of the pooled ones, which `fedstats.design` obtains by a secure sum.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.levels import canonical

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation (denominator n − 1) over the rows of all sites."""

    mean: float
    std: float


@dataclass(frozen=True)
class Inputs:
    """What expressions are computed from: columns by name, pooled moments by expression."""

    columns: Mapping[str, Array]
    moments: Mapping[str, MeanStd]


Function: TypeAlias = Callable[[Inputs], Array]

#: Elementwise functions, also under their NumPy names.
ELEMENTWISE: Mapping[str, Callable[[Array], Array]] = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
_OPERATORS: Mapping[type[ast.AST], Callable[..., Array]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_STATEFUL: Mapping[str, str] = {
    "poly": "use I(center(x)**2) and so on",
    "bs": "use I(center(x)**2) and so on",
    "cr": "use I(center(x)**2) and so on",
    "cs": "use I(center(x)**2) and so on",
    "cc": "use I(center(x)**2) and so on",
    "te": "use products of terms",
    "hashed": "use C(x)",
    "lag": "make the lagged column at every site before",
}


@dataclass(frozen=True)
class Contrast:
    """How a factor ``C(...)`` codes its levels.

    Attributes
    ----------
    coding
        ``"treatment"`` or ``"sum"``.
    reference
        The reference level of treatment coding; the first level if None.
    """

    coding: str = "treatment"
    reference: str | None = None


@dataclass
class Expression:
    """One factor of a formula.

    Attributes
    ----------
    text
        As formulaic writes it, which is the name of its terms.
    columns
        Columns it uses, in their order of appearance.
    pooled
        Arguments of ``center`` and ``scale``, by their text.
    contrast
        For ``C(...)``, its coding.
    is_column
        Whether it is a bare column, which may be categorical.
    """

    text: str
    columns: list[str] = field(default_factory=list)
    pooled: dict[str, Function] = field(default_factory=dict)
    contrast: Contrast | None = None
    is_column: bool = False
    _function: Function | None = None

    def __call__(self, inputs: Inputs) -> Array:
        """Evaluate on rows without missing values. Results may be NaN or infinite."""
        if self._function is None:
            raise TypeError(f"{self.text} is categorical and has no values as numbers")
        with np.errstate(all="ignore"):
            return np.asarray(self._function(inputs), dtype=np.float64)

    def arguments(self, inputs: Inputs) -> list[Array]:
        """Evaluate the arguments of ``center`` and ``scale``, for which no moments are needed."""
        with np.errstate(all="ignore"):
            return [np.asarray(function(inputs), dtype=np.float64) for function in self.pooled.values()]


def column(name: str) -> Expression:
    """Return the expression of a bare column."""
    return Expression(name, [name], is_column=True, _function=lambda inputs: inputs.columns[name])


def translate(text: str) -> Expression:
    """Translate a Python expression.

    Parameters
    ----------
    text
        The expression; column names that are no Python names stand in backticks or in ``Q("…")``.

    Raises
    ------
    DataError
        It is no elementwise expression; names the part that is not, and the remedy.
    """
    expression = Expression(text)
    source, aliases = _without_backticks(text)
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError:
        raise DataError(f"formula: {text!r} is no valid expression") from None
    translator = _Translator(expression, aliases)
    match tree:
        case ast.Call(func=ast.Name(id="C")):
            expression.contrast = translator.categorical(tree)
        case _:
            expression._function = translator.function(tree)
    if not expression.columns:
        raise DataError(f"formula: {text!r} uses no column")
    return expression


class _Translator:
    """Translates the syntax tree of one factor, and notes the columns and pooled moments it needs."""

    def __init__(self, expression: Expression, aliases: Mapping[str, str]) -> None:
        self.expression = expression
        self.aliases = aliases
        self.inside_pooled = False

    def function(self, node: ast.expr) -> Function:
        """Return the function of a node, or refuse it."""
        name = self.column_name(node)
        if name is not None:
            self.note(name)
            return lambda inputs: inputs.columns[name]
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return _constant(float(value))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _composed(_OPERATORS[type(op)], self.function(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _composed(_OPERATORS[type(op)], self.function(left), self.function(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                # Not left as truth values, whose sum would be a union.
                return _composed(
                    lambda *operands: np.asarray(_OPERATORS[type(op)](*operands), np.float64),
                    self.function(left),
                    self.function(right),
                )
            case ast.Call(func=func, args=[argument], keywords=[]):
                return self.call(_dotted(func), argument)
            case ast.Call(func=func):
                raise self.refusal(_dotted(func), "takes one argument")
        raise DataError(
            f"formula: {ast.unparse(node)!r} in {self.expression.text!r} is not supported; factors are "
            f"columns, numbers, arithmetic, comparisons and {', '.join(ELEMENTWISE)}, I, C, center, scale"
        )

    def call(self, name: str, argument: ast.expr) -> Function:
        """Return the function of a call with one argument."""
        plain = name.removeprefix("np.")
        if plain in ELEMENTWISE:
            return _composed(ELEMENTWISE[plain], self.function(argument))
        if name == "I":
            return self.function(argument)
        if name == "center":
            key = self.pooled(argument)
            centred = self.expression.pooled[key]
            return lambda inputs: centred(inputs) - inputs.moments[key].mean
        if name in ("scale", "standardize"):
            key = self.pooled(argument)
            scaled = self.expression.pooled[key]
            return lambda inputs: (scaled(inputs) - inputs.moments[key].mean) / inputs.moments[key].std
        if name == "C":
            raise DataError(f"formula: C(…) must stand alone, not within {self.expression.text!r}")
        raise self.refusal(name, "is not supported")

    def pooled(self, argument: ast.expr) -> str:
        """Note that the moments of an expression are needed; return the key they are found under."""
        if self.inside_pooled:
            raise DataError(f"formula: center and scale cannot be nested, as in {self.expression.text!r}")
        self.inside_pooled = True
        before, self.expression.columns = self.expression.columns, []
        function = self.function(argument)
        inside, self.expression.columns = self.expression.columns, before
        self.inside_pooled = False
        if not inside:
            raise DataError(f"formula: {ast.unparse(argument)!r} in {self.expression.text!r} uses no column")
        for name in inside:
            self.note(name)
        # Aliases stand for other columns in other factors, so the key is written with the real names.
        key = re.sub(r"\b_column_\d+_\b", lambda m: f"`{self.aliases[m.group()]}`", ast.unparse(argument))
        self.expression.pooled[key] = function
        return key

    def categorical(self, call: ast.Call) -> Contrast:
        """Return the coding of ``C(column, …)``."""
        name = self.column_name(call.args[0]) if call.args else None
        if name is None or len(call.args) > 2 or call.keywords:
            raise DataError(
                f"formula: write {self.expression.text!r} as C(column), C(column, Treatment('level')) or "
                "C(column, Sum); levels are declared by federation.cohort(…, levels=)"
            )
        self.note(name)
        if len(call.args) == 1:
            return Contrast()
        level: str | None = None
        match call.args[1]:
            case ast.Call(func=func, args=[ast.Constant(value=reference)], keywords=[]):
                coding, level = _dotted(func), canonical(reference)
            case ast.Call(
                func=func,
                args=[],
                keywords=[ast.keyword("reference" | "base", ast.Constant(value=reference))],
            ):
                coding, level = _dotted(func), canonical(reference)
            case ast.Call(func=func, args=[], keywords=[]) | func:
                coding = _dotted(func)
        if coding in ("Treatment", "contr.treatment"):
            return Contrast("treatment", level)
        if coding in ("Sum", "contr.sum") and level is None:
            return Contrast("sum")
        raise DataError(
            f"formula: the contrast in {self.expression.text!r} is not supported; use Treatment or Sum"
        )

    def column_name(self, node: ast.expr) -> str | None:
        """Return the column that a node names, if it names one: x, a.b, a backticked name or Q("x")."""
        match node:
            case ast.Name(id=name):
                return self.aliases.get(name, name)
            case ast.Attribute():
                return _dotted(node) or None
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str() as name)], keywords=[]):
                return name
        return None

    def note(self, name: str) -> None:
        if name not in self.expression.columns:
            self.expression.columns.append(name)

    def refusal(self, name: str, why: str) -> DataError:
        where = f"formula: {name or 'a call'}(…) in {self.expression.text!r}"
        if name in _STATEFUL:
            return DataError(f"{where} would be computed from each site's rows alone: {_STATEFUL[name]}")
        if "." in name and not name.startswith("np."):
            return DataError(
                f"{where} would be computed from each site's rows alone: use center(x) or scale(x), which "
                "use the rows of all sites"
            )
        return DataError(f"{where} {why}; functions are {', '.join(ELEMENTWISE)}, I, C, center, scale")


def _constant(value: float) -> Function:
    array = np.array(value)
    return lambda _: array


def _composed(function: Callable[..., Array], *arguments: Function) -> Function:
    return lambda inputs: function(*(argument(inputs) for argument in arguments))


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for such a node, and "" for any other."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            inner = _dotted(value)
            return f"{inner}.{attribute}" if inner else ""
    return ""


def _without_backticks(text: str) -> tuple[str, dict[str, str]]:
    """Replace each backticked column by a Python name; return the text and what the names stand for."""
    aliases: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        name = f"_column_{len(aliases)}_"
        aliases[name] = match.group(1)
        return name

    return re.sub(r"`([^`]*)`|'[^']*'|\"[^\"]*\"", replace, text), aliases
