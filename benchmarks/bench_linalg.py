"""Secret systems of equations and divisions by three processes over gRPC, beside MPyC's processes.

MPyC inverts over a prime field and opens the determinant with the result, an exact rational; ours is
rounded on shares, and says whether it is within its bound. Seconds are those of the slowest process.

    python -m pytest benchmarks/bench_linalg.py
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.on_shares import (
    SPU,
    Action,
    Actions,
    actions,
    measure,
    mpyc_seconds,
    normal,
    spu_seconds,
    watch_offline,
)
from benchmarks.processes import Processes, processes, serve
from protocols.cholesky import cholesky
from protocols.divide import divide, reciprocal, sqrt
from protocols.engine import Engine
from protocols.inputs import share, sum_shares
from protocols.linalg import inverse, solve

of_mpyc = partial(mpyc_seconds, "mpyc_linalg.py")
FRACTION = 30


def gram(engine: Engine, size: int) -> Any:
    """Share a mean of crossproducts of 100 rows a party."""
    rows = normal(engine, (100, size))
    return sum_shares(engine, rows.T @ rows / 300, bound=4, fraction=FRACTION)


def inversion(engine: Engine, size: int) -> Action:
    """The inverse of a positive definite matrix."""
    a = gram(engine, size)
    return lambda: inverse(a, bound=1000, fraction=40, definite=True)


def indefinite(engine: Engine, size: int) -> Action:
    """The inverse of any matrix."""
    a = gram(engine, size)
    return lambda: inverse(a, bound=1000, fraction=40)


def solution(engine: Engine, size: int) -> Action:
    """The solution of a positive definite system with one right side."""
    a = gram(engine, size)
    return lambda: solve(a, a[0], bound=1000, fraction=40, definite=True)


def factoring(engine: Engine, size: int) -> Action:
    """The Cholesky factor of a positive definite matrix."""
    a = gram(engine, size)
    return lambda: cholesky(a, least=2.0**-10, fraction=30)


def quotient(engine: Engine, size: int) -> Action:
    """Quotients of numbers up to 1000, of which the divisors may be as small as 2^−20."""
    x, y, *_ = share(engine, np.abs(normal(engine, (size,))) + 0.01, bound=1000, fraction=20)
    return lambda: divide(x, y, bound=1000, fraction=27)  # as many as ten parties have room for


def tight(engine: Engine, size: int) -> Action:
    """Reciprocals of numbers between 1 and 2."""
    x, *_ = share(engine, np.random.default_rng(engine.point).uniform(1, 2, size), bound=2, fraction=30)
    return lambda: reciprocal(x, least=1)


def root(engine: Engine, size: int) -> Action:
    """Square roots of numbers up to 1000."""
    x, *_ = share(engine, np.abs(normal(engine, (size,))), bound=1000, fraction=20)
    return lambda: sqrt(x)


ACTIONS: Actions = {
    "inverse": inversion,
    "indefinite": indefinite,
    "solve": solution,
    "cholesky": factoring,
    "divide": quotient,
    "tight": tight,
    "sqrt": root,
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes("benchmarks.bench_linalg", tmp_path_factory.mktemp("federation")) as started:
        yield started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [5, 20, 50])
@pytest.mark.parametrize("what", ["inverse", "indefinite", "solve"])
def test_systems(benchmark: Any, federation: Processes, what: str, size: int) -> None:
    measure(benchmark, federation, f"{what} {size}", of_mpyc("solve", size), "MPyC")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [5, 20])
def test_factors(benchmark: Any, federation: Processes, size: int) -> None:
    # MPyC has no Cholesky factors; its system of the same size is the nearest there is.
    measure(benchmark, federation, f"cholesky {size}", of_mpyc("solve", size), "MPyC, a system")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["divide", "tight", "sqrt"])
def test_division(benchmark: Any, federation: Processes, what: str) -> None:
    size, fewer = 100_000, 20
    measure(
        benchmark,
        federation,
        f"{what} {size}",
        of_mpyc("divide", fewer) * size / fewer,
    )
    benchmark.extra_info["us_an_element"] = benchmark.extra_info["seconds"] / size * 1e6


@pytest.mark.timeout(600)
def test_division_beside_spu(benchmark: Any, federation: Processes) -> None:
    size = 100_000
    measure(benchmark, federation, f"divide {size}", spu_seconds("divide", size), SPU)


if __name__ == "__main__":
    serve(partial(actions, ACTIONS), watch_offline())
