"""The peer of `bench_linalg`: MPyC's division, and its linear systems over a large prime field.

The system is that of MPyC's demo of ridge regression: masked by a random matrix of known factors, opened,
inverted in public by Bareiss's elimination; its determinant is opened too.

    python benchmarks/mpyc_linalg.py -M3 --no-log solve 20
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from mpyc.runtime import mpc

#: Bits of the field: those of the demo for twenty columns.
BITS = 540


def inverted(field: Any, rows: list[list[Any]]) -> tuple[list[list[Any]], Any]:
    """Return the inverse of a public matrix over a prime field, and its determinant."""
    size, determinant = len(rows), field(1)
    rows = [row + [field(int(i == j)) for j in range(size)] for i, row in enumerate(rows)]
    for i in range(size):
        pivot = next(r for r in range(i, size) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        determinant *= rows[i][i]
        reciprocal = 1 / rows[i][i]
        rows[i] = [x * reciprocal for x in rows[i]]
        for r in range(size):
            if r != i:
                factor = rows[r][i]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[size:] for row in rows], determinant


async def solved(field: Any, a: Any, size: int) -> Any:
    """Return the inverse of a secret matrix and its determinant, opened, as the demo does."""
    lower = mpc.np_fromlist(list(mpc._randoms(field, size * size))).reshape(size, size)
    mask = np.tril(np.ones((size, size), int), -1)
    diagonal = mpc._randoms(field, size)
    l_factor = lower * mask + np.eye(size, dtype=int)
    u_factor = lower * mask.T + mpc.np_fromlist(diagonal) * np.eye(size, dtype=int)
    r = l_factor @ u_factor
    opened = await mpc.output(r @ a)
    rows = [[field.field(int(x)) for x in row] for row in opened.value.tolist()]
    inverse, determinant = inverted(field.field, rows)
    of_r = mpc.prod(diagonal)
    result = field.array(field.field.array([[int(x) for x in row] for row in inverse])) @ r
    return await mpc.output(result), await mpc.output(determinant / of_r)


async def main(what: str, size: int) -> None:
    """Time one operation, and print the seconds of the first party."""
    async with mpc:
        if what == "divide":
            fixed = mpc.SecFxp(64, 32)
            x = fixed.array(np.full(size, 1.5))
            start = time.perf_counter()
            await mpc.output(x / fixed.array(np.full(size, 2.5)))
        else:
            field = mpc.SecFld(min_order=1 << BITS)
            entries = np.random.default_rng(0).integers(1, 1 << 20, (size, size)).astype(object)
            a = field.array(field.field.array(entries))
            start = time.perf_counter()
            await solved(field, a, size)
        if mpc.pid == 0:
            print(time.perf_counter() - start)


if __name__ == "__main__":
    mpc.run(main(sys.argv[-2], int(sys.argv[-1])))
