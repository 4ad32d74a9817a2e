"""Comparisons, bits and orders beside MPyC's, on the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, secret_of

from protocols import compare, decompose, sort
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.reveal import reveal

pytest.importorskip("mpyc.runtime")

MPYC_PROGRAM = """
import json, sys
from mpyc.runtime import mpc

integer = mpc.SecInt(32)
rows = json.loads(sys.stdin.read())

async def main():
    async with mpc:
        a, b = ([integer(x) for x in row] for row in rows)
        found = {
            "less": [x < y for x, y in zip(a, b)],
            "equal": [x == y for x, y in zip(a, b)],
            "sign": [mpc.sgn(x) for x in a],
            "maximum": [mpc.max(x, y) for x, y in zip(a, b)],
            "bits": [bit for x in a for bit in mpc.to_bits(x, 21)],
            "sorted": mpc.sorted(a),
            "argmax": [mpc.argmax(a)[0]],
        }
        opened = {name: await mpc.output(values) for name, values in found.items()}
        print(json.dumps({name: [int(x) for x in values] for name, values in opened.items()}))

mpc.run(main())
"""


def test_agreement_with_mpyc():
    rng = np.random.default_rng(6)
    rows = rng.integers(-(2**20) + 1, 2**20, (2, 24))
    rows[1, :4] = rows[0, :4]
    command = [sys.executable, "-W", "ignore", "-c", MPYC_PROGRAM, "--no-log"]
    answer = subprocess.run(
        command, input=json.dumps(rows.tolist()), capture_output=True, text=True, check=True
    )
    theirs = {name: np.array(values) for name, values in json.loads(answer.stdout).items()}

    def program(engine: Engine) -> Any:
        a, b = (secret_of(engine, row, Format(0, 2**20 - 1)) for row in rows)
        found = {
            "less": a < b,
            "equal": a == b,
            "sign": compare.sign(a),
            "maximum": compare.maximum(a, b),
            "bits": decompose.bits(a).ravel(),
            "sorted": sort.sort(a),
            "argmax": sort.argmax(a).reshape(1),
        }
        return reveal(engine, found)

    np.testing.assert_equal(compute(3, program)["a"], theirs)
