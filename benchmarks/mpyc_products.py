"""The peer of `bench_engine`: MPyC's fixed-point products by three processes of its own.

python benchmarks/mpyc_products.py -M3 --no-log product 500
"""

from __future__ import annotations

import sys
import time

import numpy as np
from mpyc.runtime import mpc

#: MPyC takes minutes for a thousand rows.
ROWS = 10


async def main(what: str, size: int) -> None:
    fixed = mpc.SecFxp(64, 20, p=2**127 - 1)
    async with mpc:
        if what == "product":
            x = fixed.array(np.full(size, 1.5))
            start = time.perf_counter()
            await mpc.gather(x * x)
        else:
            a, b = (fixed.array(np.full((rows, size), 1.5)) for rows in (ROWS, size))
            start = time.perf_counter()
            await mpc.gather(a @ b)
        if mpc.pid == 0:
            print(time.perf_counter() - start)


if __name__ == "__main__":
    mpc.run(main(sys.argv[-2], int(sys.argv[-1])))
