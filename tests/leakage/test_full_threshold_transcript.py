"""What all parties but one see of products is independent of the secrets.

Chi-square tests over bytes decide at level ALPHA; all keys and all of a party's own randomness are derived
from fixed strings, so the outcome is the same in every run. Variants that leak must fail the same tests.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES
from scipy import stats

from protocols import codec, field
from protocols.compare import negative
from protocols.crossed import Held, inner_products
from protocols.engine import Engine
from protocols.field import P
from protocols.inputs import share
from protocols.oblivious import crossing
from protocols.oblivious.crossing import Crossing
from protocols.oblivious.numbers import FIELD, Shape
from protocols.paillier import product
from protocols.paillier.ciphering import Ciphering
from protocols.paillier.keys import PublicKey
from protocols.party import Party
from protocols.secret import SecretArray
from protocols.testing import Message, record_parties
from protocols.triples.pool import Triples

#: Chance of refusing a protocol that is sound, for each test.
ALPHA = 1e-4
SECRET = b"a fixed secret for all sessions "
SIZE = 1 << 9


def fixed_entropy(party: Party, name: str) -> Callable[[int], bytes]:
    """Return randomness that is the same in every run."""
    count = itertools.count()
    return lambda size: hashlib.shake_128(f"{party.me} {name} {next(count)}".encode()).digest(size)


def seen(n: int, program: Callable[[Engine], None]) -> list[list[Message]]:
    """Return what each party receives."""

    def run(party: Party) -> None:
        source = Crossing(party, "source", fixed_entropy(party, "source"))
        triples = Triples(source, fixed_entropy(party, "triples"))
        program(Engine(party, triples=triples, entropy=fixed_entropy(party, "engine")))

    _, views = record_parties(NAMES[:n], run, secret=SECRET)
    return [views[name] for name in NAMES[:n]]


def arrays(view: list[Message], step: str) -> list[np.ndarray]:
    """Return the arrays of all messages of a step."""
    return [codec.decode(message.payload) for message in view if message.step.endswith(step)]


def is_uniform(words: np.ndarray, low_bytes: int, alpha: float = ALPHA) -> bool:
    """Test every byte of rows of words from the lowest on, and each with the row before, for uniformity."""
    data = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)[:, :low_bytes]
    mixed = data ^ np.roll(data, 1, axis=0)
    columns = [column for table in (data, mixed) for column in table.T]
    pvalues = [stats.chisquare(np.bincount(column, minlength=256)).pvalue for column in columns]
    return min(pvalues) > alpha / len(columns)


def product_of(value: int) -> Callable[[Engine], None]:
    def program(engine: Engine) -> None:
        x = share(engine, np.full(SIZE, value), bound=2**40)
        x[0] * x[1]

    return program


def parts_of_a_product(value: int, n: int = 2) -> dict[str, np.ndarray]:
    """Return what party 1 sees: choices, corrections, messages of openings, and what they open."""
    view, other = seen(n, product_of(value))[:2]
    choices = [a.reshape(-1, 1) for a in arrays(view, "triples") if a.ndim == 2]
    corrections = [a.reshape(-1, 2) for a in arrays(view, "triples") if a.ndim == 4]
    return {
        "choices": np.concatenate(choices),
        "corrections": np.concatenate(corrections),
        "openings": np.concatenate(arrays(view, "multiply")),
        "opened": reduce(field.add, [*arrays(view, "multiply"), arrays(other, "multiply")[0]]),
    }


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("value", [0, -(2**40)])
def test_products(n, value):
    for part, words in parts_of_a_product(value, n).items():
        assert is_uniform(words, 8 if part == "choices" else 15), part


def test_what_is_opened_of_comparisons():
    def program(engine: Engine) -> None:
        negative(share(engine, np.full(64 * SIZE // 8, -7), bound=2**20)[0])

    view = seen(2, program)[0]
    assert all(is_uniform(words, 8) for words in arrays(view, "and") if len(words) >= SIZE // 4)
    assert is_uniform(np.concatenate(arrays(view, "bit triples")[0:1]).reshape(-1, 1), 8)


# --- Products of what two parties know ----------------------------------------------------------------


def parts_of_what_is_crossed(value: int) -> dict[str, np.ndarray]:
    """Return what b sees of a's numbers, by which a chooses, and what a sees of b's."""

    def program(engine: Engine) -> None:
        own = field.from_ints(np.full((1, SIZE), value))
        one, other = (
            Held(name, 1, SIZE, bound, values=own if engine.party.me == name else None)
            for name, bound in (("a", 2**20), ("b", 2**40))
        )
        inner_products(engine, one, other)

    of_a, of_b = seen(2, program)
    return {
        "choices": np.concatenate([a.reshape(-1, 1) for a in arrays(of_b, "crossed")]),
        "corrections": np.concatenate([a.reshape(-1, 2) for a in arrays(of_a, "crossed")]),
    }


@pytest.mark.parametrize("value", [0, -(2**20)])
def test_what_is_crossed(value):
    parts = parts_of_what_is_crossed(value)
    assert len(parts["corrections"]) == 22 * SIZE
    assert is_uniform(parts["choices"], 8)
    assert is_uniform(parts["corrections"], 15)


def test_what_is_crossed_without_secrets_is_noticed(monkeypatch):
    no_pads(monkeypatch)
    assert not is_uniform(parts_of_what_is_crossed(-(2**20))["corrections"], 15)
    monkeypatch.setattr("protocols.prg.Stream.fill", lambda self, out: out.fill(0))
    assert not is_uniform(parts_of_what_is_crossed(-(2**20))["choices"], 8)


def parts_of_what_is_encrypted(value: int) -> dict[str, np.ndarray]:
    """Return what two parties see of each other's numbers: ciphertexts, and what the key's owner decrypts."""
    held: dict[str, np.ndarray] = {}

    def run(party: Party) -> None:
        source = Ciphering(party, "source", bits=768)
        own = field.from_ints(np.full(SIZE, value)).reshape(SIZE, 1, 1, 2)
        held[party.me] = source.products("product", FIELD, Shape(SIZE, 1, 1, 1), own, own, "a", "b")

    _, views = record_parties("ab", run, secret=SECRET)
    (answer,), (offer,) = (
        [codec.decode(message.payload) for message in views[name] if message.step == "product"]
        for name in "ab"
    )
    return {
        "offers": codec.decode(offer[0]),
        "answers": codec.decode(answer[0]),
        "decrypted": held["a"].reshape(-1, 2),
        "kept": held["b"].reshape(-1, 2),
    }


def balance(ciphertexts: np.ndarray) -> float:
    """Return how many of the lower half of all bits are set: answers are too few to count their bytes."""
    return float(np.unpackbits(np.ascontiguousarray(ciphertexts[:, :12]).view(np.uint8)).mean())


@pytest.mark.parametrize("value", [0, P - 1])
def test_what_is_encrypted(value):
    parts = parts_of_what_is_encrypted(value)
    # Keys and their randomness are not the same in every run, so a sound protocol must hardly ever fail.
    assert is_uniform(parts["offers"], 96, 1e-9)
    assert is_uniform(parts["decrypted"], 15, 1e-9)
    assert is_uniform(parts["kept"], 15, 1e-9)
    assert 0.49 < balance(parts["answers"]) < 0.51


def test_what_is_encrypted_without_randomness_is_noticed(monkeypatch):
    monkeypatch.setattr(product, "_mask", lambda shape: 0)
    assert not is_uniform(parts_of_what_is_encrypted(5)["decrypted"], 15, 1e-9)
    monkeypatch.setattr(PublicKey, "residues", lambda self, count, owner=False: [1] * count)
    parts = parts_of_what_is_encrypted(0)
    assert not is_uniform(parts["offers"], 96, 1e-9)
    assert not 0.49 < balance(parts["answers"]) < 0.51


# --- Variants that leak ------------------------------------------------------------------------------


def no_pads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        crossing, "hashes", lambda rows, first, count: np.zeros((len(rows), count, 2), np.uint64)
    )


def no_triples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Triples, "draw", lambda self, shape: np.zeros(shape, np.uint64))


def the_same_pads_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        crossing, "hashes", lambda rows, first, count: np.full((len(rows), count, 2), 7, np.uint64)
    )


LEAKS: dict[str, tuple[Any, str]] = {
    "no pads": (no_pads, "corrections"),
    "pads alike": (the_same_pads_twice, "corrections"),
    "no random factors": (no_triples, "opened"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_leaks_are_noticed(leak, monkeypatch):
    change, part = LEAKS[leak]
    change(monkeypatch)
    assert not is_uniform(parts_of_a_product(-(2**40))[part], 15)


def test_choices_that_are_not_hidden_are_noticed(monkeypatch):
    monkeypatch.setattr(Triples, "draw", lambda self, shape: np.zeros(shape, np.uint64))
    monkeypatch.setattr("protocols.prg.Stream.fill", lambda self, out: out.fill(0))
    assert not is_uniform(parts_of_a_product(5)["choices"], 8)


def test_a_share_says_nothing():
    held: dict[str, np.ndarray] = {}

    def program(engine: Engine) -> None:
        x: SecretArray = share(engine, np.full(8 * SIZE, 7), bound=7)
        held[engine.party.me] = x.shares

    seen(3, program)
    # Party 3's input, in the hands of parties 1 and 2: uniform, each and together.
    first, second = (held[name][2] for name in "ab")
    assert is_uniform(first, 15)
    assert is_uniform(second, 15)
    assert is_uniform(field.sub(first, second), 15)
