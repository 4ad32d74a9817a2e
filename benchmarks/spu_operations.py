"""The peer of `bench_engine`: SPU's operations by three simulated parties of one process.

python benchmarks/spu_operations.py product 1000000
"""

from __future__ import annotations

import sys
import time

import jax.numpy as jnp
import numpy as np
import spu
import spu.utils.simulation as simulation

ROWS = 1000


def main(what: str, size: int) -> None:
    """Time one operation, compiled before, from numbers in the clear to numbers in the clear."""
    chance = np.random.default_rng(0)
    shapes = {"matrix": [(ROWS, size), (size, size)], "sort": [(size,)]}.get(what, [(size,), (size,)])
    arguments = [chance.normal(size=shape).astype(np.float32) for shape in shapes]
    if what == "divide":
        arguments[1] = np.abs(arguments[1]) + np.float32(0.01)
    function = {
        "product": lambda a, b: a * b,
        "comparison": lambda a, b: a < b,
        "divide": lambda a, b: a / b,
        "matrix": lambda a, b: a @ b,
        "sort": jnp.sort,
    }[what]
    simulator = simulation.Simulator.simple(3, spu.ProtocolKind.ABY3, spu.FieldType.FM64)
    compiled = simulation.sim_jax(simulator, function)
    compiled(*arguments)
    start = time.perf_counter()
    compiled(*arguments)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
