"""What is opened while patients are brought into the order of time does not depend on that order.

Patients are arranged many times in each of two orders, one the reverse of the other. Positions that all
learn on the way are compared by two-sample Kolmogorov–Smirnov tests, at level ALPHA together. A variant that
does not shuffle must fail the same tests.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, compute, secret_of
from scipy import stats

from fedstats import _pairs
from fedstats.vertical.timeline import Marks, Timeline
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.party import Party

#: Chance that a sound protocol is refused.
ALPHA = 1e-4
RUNS, SIZE, ROWS = 40, 16, 12


def opened(stop: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Arrange patients by their times, and return the positions that are opened, a row each time."""
    seen: list[list[int]] = []
    observer: list[int] = []
    absorb = Party.absorb

    def listen(self: Party, label: str, *contents: Any) -> None:
        absorb(self, label, *contents)
        if threading.get_ident() in observer and label.endswith(" open"):
            seen.append(np.frombuffer(contents[0], np.uint64)[::2].astype(int).tolist())

    none = np.zeros(ROWS, np.int64)
    marks = Marks.of(none, none - np.inf, stop, none == 0, none == 0, late=False)

    def program(engine: Engine) -> None:
        patients = secret_of(engine, np.arange(SIZE), Format(0, SIZE))
        if engine.party.me == "a":
            observer.append(threading.get_ident())
        federation = SimpleNamespace(sites=NAMES[:3])
        cohort: Any = SimpleNamespace(size=SIZE, positions=np.arange(ROWS), federation=federation)
        own = marks if engine.party.me == "b" else None
        for _ in range(RUNS):
            line = Timeline.of(engine, cohort, "b", marks.shape, own)
            line.arranged([patients])

    with monkeypatch.context() as patch:
        patch.setattr(Party, "absorb", listen)
        compute(3, program)
    assert len(seen) == RUNS
    assert all(sorted(positions) == list(range(SIZE)) for positions in seen)
    return np.array(seen)


def is_told_apart(monkeypatch: pytest.MonkeyPatch) -> bool:
    times = np.arange(ROWS, dtype=float)
    early, late = (opened(stop, monkeypatch) for stop in (times, times[::-1]))
    pvalues = [stats.ks_2samp(early[:, place], late[:, place]).pvalue for place in range(SIZE)]
    return min(pvalues) < ALPHA / SIZE


def test_positions_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_told_apart(monkeypatch)


def test_positions_would_tell_without_a_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pairs, "shuffle", lambda engine, rows: rows)
    assert is_told_apart(monkeypatch)
