"""Quotients, roots, elementary functions and matrices beside MPyC's, on the same numbers.

What MPyC lacks is made of what it has: exponentials and the normal distribution by their power series,
logarithms by that of the inverse hyperbolic tangent, matrices by their minors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, secret_of

from protocols.cholesky import cholesky
from protocols.divide import divide, reciprocal, sqrt
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.functions import exp, log, logistic, normal_cdf, normal_quantile
from protocols.linalg import inverse, solve
from protocols.reveal import reveal

pytest.importorskip("mpyc.runtime")

MPYC_PROGRAM = """
import json, math, sys
import numpy as np
from mpyc.runtime import mpc
from mpyc.statistics import _fsqrt

fixed, given = mpc.SecFxp(88, 44), json.loads(sys.stdin.read())
whole_number = mpc.SecInt(48)
matrix = [[whole_number(x) for x in row] for row in given["matrix"]]

def series(x, coefficients):
    total = fixed.array(np.full(x.shape, coefficients[-1]))
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total

def exponential(x):
    return series(x, [1 / math.factorial(k) for k in range(13)])

def logarithm(x):
    u = (x - 1) / (x + 1)
    return 2 * u * series(u * u, [1 / (2 * k + 1) for k in range(10)])

def normal(x):
    terms = [(-1) ** k / (math.factorial(k) * 2 ** k * (2 * k + 1)) for k in range(10)]
    return 0.5 + x * series(x * x, terms) * (1 / math.sqrt(2 * math.pi))

def determinant(rows):
    if not rows:
        return whole_number(1)
    parts = [determinant([row[:j] + row[j + 1:] for row in rows[1:]]) * x for j, x in enumerate(rows[0])]
    return mpc.sum(parts[::2]) - mpc.sum([whole_number(0), *parts[1::2]])

async def minor(rows, columns):
    return int(await mpc.output(determinant([[matrix[i][j] for j in columns] for i in rows])))

async def main():
    async with mpc:
        a, b = (fixed.array(np.array(row)) for row in given["numbers"])
        found = {
            "quotient": a / b,
            "reciprocal": 1 / b,
            "exp": exponential(a),
            "logistic": 1 / (1 + exponential(-a)),
            "log": logarithm(b),
            "normal": normal(a),
        }
        numbers = {name: (await mpc.output(values)).tolist() for name, values in found.items()}
        numbers["root"] = [float(x) for x in await mpc.output([_fsqrt(x) for x in mpc.np_tolist(b)])]
        all_of_it = list(range(len(matrix)))
        def without(i):
            return all_of_it[:i] + all_of_it[i + 1:]
        whole = await minor(all_of_it, all_of_it)
        cofactors = [[await minor(without(i), without(j)) for j in all_of_it] for i in all_of_it]
        leading = [[await minor([*range(j), i], [*range(j + 1)]) for j in range(i + 1)] for i in all_of_it]
        print(json.dumps([numbers, whole, cofactors, leading]))

mpc.run(main())
"""

UNIT = 30


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    rng = np.random.default_rng(8)
    numbers = np.round(np.stack([rng.uniform(-1, 1, 6), rng.uniform(0.5, 2, 6)]) * 2.0**UNIT) / 2.0**UNIT
    rows = rng.integers(-9, 10, (9, 3))
    return {"numbers": numbers.tolist(), "matrix": (rows.T @ rows).tolist()}


@pytest.fixture(scope="module")
def theirs(given) -> Any:
    command = [sys.executable, "-W", "ignore", "-c", MPYC_PROGRAM, "--no-log"]
    answer = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def test_numbers_agree_with_mpyc(given, theirs):
    def program(engine: Engine) -> Any:
        a, b = (
            secret_of(engine, [round(x * 2**UNIT) for x in row], Format.of(4, UNIT))
            for row in given["numbers"]
        )
        a, cdf = a.assume(2), normal_cdf(a.assume(1))
        found = {
            "quotient": divide(a, b, bound=8, fraction=36),
            "reciprocal": reciprocal(b),
            "root": sqrt(b),
            "exp": exp(a),
            "logistic": logistic(a),
            "log": log(b),
            "normal": cdf,
            "back": normal_quantile(cdf, least=0.1),
        }
        return reveal(engine, found)

    ours, (numbers, *_) = compute(3, program)["a"], theirs
    for name, values in numbers.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-9, atol=2e-9, err_msg=name)
    np.testing.assert_allclose(ours["back"], given["numbers"][0], rtol=0, atol=1e-8)


def test_matrices_agree_with_mpyc(given, theirs):
    matrix = np.array(given["matrix"])
    bound = int(np.max(np.abs(matrix)))

    def program(engine: Engine) -> Any:
        a = secret_of(engine, matrix, Format(0, bound))
        right = a[:, 0] + a[:, 1] * 2
        found = {
            "inverse": inverse(a, bound=1, fraction=50),
            "definite": inverse(a, bound=1, fraction=50, definite=True),
            "solution": solve(a, right.assume(4 * bound), bound=4, fraction=50),
            "cholesky": cholesky(a, least=1.0, fraction=24),
        }
        return reveal(engine, found)

    ours, (_, whole, cofactors, leading) = compute(3, program)["a"], theirs
    exact = [[(-1) ** (i + j) * x / whole for j, x in enumerate(row)] for i, row in enumerate(cofactors)]
    for name in ("inverse", "definite"):
        np.testing.assert_allclose(ours[name], exact, rtol=1e-9, atol=1e-12)  # it is symmetric
    np.testing.assert_allclose(ours["solution"], [1, 2, 0], rtol=0, atol=1e-8)
    minors = [1] + [row[-1] for row in leading]
    for i, row in enumerate(leading):
        expected = [x / np.sqrt(float(minors[j] * minors[j + 1])) for j, x in enumerate(row)]
        np.testing.assert_allclose(ours["cholesky"][i, : i + 1], expected, rtol=0, atol=4e-7)
