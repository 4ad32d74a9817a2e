"""Which counts of a table are hidden: no small one follows from those that are shown."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import compute_alike, elements
from hypothesis import given
from hypothesis import strategies as st

from fedstats._cells import (
    ENOUGH,
    SMALL,
    ZERO,
    Line,
    lines_of,
    secret_size_classes,
    size_classes,
    suppress,
    with_margins,
)
from protocols.fixed import Format
from protocols.secret import SecretArray

MIN_CELL = 5


def hidden_of(counts: object) -> np.ndarray:
    table = with_margins(np.array(counts, np.int64))
    classes = size_classes(table.ravel(), MIN_CELL)
    return suppress(classes, lines_of(table.shape)).reshape(table.shape)


COUNTS = [0, 1, 4, 5, 10**12]


def test_size_classes() -> None:
    assert size_classes(np.array(COUNTS), MIN_CELL).tolist() == [ZERO, SMALL, SMALL, ENOUGH, ENOUGH]
    assert size_classes(np.array([0, 1, 4]), 1).tolist() == [ZERO, ENOUGH, ENOUGH]


@pytest.mark.parametrize("parties", [3, 5])
def test_size_classes_on_shares(parties: int) -> None:
    def program(engine):
        secret = SecretArray(engine, elements(COUNTS), Format(0, 10**13))
        return secret_size_classes(secret, MIN_CELL).reveal("classes")

    assert compute_alike(parties, program).tolist() == size_classes(np.array(COUNTS), MIN_CELL).tolist()


def test_margins_and_lines() -> None:
    counts = np.arange(24).reshape(2, 3, 4)
    table = with_margins(counts)
    assert table.shape == (3, 4, 5)
    assert table[-1, -1, -1] == counts.sum()
    assert table[0, -1, 2] == counts[0, :, 2].sum()
    lines = lines_of(table.shape)
    assert len(lines) == 4 * 5 + 3 * 5 + 3 * 4
    flat = table.ravel()
    assert all(flat[line.total] == flat[line.parts].sum() for line in lines)


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        # Nothing is small; zeros are shown.
        ([20, 0, 5], [0, 0, 0, 0]),
        # The larger one is company; a zero cannot be.
        ([20, 3, 0, 7], [1, 1, 0, 0, 0]),
        # Two small ones that a subtraction would give as 1 + 2 need a third.
        ([1, 2, 40], [1, 1, 1, 0]),
        # No company but the total.
        ([4, 4, 0], [1, 1, 0, 1]),
        ([3, 0], [1, 0, 1]),
        # A small total hides its parts, which are all small.
        ([1, 2], [1, 1, 1]),
    ],
)
def test_one_way(counts: list[int], hidden: list[int]) -> None:
    assert hidden_of(counts).astype(int).tolist() == hidden


def test_two_ways() -> None:
    found = hidden_of([[2, 30, 40], [50, 60, 70], [80, 90, 100]])
    # A rectangle, with one corner small: the least that hides it.
    assert found.sum() == 4
    assert found[0, 0]
    assert not found[-1].any()
    assert not found[:, -1].any()


def test_cell_that_the_lines_determine_together() -> None:
    """Two rectangles joined by one cell: each line has two hidden parts, and yet that cell follows."""
    counts = np.full((4, 4), 50)
    counts[[0, 0, 1, 1, 2, 2, 3, 3, 1], [0, 1, 0, 1, 2, 3, 2, 3, 2]] = 2
    table = with_margins(counts)
    assert determined(table == 2, table)[1, 2]
    assert not determined(hidden_of(counts), table).any()


def determined(hidden: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return which hidden counts have one solution only, by least squares on random right-hand sides."""
    unknown = np.flatnonzero(hidden)
    rows = []
    for line in lines_of(table.shape):
        row = np.zeros(table.size)
        row[line.parts], row[line.total] = 1, -1
        rows.append(row[unknown])
    system = np.array(rows)
    null = np.eye(len(unknown)) - np.linalg.pinv(system) @ system
    out = np.zeros(table.size, bool)
    out[unknown] = np.abs(null).max(axis=1, initial=0) < 1e-8
    return out.reshape(table.shape)


tables = st.sampled_from([(3,), (6,), (2, 2), (3, 4), (2, 3, 2)]).flatmap(
    lambda shape: st.lists(
        st.sampled_from([0, 0, 1, 3, 4, 5, 8, 12, 40]),
        min_size=int(np.prod(shape)),
        max_size=int(np.prod(shape)),
    ).map(lambda flat: np.array(flat, np.int64).reshape(shape))
)


@given(tables)
def test_no_small_count_follows(counts: np.ndarray) -> None:
    table = with_margins(counts)
    hidden = hidden_of(counts)
    assert hidden[(table > 0) & (table < MIN_CELL)].all()
    assert not hidden[table == 0].any()
    flat, flags = table.ravel(), hidden.ravel()
    for line in lines_of(table.shape):
        if not flags[line.total]:
            left = flat[line.parts][flags[line.parts]].sum()
            assert left == 0 or left > MIN_CELL
    small = (table > 0) & (table < MIN_CELL)
    assert not (determined(hidden, table) & small).any()


def test_lines_of_several_tables() -> None:
    one = lines_of([4])[0].shifted(10)
    assert isinstance(one, Line)
    assert (one.total, one.parts.tolist()) == (13, [10, 11, 12])
