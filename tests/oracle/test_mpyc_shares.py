"""MPyC and this package share alike: what one splits, the other puts together."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from engine_helpers import EDGES, NAMES, compute, elements, integers, random_residues, secret_of

from protocols import prss, shamir
from protocols.engine import Engine
from protocols.field import P
from protocols.inputs import share

finfields = pytest.importorskip("mpyc.finfields")
thresha = pytest.importorskip("mpyc.thresha")

SIZES = [3, 4, 5, 7, 10]
SECRETS = EDGES + random_residues(5)


@pytest.fixture(scope="module")
def theirs() -> Any:
    return finfields.GF(modulus=P)


@pytest.mark.parametrize("n", SIZES)
def test_mpyc_puts_our_shares_together(theirs, n):
    t = shamir.threshold(n)
    coefficients = elements(random_residues(t * len(SECRETS))).reshape(t, -1, 2)
    shares = shamir.split(elements(SECRETS), coefficients, n)
    for parties in itertools.islice(itertools.combinations(range(n), t + 1), 20):
        points = [(i + 1, [theirs(x) for x in integers(shares[i])]) for i in parties]
        assert [int(x) % P for x in thresha.recombine(theirs, points)] == SECRETS


@pytest.mark.parametrize("n", SIZES)
def test_we_put_mpycs_shares_together(theirs, n):
    t = shamir.threshold(n)
    shares = elements(thresha.random_split(theirs, [theirs(x) for x in SECRETS], t, n))
    assert shamir.lies_on_polynomial(shares, t)
    assert integers(shamir.reconstruct(shares, t)) == SECRETS


@pytest.mark.parametrize("n", SIZES)
def test_the_polynomials_of_pseudorandom_sharing_are_mpycs(theirs, n):
    t = shamir.threshold(n)
    for subset in prss.subsets(n, t)[::7]:
        members = frozenset(j - 1 for j in subset)
        for i in range(n):
            f_i = thresha._f_S_i(theirs, n, i, members)
            assert int(theirs(f_i)) % P == prss.coefficient(subset, n, i + 1)


@pytest.mark.parametrize("n", [3, 5])
def test_shares_of_products_pass_to_mpyc(theirs, n):
    a, b = random_residues(20, 1), random_residues(20, 2)
    held = compute(n, lambda engine: integers((secret_of(engine, a) * secret_of(engine, b)).shares))
    points = [(i + 1, [theirs(x) for x in held[NAMES[i]]]) for i in range(n)][: shamir.threshold(n) + 1]
    assert [int(x) % P for x in thresha.recombine(theirs, points)] == [
        x * y % P for x, y in zip(a, b, strict=True)
    ]


MPYC_PROGRAM = """
import json, sys
from mpyc.runtime import mpc

fixed = mpc.SecFxp(64, 24, p=2**127 - 1)
rows = json.loads(sys.stdin.read())

async def main():
    async with mpc:
        a, b = ([fixed(x) for x in row] for row in rows)
        print(json.dumps([float(x) for x in await mpc.output(mpc.schur_prod(a, b))]))

mpc.run(main())
"""


@pytest.mark.parametrize("n", [3, 5])
def test_fixed_point_products_agree_with_mpyc(n):
    rows = (np.random.default_rng(5).integers(-(2**34), 2**34, (2, 50)) / 2.0**24).tolist()
    command = [sys.executable, "-W", "ignore", "-c", MPYC_PROGRAM, "--no-log"]
    answer = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=True)
    theirs = np.array(json.loads(answer.stdout))

    def program(engine: Engine) -> Any:
        x, y = (share(engine, np.array(row), bound=1024, fraction=24)[0] for row in rows)
        return (x * y).reveal("product")

    # Each rounds probabilistically: theirs is off by one unit at most, ours by (C + 1)/2.
    units = (math.comb(n, (n - 1) // 2) + 1) / 2 + 1
    np.testing.assert_allclose(compute(n, program)["a"], theirs, rtol=0, atol=units * 2.0**-24)
