"""What t parties see of long numbers and secret floats is independent of the secrets.

Whatever is opened under a mask, in comparisons, conversions and float arithmetic, is stripped of all summands
that a coalition knows. What is left must be distributed alike for secrets of very different magnitudes, zeros
and negative numbers among them, whose quotients and roots are undefined. Two-sample Kolmogorov–Smirnov tests
decide at level ALPHA together; all keys are derived from a fixed secret. And whatever is opened must be
within the bound for which its mask was made. Variants with masks too short, and with divisors of zero and
radicands below it that are taken as they are, must fail the same tests.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES
from scipy import stats

from protocols import crt, float_arithmetic, wide
from protocols.engine import Engine
from protocols.floating import fixed, floating, sqrt, where
from protocols.long import narrow, negative, sum_long
from protocols.party import Party
from protocols.reveal import reveal
from protocols.testing import run_parties

#: Chance that a sound protocol is refused, over all its openings.
ALPHA = 1e-4
SIZE = 120
SECRET = b"a fixed secret for all sessions "
SECRETS = {
    "large": (2.0**60, 2.0**59),
    "small": (3 * 2.0**-60, 2.0**-64),
    "negative": (-(2.0**60), -(2.0**-64)),
    "zero": (0.0, 0.0),
}

Seen = dict[str, list[float]]


def program(engine: Engine, one: float, other: float) -> None:
    """Use every kind of opening."""
    held = engine.point == 1
    x, y = (
        sum_long(engine, np.full(SIZE, z if held else 0.0), bound=2.0**60, fraction=64) for z in (one, other)
    )
    negative(x)
    narrow(x.rescale(40), bound=2.0**60, fraction=8)
    f, g = floating(x), floating(y)
    ratio, root, total = f / g, sqrt(f), f - g
    inverse = ratio / (total * total)
    chosen = where(total < ratio, root, inverse)
    fixed(f, bound=2.0**61, fraction=64)
    reveal(engine, {"chosen": chosen, "total": total})


def entropy(party: Party, secrets: str) -> Any:
    """Return keys that are the same in every run, and others for other secrets."""
    numbers = iter(range(1000))
    return lambda size: f"{secrets} {party.me} {next(numbers)}".encode().ljust(size, b".")


def views(
    n: int, coalition: tuple[int, ...], secrets: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Seen, Seen]:
    """Return what a coalition knows of each masked opening, and the opened numbers as parts of bounds."""
    known: Seen = {}
    numbers: Seen = {}
    held: dict[str, dict[str, wide.Masked]] = defaultdict(dict)
    send, mask = wide.send_masked, wide.Round.mask

    def less(masked: wide.Masked, parties: list[wide.Masked]) -> list[int]:
        """Return what is opened less the summands that parties know."""
        summands = {one.subset: words for view in parties for one, words in view.summands}
        known = [crt.from_words(words) for words in summands.values()]
        return [c - sum(r) for c, *r in zip(crt.from_words(masked.opened), *known, strict=True)]

    def note(name: str, party: str, masked: wide.Masked, bits: int) -> None:
        held[name][party] = masked
        if len(held[name]) == n:
            views_ = held.pop(name)
            left = less(masked, [views_[NAMES[point - 1]] for point in coalition])
            opened = less(masked, list(views_.values()))
            longest = 64 * masked.summands[0][1].shape[1]
            known[name] = [float(Fraction(value, 1 << longest)) for value in left]
            numbers[name] = [float(Fraction(v - masked.offset, 1 << bits)) for v in opened]

    def listening_send(engine: Engine, operation: str, on: Any, shares: Any, bits: int, *rest: Any) -> Any:
        receive = send(engine, operation, on, shares, bits, *rest)
        name = f"{engine._count} {operation}"

        def received() -> wide.Masked:
            masked = receive()
            note(name, engine.party.me, masked, bits)
            return masked

        return received

    def listening_mask(self: wide.Round, on: Any, shares: Any, bits: int, **options: Any) -> Any:
        pending = mask(self, on, shares, bits, **options)
        settle, name = pending.settle, f"{self._step} {len(self._parts)}"

        def settled(value: wide.Masked) -> None:
            settle(value)
            note(name, self._engine.party.me, value, bits)

        pending.settle = settled
        return pending

    with monkeypatch.context() as patch:
        patch.setattr(wide, "send_masked", listening_send)
        patch.setattr(float_arithmetic, "send_masked", listening_send)
        patch.setattr(wide.Round, "mask", listening_mask)
        run_parties(
            NAMES[:n],
            lambda party: program(Engine(party, entropy=entropy(party, secrets)), *SECRETS[secrets]),
            secret=SECRET,
        )
    return known, numbers


def differing(large: Seen, others: list[Seen]) -> list[str]:
    """Return the openings by which a coalition tells other secrets from large ones."""
    assert len(large) > 40
    found = []
    for seen in others:
        assert set(seen) == set(large)
        for place, values in seen.items():
            pvalue = stats.ks_2samp(large[place], values, method="asymp").pvalue
            if pvalue < ALPHA / (len(others) * len(large)):
                found.append(place)
    return found


def beyond(numbers: Seen) -> list[str]:
    """Return the openings of numbers that are larger than those for which their masks were made."""
    return [place for place, values in numbers.items() if max(map(abs, values), default=0) > 1]


@pytest.mark.parametrize(("n", "coalition"), [(3, (1,)), (5, (1, 4))])
def test_secrets_are_not_told_apart(n, coalition, monkeypatch):
    found = {name: views(n, coalition, name, monkeypatch) for name in SECRETS}
    for _, numbers in found.values():
        assert beyond(numbers) == []
    large, *others = (known for known, _ in found.values())
    assert differing(large, others) == []


def test_masks_of_too_few_bits_are_noticed(monkeypatch):
    draw = wide.draw_masks

    def short(engine: Engine, streams: Any, on: Any, size: int, bits: int, offset: int) -> Any:
        masks = draw(engine, streams, on, size, bits, offset)
        for _, words in masks:
            kept = max(0, bits - 3)
            words[:, kept // 64] &= np.uint64((1 << kept % 64) - 1)
            words[:, kept // 64 + 1 :] = 0
        return masks

    monkeypatch.setattr(wide, "draw_masks", short)
    monkeypatch.setattr(float_arithmetic, "draw_masks", short)
    large, small = (views(3, (1,), name, monkeypatch)[0] for name in ("large", "small"))
    assert differing(large, [small])


@pytest.mark.parametrize("secrets", ["negative", "zero"])
def test_numbers_that_are_taken_as_they_are_would_be_noticed(secrets, monkeypatch):
    # Neither a divisor of zero, nor a negative number below a root, is replaced by one.
    given = float_arithmetic.given
    monkeypatch.setattr(float_arithmetic, "given", lambda part: given(part) * 0 + (secrets == "zero"))
    assert beyond(views(3, (1,), secrets, monkeypatch)[1])
