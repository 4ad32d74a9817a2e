"""Sums along a timeline against those over the rows that are at risk, one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, compute_alike, secret_of

from fedstats.vertical.timeline import Marks, Timeline
from protocols.engine import Engine
from protocols.fixed import Format

HOLDER = "b"
#: Patients of the list, and of the site that has the times.
SIZE, ROWS = 60, 40


def own_rows(*, late: bool, strata: int) -> dict[str, Any]:
    """Times with ties, some rows with missing values."""
    chance = np.random.default_rng(2 * strata + late)
    stop = chance.integers(4, 12, ROWS).astype(float)
    return {
        "stratum": chance.integers(0, strata, ROWS),
        "start": chance.integers(0, 4, ROWS).astype(float) + chance.integers(0, 2, ROWS) * (stop - 4),
        "stop": stop,
        "event": chance.random(ROWS) < 0.6,
        "there": chance.random(ROWS) < 0.9,
        "late": late,
    }


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("strata", [1, 3])
def test_sums_over_risk_sets(late: bool, strata: int) -> None:
    rows = own_rows(late=late, strata=strata)
    rows["event"] = rows["event"] & rows["there"]
    marks = Marks.of(**rows)
    positions = np.random.default_rng(1).permutation(SIZE)[:ROWS]
    x = np.random.default_rng(3).integers(0, 100, SIZE)
    x[np.setdiff1d(np.arange(SIZE), positions[rows["there"]])] = 0  # they do not count

    def program(engine: Engine) -> Any:
        federation = SimpleNamespace(sites=NAMES[:3])
        cohort = SimpleNamespace(size=SIZE, positions=positions, federation=federation)
        own = marks if engine.party.me == HOLDER else None
        line = Timeline.of(engine, cohort, HOLDER, marks.shape, own)  # type: ignore[arg-type]
        of_patients, who = (secret_of(engine, values, Format(0, 100)) for values in (x, np.arange(SIZE)))
        values, patients = line.arranged([of_patients, who])
        signed = values if line.entry is None else values * (1 - 2 * line.entry)
        behind = line.ahead(signed[np.newaxis])
        ends = line.at_ends(behind, behind - signed)
        before = line.at_last(line.so_far((line.event * values)[np.newaxis]))
        results = {"patients": patients, "event": line.event, "first": ends[0][0], "last": ends[1][0]}
        results["before"] = before[0]
        return {name: secret.reveal(name) for name, secret in results.items()}

    found = compute_alike(3, program)
    row = np.full(SIZE, -1)
    row[positions] = np.arange(ROWS)
    row = row[found["patients"]]
    value, stop, stratum, there = x[positions], rows["stop"], rows["stratum"], rows["there"]
    start = rows["start"] if late else np.full(ROWS, -np.inf)
    assert sorted(row) == sorted(np.tile(np.arange(ROWS), 1 + late))
    for mark in np.flatnonzero(found["event"]):
        its = row[mark]
        risk = there & (stratum == stratum[its]) & (start < stop[its]) & (stop >= stop[its])
        tied = risk & (stop == stop[its]) & rows["event"]
        assert found["first"][mark] == value[risk].sum()
        assert found["last"][mark] == value[risk & ~tied].sum()
        until = there & rows["event"] & (stratum == stratum[its]) & (stop <= stop[its])
        assert found["before"][mark] == value[until].sum()
    assert np.sort(row[found["event"] == 1]).tolist() == np.flatnonzero(rows["event"]).tolist()


def test_what_is_told_of_times() -> None:
    marks = Marks.of(**own_rows(late=True, strata=3))
    counts = np.unique(marks.order, return_counts=True)[1]
    assert (counts == 1).all()
    assert (marks.shape.rows, marks.shape.marks, marks.shape.strata) == (ROWS, 2 * ROWS, 3)
    assert "order" not in repr(marks)


def test_rows_without_events() -> None:
    rows = own_rows(late=False, strata=1) | {"event": np.zeros(ROWS, bool)}
    shape = Marks.of(**rows).shape
    assert (shape.bits, shape.strata, shape.late) == (0, 1, False)
