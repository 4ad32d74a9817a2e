"""Linkage of records that are alike: filters as the vectors have them, matches as plain loops find them."""

from __future__ import annotations

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedstats as fs
from fedstats.linkage.encoding import encode, parts, write
from fedstats.linkage.typos import mistyped
from fedstats.vertical.keys import link_keys
from protocols.engine import Engine
from protocols.linkage import filters, matching
from protocols.linkage.filters import Token
from protocols.linkage.matching import Blocks, best_matches
from protocols.party import Party
from protocols.testing import run_parties

sys.path.insert(0, str(Path(__file__).parents[1] / "vectors"))
import linkage_reference as reference

VECTORS = json.loads(reference.PATH.read_text())
ON = fs.linkage.similar(
    {name: how for name, (how, _) in reference.SCHEMA.items()},
    threshold=0.8,
    weights={name: hashes / 8 for name, (_, hashes) in reference.SCHEMA.items()},
    key="study",
)


# Filters


@pytest.mark.parametrize("vector", VECTORS["tokens"])
def test_tokens_set_the_bits_that_the_vectors_say(vector: dict[str, Any]) -> None:
    token = Token(vector["field"], vector["text"], vector["hashes"])
    found = filters.positions(token, bits=vector["bits"], key=bytes.fromhex(vector["key"]))
    assert found == vector["positions"]


def test_records_have_the_filters_that_the_vectors_say() -> None:
    """Of all at once, and in any order, as rows of a table may be."""
    known = VECTORS["records"]
    frame = pd.DataFrame([its["values"] for its in known], columns=ON.columns)
    with pytest.raises(fs.DataError, match="1 rows are written like a row before"):
        write(frame, ON)
    rest = list(range(2, len(known)))
    for chosen in ([0, *rest], [*rest[::-1], 1]):
        written = write(frame.iloc[chosen], ON)
        assert [list(its) for its in zip(*written.fields, strict=True)] == [
            known[place]["written"] for place in chosen
        ]
        for place, row in zip(chosen, encode(written.fields, ON), strict=True):
            assert np.flatnonzero(row).tolist() == known[place]["filter"]


def test_the_reference_hashes_as_others_do() -> None:
    for size in (0, 1, 127, 128, 129, 300):
        data = bytes(range(256)) * 2
        assert reference.blake2b(data[:size], b"k", 64) == hashlib.blake2b(data[:size], key=b"k").digest()
    assert json.loads(json.dumps(reference.vectors())) == VECTORS


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda its: its["why"])
def test_what_is_no_filter_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a filter has|a token sets|a key has"):
        filters.positions(
            Token("name", "an", vector["hashes"]), bits=vector["bits"], key=bytes.fromhex(vector["key"])
        )


@pytest.mark.parametrize("text", VECTORS["refused dates"])
def test_what_is_no_date_is_refused(text: str) -> None:
    on = fs.linkage.similar({"born": "date"}, threshold=0.8)
    with pytest.raises(fs.DataError, match=r"1 values of column 'born' are no dates") as caught:
        write(pd.DataFrame({"born": ["1990-01-01", text, None]}), on)
    assert not text or text not in str(caught.value)


def test_dates_are_one_however_they_are_stored() -> None:
    on = fs.linkage.similar({"born": "date"}, threshold=0.8)
    days = ["1990-01-31", "2004-02-29"]
    midnight = pd.to_datetime(days).tz_localize("Europe/Berlin")  # the day before, in Greenwich
    stored = [days, pd.to_datetime(days), [19900131, 20040229], ["1990 / 01 / 31", "2004.02.29 "], midnight]
    for its in stored:
        assert write(pd.DataFrame({"born": its}), on).fields == [["19900131", "20040229"]]


def test_truth_values_are_written_alike() -> None:
    on = fs.linkage.similar({"smokes": "exact", "name": "text"}, threshold=0.8)
    smokes = [
        pd.Series([True, False, True]),
        pd.Series([True, False, True], dtype=object),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series(["true", "FALSE", "True"]),
        pd.Series([1, 0, 1]),
        pd.Series([1.0, 0.0, 1.0]),
        pd.Series(["1", "0", "1"]),
    ]
    for its in smokes:
        written = write(pd.DataFrame({"smokes": its, "name": ["True", "False", "Ann"]}), on)
        assert written.fields == [["1", "0", "1"], ["true", "false", "ann"]]
    missing = write(pd.DataFrame({"smokes": [True, None, False], "name": ["a", "b", "c"]}), on)
    assert missing.fields[0] == ["1", "", "0"]
    assert link_keys(pd.DataFrame({"id": [True, False]}), ["id"])[0] == [b"1", b"0"]


TEXTS = st.text("abcdé019", min_size=1, max_size=12)


@given(TEXTS, st.integers(1, 32), st.sampled_from([64, 512, 4096]))
@settings(max_examples=50)
def test_a_filter_is_the_union_of_those_of_its_tokens(text: str, hashes: int, bits: int) -> None:
    tokens = [Token("name", part, hashes) for part in parts(text, "text")]
    [whole] = filters.encode([tokens], bits=bits, key=b"key")
    each = filters.encode([[token] for token in tokens], bits=bits, key=b"key")
    np.testing.assert_array_equal(whole, each.max(axis=0))
    assert 1 <= each.sum(axis=1).min() <= each.sum(axis=1).max() <= hashes
    assert len(parts(text, "text")) == len(set(parts(text, "text"))) <= len(text) + 1


def test_positions_are_spread_evenly_and_differ_by_field_and_key() -> None:
    tokens = [Token("name", str(number), 8) for number in range(4000)]
    found = np.array([filters.positions(token, bits=64) for token in tokens])
    counts = np.bincount(found.ravel(), minlength=64)
    assert abs(counts - 500).max() < 120  # more than five standard deviations
    other = np.array([filters.positions(Token("nam", its.text, 8), bits=64) for its in tokens])
    keyed = np.array([filters.positions(token, bits=64, key=b"k") for token in tokens])
    for its in (other, keyed):
        assert abs(float((its == found).mean()) - 1 / 64) < 0.005


@given(st.lists(TEXTS, min_size=1, max_size=5), st.sampled_from(["text", "date"]), st.integers(0, 99))
@settings(max_examples=50)
def test_typing_errors_are_of_the_kinds_that_are_said(texts: list[str], how: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    assert mistyped(texts, how, 0.0, random) == texts
    found = mistyped(texts, how, 0.3, random)
    if how == "date":
        assert [len(text) for text in found] == [len(text) for text in texts]
    assert mistyped([""], how, 0.9, random) == [""]


def test_typing_errors_are_as_frequent_as_is_said() -> None:
    random = np.random.default_rng(1)
    texts = ["abcdefghij"] * 4000
    unharmed = np.mean([its == "abcdefghij" for its in mistyped(texts, "text", 0.05, random)])
    # An exchange of the last letter with none changes nothing.
    assert abs(unharmed - (1 - 0.05) ** 9 * (1 - 0.05 * 0.75)) < 0.03


# Matches


def by_loops(one: np.ndarray, other: np.ndarray, threshold: Fraction, kinds: int = 1) -> set[tuple[int, int]]:
    """The rule as it reads, with exact fractions; records are of the kinds 0, 1, … in turn."""

    def dice(i: int, j: int) -> Fraction:
        if i % kinds != j % kinds:
            return Fraction(-1)
        common = int((one[i] & other[j]).sum())
        return Fraction(2 * common, max(1, int(one[i].sum())) + max(1, int(other[j].sum())))

    def first_best(values: list[Fraction]) -> int:
        return min(k for k, its in enumerate(values) if its == max(values))

    rows, columns = range(len(one)), range(len(other))
    best = [first_best([dice(i, j) for j in columns]) for i in rows]
    wanted = [first_best([dice(i, j) for i in rows]) for j in columns]
    return {(i, j) for i, j in enumerate(best) if wanted[j] == i and dice(i, j) >= threshold}


def found_on_shares(
    one: np.ndarray, other: np.ndarray, threshold: Fraction, names: str = "abc", kinds: int = 1
) -> list[set[tuple[int, int]]]:
    """Link blocks of filters, shape ``(blocks, records, bits)``: b has the first ones, and a the others."""

    def program(party: Party) -> np.ndarray:
        engine = Engine(party)
        mine = {"a": other, "b": one}.get(party.me, one[:, :0])
        blocks = Blocks(1, 0, len(one), one.shape[1], other.shape[1], kinds)
        of_kind = np.broadcast_to(np.arange(mine.shape[1]) % kinds, mine.shape[:2])
        links = best_matches(engine, mine, blocks, threshold.as_integer_ratio(), of_kind)
        return links.reveal("links")

    results = list(run_parties(names, program).values())
    for its in results[1:]:
        np.testing.assert_array_equal(its, results[0])
    assert set(np.unique(results[0])) <= {0, 1}
    return [set(zip(*(places.tolist() for places in np.nonzero(its)), strict=True)) for its in results[0]]


def drawn(random: np.random.Generator, blocks: int, records: int, bits: int = 64) -> np.ndarray:
    """Return filters with few bits: many have equal coefficients, some are copies, some have no bits."""
    found = (random.random((blocks, records, bits)) < random.choice([0.05, 0.3])).astype(np.uint8)
    found[:, random.integers(records)] = 0
    return found


@pytest.mark.parametrize(
    ("blocks", "rows", "columns", "names"),
    [
        (1, 1, 1, "abc"),
        (1, 7, 5, "abc"),
        (3, 1, 6, "abc"),
        (2, 9, 1, "abc"),
        (4, 5, 8, "abc"),
        (2, 4, 3, "abcde"),
    ],
)
def test_links_are_those_of_the_rule(
    blocks: int, rows: int, columns: int, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(10 * rows + columns)
    one, other = drawn(random, blocks, rows), drawn(random, blocks, columns)
    k = min(rows, columns)
    other[:, :k] = one[:, :k][:, random.permutation(k)] ^ (random.random((blocks, k, 64)) < 0.03)
    one[:, -1] = one[:, 0]  # a tie
    monkeypatch.setattr(matching, "PAIRS_HELD", 2 * rows * columns)  # two blocks at a time
    for threshold in (Fraction(1, 1000), Fraction(4, 5), Fraction(1)):
        expected = [by_loops(*both, threshold) for both in zip(one, other, strict=True)]
        assert found_on_shares(one, other, threshold, names) == expected
        assert threshold > Fraction(1, 2) or rows == 1 or any(expected)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=12)
def test_links_of_any_filters(seed: int, rows: int, columns: int, kinds: int) -> None:
    random = np.random.default_rng(seed)
    one, other = drawn(random, 1, rows), drawn(random, 1, columns)
    threshold = Fraction(int(random.integers(1, 1001)), 1000)
    [found] = found_on_shares(one, other, threshold, kinds=kinds)
    assert found == by_loops(one[0], other[0], threshold, kinds)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)


def test_records_of_other_kinds_are_not_linked_though_they_are_equal() -> None:
    one = np.zeros((1, 4, 64), np.uint8)
    one[0, np.arange(4), np.arange(4)] = 1
    for other, expected in ((one, {(k, k) for k in range(4)}), (one[:, [1, 0, 3, 2]], set())):
        assert found_on_shares(one, other, Fraction(1, 1000), kinds=2) == [expected]
    with pytest.raises(ValueError, match="of several kinds each record is of one"):
        matching._columns(one, None, 2)


def test_the_rule_is_symmetric() -> None:
    """Whichever party is called the first, the links are the same where no two matches are equal."""
    random = np.random.default_rng(3)
    one = (random.random((1, 6, 1024)) < 0.3).astype(np.uint8)
    other = one[:, random.permutation(6)][:, :5] ^ (random.random((1, 5, 1024)) < 0.2)
    [found], [turned] = (found_on_shares(*both, Fraction(3, 5)) for both in ((one, other), (other, one)))
    assert turned == {(j, i) for i, j in found}
    assert found


@pytest.mark.parametrize("threshold", [(0, 1), (5, 4), (-1, 2)])
def test_what_is_no_threshold_is_refused(threshold: tuple[int, int]) -> None:
    def program(party: Party) -> None:
        with pytest.raises(ValueError, match="a threshold is a part of 1"):
            best_matches(Engine(party), np.zeros((1, 1, 64), np.uint8), Blocks(0, 1, 1, 1, 1), threshold)

    run_parties("abc", program)


def cost(rows: int, columns: int, bits: int) -> list[tuple[int, int]]:
    random = np.random.default_rng(rows)
    one, other = drawn(random, 1, rows, bits), drawn(random, 1, columns, bits)

    def program(party: Party) -> tuple[int, int]:
        engine = Engine(party)
        before = party.mesh.traffic.copy()
        mine = {"a": one, "b": other}.get(party.me, one[:, :0])
        best_matches(engine, mine, Blocks(0, 1, 1, rows, columns), (4, 5))
        spent = party.mesh.traffic - before
        return spent.rounds, spent.bytes_sent

    return list(run_parties("abc", program).values())


def test_rounds_and_bytes() -> None:
    """As `best_matches` says: rounds by the logarithm of the block, bytes by pairs and bits of filters."""
    small, large = cost(32, 32, 1024), cost(128, 128, 1024)
    more = 128 * 128 - 32 * 32
    assert {rounds for rounds, _ in small} == {11 + 12 * 5}
    assert {rounds for rounds, _ in large} == {11 + 12 * 7}
    for place, ((_, less), (_, sent)) in enumerate(zip(small, large, strict=True)):
        filters_sent = 16 * 1025 * 96 * (place < 2)
        assert 400 * more < sent - less - filters_sent < 450 * more
