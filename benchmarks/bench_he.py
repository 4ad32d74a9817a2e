"""Two parties alone: products under Paillier's encryption beside plain phe, triples by both sources, and OLS
over rows and over linked columns.

Parties are threads of one process: seconds are of both together, bytes of one.

    python -m pytest benchmarks/bench_he.py
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from benchmarks.on_shares import over_wide_area
from fedstats.policy import FederationPolicy, SitePolicy
from protocols import field
from protocols.crossed import Held, inner_products
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.oblivious.crossing import Crossing
from protocols.oblivious.numbers import FIELD, Shape
from protocols.paillier import keys, product
from protocols.paillier.ciphering import Ciphering
from protocols.paillier.library import phe
from protocols.party import Party
from protocols.reveal import reveal
from protocols.secret import SecretArray
from protocols.testing import run_parties
from protocols.triples.pool import Triples

#: Terms of an inner product, and bits of each factor.
TERMS, BITS = 10_000, 40
#: Terms of which phe is measured, all of which cost the same.
FEWER = 100


@pytest.mark.timeout(600)
def test_inner_product_of_two_parties(benchmark: Any) -> None:
    """Signed integers of 40 bits; phe encrypts each, multiplies each, adds up and decrypts."""
    rng = random.Random(0)
    x, y = ([rng.randrange(1 - (1 << BITS), 1 << BITS) for _ in range(TERMS)] for _ in range(2))
    key = keys.generate()
    public = keys.decode(key.public.encode(), "a")
    shape = product.Shape(1, TERMS, 1, BITS, BITS)
    left, right = np.array([x], object), np.array(y, object)[:, np.newaxis]
    sent = {}

    def ours() -> int:
        offer = product.offer_matrix(key, shape, left)
        answer, share = product.answer_matrix(public, shape, right, offer, "a")
        sent["bytes"] = len(offer) + len(answer)
        return int((share + product.finish_matrix(key, shape, answer, "b")).item())

    library = phe()
    naive_key = library.PaillierPublicKey(int(key.n))
    naive_private = library.PaillierPrivateKey(naive_key, key._phe.p, key._phe.q)

    def naive() -> int:
        encrypted = [naive_key.encrypt(value) for value in x[:FEWER]]
        total = sum(
            (c * value for c, value in zip(encrypted[1:], y[1:FEWER], strict=True)), encrypted[0] * y[0]
        )
        return int(naive_private.decrypt(total))

    assert benchmark.pedantic(ours, rounds=3, warmup_rounds=0) == sum(
        a * b for a, b in zip(x, y, strict=True)
    )
    start = time.perf_counter()
    assert naive() == sum(a * b for a, b in zip(x[:FEWER], y[:FEWER], strict=True))
    peer = (time.perf_counter() - start) * TERMS / FEWER
    benchmark.extra_info |= {
        "rounds": 2,
        "bytes": sent["bytes"],
        "peer": f"phe, {FEWER} terms scaled up",
        "peer_seconds": peer,
        "ratio": benchmark.stats.stats.median / peer,
    }


SOURCES = {
    "transfers": (lambda party: Crossing(party, "source"), 10_000),
    "paillier": (lambda party: Ciphering(party, "source"), 100),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", SOURCES)
def test_triples_of_elements(benchmark: Any, source: str) -> None:
    """Triples of elements of F_p, p = 2^127 − 1, for two parties."""
    make, size = SOURCES[source]

    def program(party: Party) -> tuple[float, int]:
        triples = Triples(make(party))
        triples.matrices(lambda name: f"warm up {name}", FIELD, Shape(64, 1, 1, 1))
        before, start = party.mesh.traffic.copy(), time.perf_counter()
        triples.matrices(lambda name: name, FIELD, Shape(size, 1, 1, 1))
        return time.perf_counter() - start, (party.mesh.traffic - before).bytes_sent

    found: list[tuple[float, int]] = []

    def run() -> None:
        found.append(run_parties("ab", program, timeout=300)["a"])

    benchmark.pedantic(run, rounds=3 if size > 1000 else 1, warmup_rounds=0)
    seconds, sent = (float(np.median(column)) for column in zip(*found, strict=True))
    benchmark.extra_info |= {
        "rounds": 2,
        "bytes": sent,
        "triples_a_second": round(size / seconds),
        "bytes_a_triple": round(sent / size),
    }


@pytest.mark.timeout(300)
def test_triples_of_bits(benchmark: Any) -> None:
    """Triples of bits by transfers, a million of them."""
    size = 1 << 14

    def program(party: Party) -> tuple[float, int]:
        triples = Triples(Crossing(party, "source"))
        triples._words._next = 1
        triples.words(lambda name: f"warm up {name}", 1)
        before, start = party.mesh.traffic.copy(), time.perf_counter()
        triples.words(lambda name: name, size)
        return time.perf_counter() - start, (party.mesh.traffic - before).bytes_sent

    found: list[tuple[float, int]] = []
    benchmark.pedantic(lambda: found.append(run_parties("ab", program)["a"]), rounds=3, warmup_rounds=0)
    seconds, sent = (float(np.median(column)) for column in zip(*found, strict=True))
    benchmark.extra_info |= {
        "rounds": 2,
        "bytes": sent,
        "triples_a_second": round(64 * size / seconds),
        "bytes_a_triple": round(sent / size / 64, 2),
    }


#: A laboratory's columns and a hospital's, of whom 10,000 patients are common.
PATIENTS, COLUMNS = 10_000, 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", SOURCES)
def test_cross_products(benchmark: Any, source: str) -> None:
    """All products of ten columns of one party with ten of another, of 36 bits, summed over 10,000 rows."""
    make, _ = SOURCES[source]
    bits = 35
    columns = np.random.default_rng(0).integers(1 - (1 << bits), 1 << bits, (2, COLUMNS, PATIENTS))
    found: list[tuple[float, float, int]] = []

    def program(party: Party) -> tuple[float, float, int]:
        engine = Engine(party, triples=Triples(make(party)))
        one, other = (
            Held(
                name,
                COLUMNS,
                PATIENTS,
                1 << bits,
                values=field.from_ints(columns[place]) if place == party.index else None,
            )
            for place, name in enumerate("ab")
        )
        engine.confirm()
        before, start = party.mesh.traffic.copy(), time.perf_counter()
        sums = SecretArray(engine, inner_products(engine, one, other), Format(0, PATIENTS << 2 * bits))
        seconds, sent = time.perf_counter() - start, (party.mesh.traffic - before).bytes_sent
        opened = reveal(engine, {"sums": sums})["sums"]
        assert (opened == columns[0].astype(object) @ columns[1].T.astype(object)).all()
        return seconds, sent, 2

    def run() -> None:
        parties = run_parties("ab", program, timeout=300).values()
        found.append(tuple(max(its) for its in zip(*parties, strict=True)))

    benchmark.pedantic(run, rounds=1, warmup_rounds=0)
    seconds, sent, rounds = found[0]
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "seconds": round(seconds, 2),
        "wide_area": over_wide_area(seconds, rounds, sent),
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("megabits", [0, 100], ids=list(SOURCES))
def test_vertical_ols(benchmark: Any, megabits: int) -> None:
    """10,000 patients, ten columns at a laboratory and ten, with the response, at a hospital; and linking."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(PATIENTS, 2 * COLUMNS))
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(2 * COLUMNS)])
    frame["y"] = 1 + X @ rng.normal(size=2 * COLUMNS) + rng.normal(size=PATIENTS)
    names = list(frame.columns)
    frame["patient"] = [f"patient {number}" for number in range(PATIENTS)]
    tables = [frame[["patient", *names[:COLUMNS]]], frame[["patient", *names[COLUMNS:]]].sample(frac=1.0)]
    formula = "y ~ " + " + ".join(names[:-1])
    shared = FederationPolicy(security="dishonest-majority", link_megabits=megabits)
    found: list[Any] = []

    def program(federation: fs.Federation, rows: pd.DataFrame) -> Any:
        cohort = federation.cohort(rows, partition="vertical", on="patient")
        start = time.perf_counter()
        fit = fs.ols(formula, cohort)
        return fit, time.perf_counter() - start

    def run() -> None:
        found[:] = fs.simulate(program, tables, shared=shared, policy=SitePolicy(allow_two_site_sums=True))

    benchmark.pedantic(run, rounds=1, warmup_rounds=0)
    fits = [fit for fit, _ in found]
    expected = np.linalg.lstsq(np.column_stack([np.ones(PATIENTS), X]), frame["y"], rcond=None)[0]
    np.testing.assert_allclose(fits[0].params.to_numpy(), expected, rtol=1e-6)
    rounds, sent = fits[0].cost.rounds, max(fit.cost.bytes_sent for fit in fits)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "seconds_without_linking": round(found[0][1], 2),
        "wide_area": over_wide_area(found[0][1], rounds, sent),
    }


@pytest.mark.timeout(300)
def test_ols_of_two_sites(benchmark: Any) -> None:
    """100,000 rows and 20 columns over two sites, only results opened, against the pooled rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 20))
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(20)])
    frame["y"] = 1 + X @ rng.normal(size=20) + rng.normal(size=len(X))
    formula = "y ~ " + " + ".join(frame.columns[:-1])
    shared = FederationPolicy(security="dishonest-majority")
    found: list[Any] = []

    def program(federation: fs.Federation, rows: pd.DataFrame) -> Any:
        return fs.ols(formula, federation.cohort(rows))

    def run() -> None:
        parts = [frame[:50_000], frame[50_000:]]
        found.append(
            fs.simulate(program, parts, shared=shared, policy=SitePolicy(allow_two_site_sums=True))[0]
        )

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    expected = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), frame.y, rcond=None)[0]
    np.testing.assert_allclose(found[-1].params.to_numpy(), expected, rtol=1e-6)
    benchmark.extra_info |= {"rounds": found[-1].cost.rounds, "bytes": found[-1].cost.bytes_sent}
