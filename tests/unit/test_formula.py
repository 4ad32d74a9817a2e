from __future__ import annotations

import numpy as np
import pytest

from fedstats.errors import DataError
from fedstats.expressions import Contrast, Inputs, MeanStd, translate
from fedstats.formula import Coding, Rows, parse
from fedstats.schema import Kind

X = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("log(x)", np.log(X)),
        ("np.log10(x)", np.log10(X)),
        ("I(x**2 - 3*x/2 + -1)", X**2 - 1.5 * X - 1),
        ("expm1(log1p(x))", X),
        ("abs(x - 3)", np.abs(X - 3)),
        ("x > 1", [0, 1, 1]),
        ("(x > 1) + (x >= 4)", [0, 1, 2]),
        ("1 != x", [0, 1, 1]),
        ("center(x)", X - 2.0),
        ("scale(x) * 2", (X - 2.0)),
        ("standardize(x)", (X - 2.0) / 2),
        ("log(`my x`)", np.log(X)),
        ('Q("my x") + 0', X),
        ("a.b + 1", X + 1),
        ("center(`my x`)", X - 3.0),
    ],
)
def test_values_of_expressions(text: str, value: object) -> None:
    moments = {"x": MeanStd(2.0, 2.0), "`my x`": MeanStd(3.0, 1.0)}
    inputs = Inputs({"x": X, "my x": X, "a.b": X}, moments)
    np.testing.assert_allclose(translate(text)(inputs), value)


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("C(s)", Contrast()),
        ("C(s, Treatment)", Contrast()),
        ("C(s, Treatment('b'))", Contrast("treatment", "b")),
        ("C(s, Treatment(reference=2))", Contrast("treatment", "2")),
        ("C(s, contr.treatment(base='b'))", Contrast("treatment", "b")),
        ("C(s, Sum)", Contrast("sum")),
        ("C(`my s`, contr.sum())", Contrast("sum")),
    ],
)
def test_contrasts(text: str, contrast: Contrast) -> None:
    assert translate(text).contrast == contrast


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poly(x, 2)", "poly.* would be computed from each site's rows alone: use I"),
        ("bs(x, df=4)", "bs.* each site's rows alone"),
        ("cr(x)", "each site's rows alone"),
        ("lag(x)", "make the lagged column"),
        ("hashed(x)", "use C"),
        ("x - x.mean()", r"x\.mean.* each site's rows alone: use center"),
        ("I(x / np.std(x))", "np.std"),
        ("x[0]", "not supported"),
        ("x[::-1]", "not supported"),
        ("foo(x)", "functions are log"),
        ("__import__('os')", "not supported"),
        ("().__class__", "not supported"),
        ("(lambda: x)()", "a call"),
        ("[y for y in x]", "not supported"),
        ("x if x else x", "not supported"),
        ("x and x", "not supported"),
        ("1 < x < 2", "not supported"),
        ("x == 'a'", "not supported"),
        ("True + x", "not supported"),
        ("f'{x}'", "not supported"),
        ("(x := 3)", "not supported"),
        ("log(x, 2)", "takes one argument"),
        ("center(x, ddof=0)", "takes one argument"),
        ("center(scale(x))", "cannot be nested"),
        ("center(3)", "uses no column"),
        ("I(3)", "uses no column"),
        ("log(C(x))", "must stand alone"),
        ("C(log(x))", r"C\(column\)"),
        ("C(x, levels=['a'])", "levels are declared"),
        ("C(x, Poly)", "use Treatment or Sum"),
        ("C(x, Sum('a'))", "use Treatment or Sum"),
        ("x +", "no valid expression"),
    ],
)
def test_what_is_not_elementwise_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        translate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y ~ a | b", "several parts"),
        ("y + z ~ a", "several responses"),
        ("y:z ~ a", "several responses"),
        ("y ~ 0 + Intercept + a", "the name of the constant; rename the column"),
        ("y ~ 0 + `1` + a", "the column '1' reads as a number; rename it"),
        ("y ~ (a", "cannot be parsed"),
        ("y ~ a + 'x'", "String literals"),
        ("y ~ .", "cannot be parsed"),
        ("1 ~ a", "uses no column"),
        ("y ~ poly(a, 2)", "poly"),
        (3, "a formula is text"),
    ],
)
def test_formulas_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse(text)
    assert "\x1b" not in str(caught.value)


def coded(text: str, kinds: dict[str, Kind] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    formula = parse(text)
    kinds = kinds or {"s": Kind.CATEGORICAL, "x": Kind.FLOAT}
    coding = Coding(formula, kinds, {"s": ("b", "a", "never"), "x": ("1", "2", "4")}, {})
    texts = {"s": np.array(["a", "b", "a"], object), "x": np.array(["1", "2", "4"], object)}
    return coding.matrix(Rows(3, {"x": X}, texts))


def test_coding_with_levels_that_these_rows_lack() -> None:
    matrix, names = coded("s * x")
    assert names == ("Intercept", "s[T.a]", "s[T.never]", "x", "s[T.a]:x", "s[T.never]:x")
    np.testing.assert_array_equal(matrix[:, 1], [1, 0, 1])
    np.testing.assert_array_equal(matrix[:, 2], 0)
    np.testing.assert_array_equal(matrix[:, 4], [1, 0, 4])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x + C(s)", ("Intercept", "x", "C(s)[T.a]", "C(s)[T.never]")),
        ("0 + s", ("s[b]", "s[a]", "s[never]")),
        ("s - 1 + x:s", ("s[b]", "s[a]", "s[never]", "x:s[b]", "x:s[a]", "x:s[never]")),
        ("C(s, Treatment('a'))", ("Intercept", "C(s, Treatment('a'))[T.b]", "C(s, Treatment('a'))[T.never]")),
        ("C(s, Sum)", ("Intercept", "C(s, Sum)[S.b]", "C(s, Sum)[S.a]")),
        ("x + C(x)", ("Intercept", "x", "C(x)[T.2]", "C(x)[T.4]")),
        ("", ("Intercept",)),
        ("log(x) + I(x ** 2)", ("Intercept", "log(x)", "I(x ** 2)")),
    ],
)
def test_names_of_terms(text: str, names: tuple[str, ...]) -> None:
    found = coded(text)[1]
    assert found == names


@pytest.mark.parametrize(
    "text", ["x + z", "z*x + I(x**2)", "0 + x:z + log(x):x:`my z`", "x + 3:z", "center(x) + z:1", "0", ""]
)
def test_products_of_numbers_are_what_formulaic_makes_of_them(text: str) -> None:
    kinds = dict.fromkeys(("x", "z", "my z"), Kind.FLOAT)
    coding = Coding(parse(text), kinds, {}, {"x": MeanStd(2.0, 2.0)})
    rows = Rows(3, {"x": X, "z": 1.5 - X, "my z": X**3}, {})
    matrix, names = coding.matrix(rows)
    expected = coding._coded(rows)
    assert names == tuple(expected.columns)
    np.testing.assert_array_equal(matrix, expected)


def test_coding_of_no_rows() -> None:
    coding = Coding(parse("x + s"), {"s": Kind.CATEGORICAL, "x": Kind.FLOAT}, {"s": ("a", "b")}, {})
    matrix, names = coding.matrix(Rows(0, {"x": np.zeros(0)}, {"s": np.zeros(0, object)}))
    assert matrix.shape == (0, 3)
    assert names == ("Intercept", "x", "s[T.b]")
