"""Exponentials, logarithms and logistic functions against NumPy: errors, refusals, costs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from engine_helpers import SIZES, compute_alike, secret_of, spent
from numpy.polynomial.chebyshev import chebval
from scipy import special

from protocols import series
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.functions import chebyshev, exp, log, logistic, normal_cdf, normal_quantile

#: Relative or absolute error that is documented, by the number of parties.
ERROR = {3: 1e-9, 4: 1e-9, 5: 2e-9, 7: 1e-8, 10: 3e-8}
UNIT = 36


def shared(engine: Engine, values: Any, bound: float, fraction: int = UNIT) -> Any:
    integers = [round(value * 2**fraction) for value in np.asarray(values).tolist()]
    return secret_of(engine, integers, Format.of(bound, fraction))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bound", [0.5, 4.0, 25.0])
def test_exponentials_and_logistic_functions(n, bound):
    x = np.round(np.linspace(-bound, bound, 41) * 2**UNIT) / 2**UNIT

    def program(engine: Engine) -> Any:
        secret = shared(engine, x, bound)
        return exp(secret).reveal("exp"), logistic(secret).reveal("logistic")

    power, share = compute_alike(n, program)
    np.testing.assert_allclose(power, np.exp(x), rtol=ERROR[n] * max(1, bound / 8))
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-x)), rtol=0, atol=ERROR[n] * max(1, bound / 8))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("bits", "fraction"), [(60, 20), (40, 36), (30, 0), (4, 10)])
def test_logarithms(n, bits, fraction):
    edges = {value for b in range(bits) for value in (2**b - 1, 2**b, 2**b + 1)}
    integers = sorted(value for value in edges if 0 < value < 2**bits)

    def program(engine: Engine) -> Any:
        return log(secret_of(engine, integers, Format(fraction, 2**bits - 1))).reveal("log")

    expected = np.log(np.array(integers, float) * 2.0**-fraction)
    np.testing.assert_allclose(compute_alike(n, program), expected, rtol=0, atol=4 * ERROR[n])


def test_chebyshev_polynomials() -> None:
    z, degree = np.round(np.linspace(-1, 1, 17) * 2**UNIT) / 2**UNIT, 21

    def program(engine: Engine) -> Any:
        secret = shared(engine, z, 1.0)
        cost, found = spent(engine, lambda: chebyshev(secret, degree))
        return cost.rounds, found.reveal("polynomials")

    rounds, found = compute_alike(3, program)
    expected = [chebval(z, np.eye(degree + 1)[k]) for k in range(1, degree + 1)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-9 * degree)
    assert rounds == 5


@pytest.mark.parametrize(("n", "bound"), [(3, 0.25), (3, 6.5), (5, 6.5), (7, 3.0), (7, 6.5)])
def test_the_normal_distribution(n, bound):
    x = np.round(np.linspace(-bound, bound, 101) * 2**UNIT) / 2**UNIT
    found = compute_alike(n, lambda engine: normal_cdf(shared(engine, x, bound)).reveal("cdf"))
    np.testing.assert_allclose(found, special.ndtr(x), rtol=0, atol=2 * ERROR[n])


@pytest.mark.parametrize(
    ("n", "least"), [(3, 2.0**-32), (3, 1e-4), (3, 0.3), (5, 2.0**-32), (7, 1e-6), (10, 2.0**-32)]
)
def test_normal_quantiles(n, least):
    tails = np.geomspace(least, 0.5, 40)
    p = np.concatenate([tails, 1 - tails, [0.5]])
    p = np.clip(np.round(p * 2.0**40) / 2.0**40, least, 1 - least)
    p = np.round(p * 2.0**40) / 2.0**40

    def program(engine: Engine) -> Any:
        return normal_quantile(shared(engine, p, 1, 40), least=least).reveal("quantile")

    np.testing.assert_allclose(compute_alike(n, program), special.ndtri(p), rtol=0, atol=4 * ERROR[n])


@pytest.mark.parametrize(
    ("coefficients", "function"),
    [
        (series.EXP2, lambda z: 2 ** ((z + 1) / 2)),
        (series.LOG, lambda z: np.log((z + 3) / 4)),
        (series.LOG_BEYOND, lambda z: np.log((4 * z + 7) / 8)),
        (series.NORMAL, lambda z: special.ndtr(6.5 * z) - 0.5),
        (series.QUANTILE, lambda z: special.ndtri_exp(np.log(2) * (15.5 * z - 16.5))),
    ],
    ids=["exp2", "log", "log beyond", "normal", "quantile"],
)
def test_constants_are_those_of_the_functions(coefficients, function):
    if coefficients is series.NORMAL:
        coefficients = [c for odd in coefficients for c in (0.0, odd)]
    z = np.cos(np.linspace(0, np.pi, 1001))
    np.testing.assert_allclose(chebval(z, coefficients), function(z), rtol=0, atol=2.0**-33)


def test_shapes_and_coarse_numbers():
    def program(engine: Engine) -> Any:
        x = shared(engine, [0.0, 1.0, -1.0, 2.5], 3, 4).reshape(2, 2)
        return exp(x).reveal("exp"), log(x * x + 1).reveal("log")

    power, logarithm = compute_alike(3, program)
    x = np.array([[0.0, 1.0], [-1.0, 2.5]])
    np.testing.assert_allclose(power, np.exp(x), rtol=1e-9)
    np.testing.assert_allclose(logarithm, np.log(x * x + 1), atol=0.2)


def test_what_is_out_of_range_is_refused():
    def program(engine: Engine) -> Any:
        large, residue = shared(engine, [1.0], 26), secret_of(engine, [1])
        wide = secret_of(engine, [1], Format(0, 1 << engine.room))
        far, coarse, half = shared(engine, [1.0], 7), shared(engine, [0.5], 1, 8), shared(engine, [0.5], 1)
        before = engine.party.mesh.traffic.copy()
        for operation, wrong in (
            (exp, large),
            (exp, residue),
            (logistic, residue),
            (logistic, large),
            (log, residue),
            (log, wide),
            (normal_cdf, residue),
            (normal_cdf, far),
            (partial(normal_quantile, least=0.1), residue),
            (partial(normal_quantile, least=1e-3), coarse),
        ):
            with pytest.raises(PrecisionError):
                operation(wrong)
        for least in (0.0, 0.5, 2.0**-33):
            with pytest.raises(ValueError, match="tail"):
                normal_quantile(half, least=least)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


def test_costs():
    def program(engine: Engine) -> Any:
        x = shared(engine, np.linspace(0.1, 10, 50), 10)
        p = shared(engine, np.linspace(0.1, 0.9, 50), 1)
        calls = [(exp, x), (log, x), (logistic, x), (normal_cdf, x.assume(6.5))]
        calls += [(partial(normal_quantile, least=2.0**-32), p)]
        return [spent(engine, lambda f=f, y=y: f(y))[0].rounds for f, y in calls]

    assert compute_alike(3, program) == [20, 25, 38, 8, 45]
