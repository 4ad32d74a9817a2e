"""The peer of `bench_engine`: MPyC's operations by three processes of its own.

python benchmarks/mpyc_operations.py -M3 --no-log product 500
"""

from __future__ import annotations

import sys
import time

import numpy as np
from mpyc.runtime import mpc

#: MPyC takes minutes for a thousand rows.
ROWS = 10


async def main(what: str, size: int) -> None:
    fixed, integer = mpc.SecFxp(64, 20, p=2**127 - 1), mpc.SecInt(64)
    x = fixed.array(np.full(size, 1.5))
    a = fixed.array(np.full((ROWS, size), 1.5))
    b = fixed.array(np.full((size, size), 1.5)) if what == "matrix" else a
    numbers = [integer(value * 7919 % 104729 << 40) for value in range(1, size + 1)]
    actions = {
        "product": lambda: [x * x],
        "matrix": lambda: [a @ b],
        "comparison": lambda: [number < other for number, other in zip(numbers, numbers[::-1], strict=True)],
        "normalizer": lambda: [bit for number in numbers for bit in mpc.to_bits(number)],
        "sort": lambda: mpc.sorted(numbers),
    }
    async with mpc:
        start = time.perf_counter()
        await mpc.gather(actions[what]())
        if mpc.pid == 0:
            print(time.perf_counter() - start)


if __name__ == "__main__":
    mpc.run(main(sys.argv[-2], int(sys.argv[-1])))
