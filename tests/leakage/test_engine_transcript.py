"""What t parties see of products, truncations and inputs is independent of the secrets.

A coalition takes what its members received and strips every mask and summand that they know. What is
left must be uniform, whatever the secrets are. Chi-square tests over bytes decide at level ALPHA; all
keys are derived from a fixed secret, so the outcome is the same in every run. Variants that leak, each by
a plausible mistake, must fail the same tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, secret_of
from scipy import stats

from protocols import codec, field, mersenne
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.inputs import share
from protocols.mersenne import Elements
from protocols.party import Party
from protocols.prg import Seed, Stream
from protocols.prss import Prss
from protocols.secret import truncate
from protocols.testing import Message, record_parties

#: Chance of refusing a protocol that is sound, for each test.
ALPHA = 1e-4
SECRET = b"a fixed secret for all sessions "
SIZE = 1 << 13
FRACTION = 20
#: Coalitions of t parties.
CASES = [(3, (0,)), (3, (1,)), (3, (2,)), (4, (3,)), (5, (0, 1)), (5, (1, 4))]


def fixed_entropy(party: Party) -> Callable[[int], bytes]:
    """Return keys that are the same in every run."""
    numbers = itertools.count()
    return lambda size: f"{party.me} {next(numbers)}".encode().ljust(size, b".")


def run(n: int, program: Callable[[Engine], None]) -> tuple[list[Engine], list[list[Message]]]:
    """Run a program, and return all engines and views in the order of the parties."""

    def start(party: Party) -> Engine:
        engine = Engine(party, entropy=fixed_entropy(party))
        program(engine)
        return engine

    engines, views = record_parties(NAMES[:n], start, secret=SECRET)
    return [engines[name] for name in NAMES[:n]], [views[name] for name in NAMES[:n]]


def sent_by(views: list[list[Message]], receiver: int, sender: int, step: str) -> tuple[str, Elements]:
    """Return the step's name and the elements of the one message of a step from one party to another."""
    (message,) = [m for m in views[receiver] if m.sender == NAMES[sender] and m.step.endswith(step)]
    return message.step, codec.decode(message.payload)


def known_mask(engines: list[Engine], coalition: tuple[int, ...], other: int, label: str) -> Elements:
    """Return what the masks that a coalition shares with another party add to that party's messages."""
    total = field.zeros(SIZE)
    for member in coalition:
        session = engines[member].party.mesh.session
        words = field.empty(SIZE)
        Seed(session.keys[NAMES[other]], session.id).stream(label).fill(words)
        mersenne.add_random(total, words, other > member)
    return total


def known_summands(engines: list[Engine], coalition: tuple[int, ...], label: str, bits: int) -> Elements:
    """Return the sum of all r_A that some member of a coalition knows."""
    held = {h.subset: h.key for member in coalition for h in engines[member].prss.holdings}
    session = engines[0].party.mesh.session.id
    blind = Prss(engines[0].n, engines[coalition[0]].point, held, session)
    total = field.zeros(SIZE)
    for _, summand in blind.summands(label, SIZE, bits):
        total = field.add(total, summand)
    return total


def is_uniform(elements: Elements, low_bytes: int) -> bool:
    """Test every byte of the elements from the lowest on, and each with the lowest, for uniformity."""
    data = np.ascontiguousarray(elements).view(np.uint8).reshape(-1, 16)[:, :low_bytes]
    mixed = data ^ np.roll(data, 1, axis=0)  # two entries alike would show
    low_bits = data[:, :1] & 3
    tables = [*((column, 256) for table in (data, mixed) for column in table.T), (low_bits.ravel(), 4)]
    pvalues = [stats.chisquare(np.bincount(column, minlength=size)).pvalue for column, size in tables]
    return min(pvalues) > ALPHA / len(tables)


def is_balanced(elements: Elements) -> bool:
    """Test whether half of the elements are squares, as of uniform ones."""
    squares = int(np.count_nonzero(field.legendre(elements) == 1))
    return stats.binomtest(squares, len(elements)).pvalue > ALPHA


def product_of(value: int) -> Callable[[Engine], None]:
    """Return a program that multiplies fixed-point constants."""

    def program(engine: Engine) -> None:
        x = secret_of(engine, [value] * SIZE, Format(FRACTION, 2**30))
        x * x

    return program


def seen_of_product(n: int, coalition: tuple[int, ...], value: int) -> tuple[list[Elements], Elements]:
    """Return what a coalition holds of each other party's message, and of the opened sum."""
    engines, views = run(n, product_of(value))
    honest = [i for i in range(n) if i not in coalition]
    messages = []
    for other in honest:
        step, message = sent_by(views, coalition[0], other, "multiply")
        messages.append(field.sub(message, known_mask(engines, coalition, other, f"{step}/0")))
    opened = field.zeros(SIZE)
    for party in range(n):
        receiver = coalition[0] if party not in coalition else honest[0]
        opened = field.add(opened, sent_by(views, receiver, party, "multiply")[1])
    known = known_summands(engines, coalition, f"{step}/0", engines[0].prss.bits)
    return messages, field.sub(opened, known)


@pytest.mark.parametrize(("n", "coalition"), CASES)
@pytest.mark.parametrize("value", [0, -(2**30), 12345])
def test_products(n, coalition, value):
    messages, opened = seen_of_product(n, coalition, value)
    for message in messages:
        assert is_uniform(message, 15)
        assert is_balanced(message)
    # One summand is left, of 123 bits or more: up to there everything is uniform.
    assert is_uniform(opened, 15)


def test_what_is_seen_of_a_product_is_the_same_for_other_secrets():
    # The highest bits of what hides the secret, which a mask of too few bits would let move.
    tops = []
    for value in (0, 2**30):
        _, opened = seen_of_product(3, (1,), value)
        tops.append(np.bincount(field.to_ints(field.shift_right(opened, 118)).astype(int), minlength=256))
    assert stats.chi2_contingency(np.array(tops)[:, tops[0] > 0]).pvalue > ALPHA


def seen_of_truncation(value: int) -> Elements:
    def program(engine: Engine) -> None:
        truncate(secret_of(engine, [value] * SIZE, Format(FRACTION, 2**60)), FRACTION)

    engines, views = run(3, program)
    shares = [sent_by(views, 1 if i != 1 else 0, i, "truncate")[1] for i in range(3)]
    step = next(m.step for m in views[1] if m.step.endswith("truncate"))
    opened = field.zeros(SIZE)
    for share_, weight in zip(shares[:2], (2, -1), strict=True):
        opened = field.add(opened, field.mul(share_, field.from_ints(weight)))
    label = step.rsplit("/", 1)[0] + f"/{int(step.rsplit('/', 1)[1].split()[0]) - 1} truncate"
    return field.sub(opened, known_summands(engines, (1,), label, engines[0].prss.bits))


@pytest.mark.parametrize("value", [0, -(2**60)])
def test_truncation(value):
    assert is_uniform(seen_of_truncation(value), 15)


@pytest.mark.parametrize(("n", "coalition"), CASES)
@pytest.mark.parametrize("value", [0, -7])
def test_inputs(n, coalition, value):
    held: dict[str, Elements] = {}

    def program(engine: Engine) -> None:
        held[engine.party.me] = share(engine, np.full(SIZE, value), bound=7).shares

    run(n, program)
    for dealer in set(range(n)) - set(coalition):
        shares = [held[NAMES[member]][dealer] for member in coalition]
        assert all(is_uniform(one, 15) for one in shares)
        if len(shares) > 1:
            assert is_uniform(field.sub(shares[0], shares[1]), 15)


def no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "fill", lambda self, out: out.fill(0))


def masks_of_the_low_half(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Stream.fill

    def forget_the_top(self: Stream, out: np.ndarray) -> None:
        fill(self, out)
        out[:, 1] = 0

    monkeypatch.setattr(Stream, "fill", forget_the_top)


def coefficients_scaled_to_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Multiplying the polynomials by n! makes the coefficients integers, and all summands multiples of it.
    fill = Stream.fill

    def scaled(self: Stream, out: np.ndarray) -> None:
        fill(self, out)
        out[:, 0] *= np.uint64(6)

    monkeypatch.setattr(Stream, "fill", scaled)


LEAKS: list[Any] = [no_masks, masks_of_the_low_half, coefficients_scaled_to_integers]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_masks_that_do_not_hide_are_noticed(leak, monkeypatch):
    leak(monkeypatch)
    _, opened = seen_of_product(3, (1,), 12345)
    assert not is_uniform(opened, 15)
    assert not is_uniform(seen_of_truncation(12345), 15)


def test_inputs_that_are_not_hidden_are_noticed(monkeypatch):
    no_masks(monkeypatch)
    with pytest.raises(AssertionError):
        test_inputs(3, (1,), -7)


def test_products_sent_without_pairwise_masks_are_noticed(monkeypatch):
    # The opened sum is no different, but a message alone is the square of a share, times a known weight.
    def no_pairwise_masks(total: Elements, words: Elements, negate: bool) -> None:
        pass

    monkeypatch.setattr(mersenne, "add_random", no_pairwise_masks)
    messages, opened = seen_of_product(3, (0,), 12345)
    assert is_uniform(opened, 15)
    assert not all(is_balanced(message) for message in messages)


def test_masks_of_too_few_bits_are_noticed(monkeypatch):
    monkeypatch.setattr(Prss, "__init__", with_few_bits(Prss.__init__))
    _, opened = seen_of_product(3, (1,), 12345)
    assert not is_uniform(opened, 15)


def with_few_bits(init: Callable[..., None]) -> Callable[..., None]:
    def few(self: Prss, *arguments: Any) -> None:
        init(self, *arguments)
        self.bits = 105

    return few
