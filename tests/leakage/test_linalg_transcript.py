"""What is opened while a system is solved, or a matrix factored, does not depend on the matrix.

Two matrices, whose determinants differ by many orders of magnitude, are inverted and factored many times
each. What all parties learn on the way is compared by two-sample Kolmogorov–Smirnov tests, at level ALPHA
together: the determinant of the masked matrix, the place of the zero by which the leading bit is found, and
every masked integer. A variant that masks by a matrix of determinant one, so that A's is opened, must fail
the same tests; so must one that does not rotate.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, secret_of
from scipy import stats

from protocols import leading, linalg, wide
from protocols.cholesky import cholesky
from protocols.crt import Ring
from protocols.engine import Engine
from protocols.errors import SingularError
from protocols.fixed import Format
from protocols.linalg import inverse
from protocols.party import Party
from protocols.secret import SecretArray

#: Chance that a sound protocol is refused.
ALPHA = 1e-4
RUNS = 40
#: So many of an unsound one are enough to refuse it.
FEWER = 20
MATRICES = {
    "large": [[1 << 20, 0], [0, 1 << 20]],
    "small": [[2, 1], [1, 2]],
}

Views = dict[str, list[float]]


def inverted(shared: SecretArray) -> SecretArray:
    return inverse(shared, bound=2.0**34, fraction=20, definite=True)


def factored(shared: SecretArray) -> SecretArray:
    return cholesky(shared, least=2.0**-30, fraction=20)


def views(
    matrix: list[list[int]],
    action: Callable[[SecretArray], SecretArray],
    monkeypatch: pytest.MonkeyPatch,
    runs: int,
) -> Views:
    """Invert or factor a matrix many times, and return what was opened: numbers by place."""
    seen: Views = defaultdict(list)
    # Each party is a thread, and all see the same. Only one is listened to: samples must be independent.
    observer: list[int] = []

    def see(place: str, value: float) -> None:
        if threading.get_ident() in observer:
            seen[place].append(value)

    absorb = Party.absorb

    def listen(self: Party, label: str, *contents: Any) -> None:
        absorb(self, label, *contents)
        if " " in label:
            operation = label.split(" ", 1)[1]
            words = np.frombuffer(contents[0], np.uint64)
            if operation == "leading place":
                see(operation, float(np.flatnonzero(words == 0)[0]) if 0 in words else -1.0)
            see(f"{operation}, first", float(words[0]))
            see(f"{operation}, last", float(words[-1]))

    invert = Ring.invert

    def note(self: Ring, a: Any) -> Any:
        inverted, determinant = invert(self, a)
        # The random diagonal changes its residues; its size would still tell.
        see("determinant", float(self.integers(determinant[:, np.newaxis])[0].bit_length()))
        return inverted, determinant

    minors = Ring.minors

    def note_too(self: Ring, a: Any) -> Any:
        _, determinant = invert(self, a)
        see("determinant", float(self.integers(determinant[:, np.newaxis])[0].bit_length()))
        see("pivot", float(a[0, 0, 0]))
        return minors(self, a)

    settle = wide.Pending.settle

    def keep(self: Any, value: Any) -> None:
        settle(self, value)
        if isinstance(value, wide.Masked):
            top = value.opened.shape[1] - 1
            while not value.opened[:, top].any():
                top -= 1
            see(f"masked {value.opened.shape}", float(value.opened[0, top]))

    def program(engine: Engine) -> None:
        if engine.party.me == "a":
            observer.append(threading.get_ident())
        shared = secret_of(engine, matrix, Format(30, 1 << 40))
        for _ in range(runs):
            try:
                action(shared)
            except SingularError:
                see("refused", 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(Party, "absorb", listen)
        patch.setattr(Ring, "invert", note)
        patch.setattr(Ring, "minors", note_too)
        patch.setattr(wide.Pending, "settle", keep)
        compute(3, program)
    return seen


def pvalue_of(one: list[float], other: list[float]) -> float:
    """Compare two samples by their empirical distributions: Kolmogorov–Smirnov, conservative with ties."""
    values = np.sort([*one, *other])
    parts = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (one, other)]
    effective = len(one) * len(other) / (len(one) + len(other))
    return float(stats.kstwobign.sf(np.max(np.abs(parts[0] - parts[1])) * np.sqrt(effective)))


def differing(
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[SecretArray], SecretArray] = inverted,
    runs: int = RUNS,
) -> list[str]:
    """Return where the two matrices are told apart."""
    one, other = (views(matrix, action, monkeypatch, runs) for matrix in MATRICES.values())
    assert set(one) == set(other)
    pvalues = {place: pvalue_of(one[place], other[place]) for place in one}
    return [place for place, pvalue in pvalues.items() if pvalue < ALPHA / len(pvalues)]


@pytest.mark.parametrize("action", [inverted, factored])
def test_two_determinants_are_not_told_apart(monkeypatch, action):
    assert differing(monkeypatch, action) == []


@pytest.mark.parametrize("action", [inverted, factored])
def test_a_mask_of_determinant_one_is_noticed(monkeypatch, action):
    uniform = linalg.uniform

    def ones(engine: Engine, on: Ring, shape: tuple[int, ...]) -> Any:
        numbers = uniform(engine, on, shape)
        return np.ones_like(numbers) if len(shape) == 1 and len(on) > 1 else numbers

    monkeypatch.setattr(linalg, "uniform", ones)
    assert "determinant" in differing(monkeypatch, action, FEWER)


def test_a_place_that_is_not_rotated_is_noticed(monkeypatch):
    monkeypatch.setattr(leading.Leader, "_places", lambda self, places: [_first(n) for n in self._sizes])
    assert "leading place" in differing(monkeypatch, runs=FEWER)


def _first(size: int) -> Any:
    out = np.zeros(size, np.uint64)
    out[0] = 1
    return out
