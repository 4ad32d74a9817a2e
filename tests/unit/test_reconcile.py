"""Variant lists of several sites: each rule on its own, an independent oracle, and hostile wire forms."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstats.errors import DataError
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable, normalise_allele, normalise_chromosome

Row = tuple[str, int, str, str]


def table(*rows: Row, rsid: str = "rs") -> VariantTable:
    frame = pd.DataFrame(list(rows), columns=["chromosome", "base_pair_location", "allele1", "allele2"])
    frame["base_pair_location"] = frame["base_pair_location"].astype(np.int64)
    return VariantTable.from_frame(frame.assign(rsid=[f"{rsid}{i}" for i in range(len(rows))]))


def kept(result: Reconciled) -> list[Row]:
    columns = ["chromosome", "base_pair_location", "effect_allele", "other_allele"]
    return list(result.variants[columns].itertuples(index=False, name=None))


def reasons(result: Reconciled) -> dict[str, int]:
    return {reason: count for reason, count in result.counts.items() if count and reason != "kept"}


# The rules, one by one ---------------------------------------------------------------------------------


def test_order_of_files_does_not_matter_and_the_result_is_in_genome_order() -> None:
    rows = [
        ("10", 5, "A", "C"),
        ("2", 7, "G", "A"),
        ("X", 1, "T", "C"),
        ("2", 3, "C", "A"),
        ("scaffold", 1, "A", "G"),
    ]
    result = reconcile({"a": table(*rows), "b": table(*rows[::-1])})
    assert kept(result) == [rows[3], rows[1], rows[0], rows[2], rows[4]]
    assert result.index["a"].tolist() == [3, 1, 0, 2, 4]
    assert result.index["b"].tolist() == [1, 3, 4, 2, 0]
    assert not result.flip["a"].any()
    assert not result.flip["b"].any()
    assert len(result.dropped) == 0


@pytest.mark.parametrize(
    ("other", "flip", "strand"),
    [
        (("A", "C"), False, False),
        (("C", "A"), True, False),
        (("T", "G"), False, True),
        (("G", "T"), True, True),
        (("c", "a"), True, False),
    ],
)
def test_swaps_and_strand_flips(other: tuple[str, str], flip: bool, strand: bool) -> None:
    result = reconcile({"a": table(("1", 5, "A", "C")), "b": table(("1", 5, *other))})
    assert kept(result) == [("1", 5, "A", "C")]
    assert result.flip["b"].tolist() == [flip]
    assert result.sites.loc["b", ["swapped", "strand"]].tolist() == [flip, strand]


def test_ambiguous_variants_are_matched_by_letter_and_flagged() -> None:
    tables = {
        "a": table(("1", 1, "A", "T"), ("1", 2, "C", "G"), ("1", 3, "A", "C")),
        "b": table(("1", 1, "A", "T"), ("1", 2, "G", "C"), ("1", 3, "A", "C")),
    }
    result = reconcile(tables)
    assert result.variants["ambiguous"].tolist() == [True, True, False]
    assert result.flip["b"].tolist() == [False, True, False]
    assert result.sites["strand"].tolist() == [0, 0]
    strict = reconcile(tables, ambiguous="drop")
    assert kept(strict) == [("1", 3, "A", "C")]
    assert reasons(strict) == {"ambiguous strand": 2}


@pytest.mark.parametrize("pair", [("A", "B"), ("AT", "A"), ("A", "ACG"), ("<DEL>", "N")])
def test_other_alleles_have_no_strand(pair: tuple[str, str]) -> None:
    result = reconcile({"a": table(("1", 5, *pair)), "b": table(("1", 5, *pair[::-1]))})
    assert result.flip["b"].tolist() == [True]
    assert not result.variants["ambiguous"].any()


def test_an_insertion_is_not_matched_on_the_other_strand() -> None:
    result = reconcile({"a": table(("1", 5, "AT", "A")), "b": table(("1", 5, "TA", "T"))})
    assert reasons(result) == {"other alleles at a site": 2}


def test_what_a_site_lacks_is_dropped_and_reported() -> None:
    result = reconcile(
        {
            "a": table(("1", 1, "A", "C"), ("1", 2, "A", "C"), ("1", 3, "A", "C")),
            "b": table(("1", 1, "A", "C"), ("1", 2, "A", "G")),
            "c": table(("1", 1, "A", "C"), ("1", 2, "A", "G")),
        }
    )
    assert kept(result) == [("1", 1, "A", "C")]
    shown = result.dropped[["base_pair_location", "allele2", "sites", "reason"]]
    assert list(shown.itertuples(index=False, name=None)) == [
        (2, "C", "a", "other alleles at a site"),
        (2, "G", "b,c", "other alleles at a site"),
        (3, "C", "a", "absent at a site"),
    ]
    assert result.counts["kept"] == 1


def test_several_pairs_at_one_position_are_several_variants() -> None:
    rows = [("1", 1, "A", "C"), ("1", 1, "G", "A"), ("1", 1, "A", "T")]
    result = reconcile({"a": table(*rows), "b": table(*rows)})
    assert sorted(kept(result)) == sorted(rows)


@pytest.mark.parametrize("second", [("A", "C"), ("C", "A"), ("G", "T")])
def test_what_a_site_lists_twice_is_dropped_everywhere(second: tuple[str, str]) -> None:
    result = reconcile(
        {
            "a": table(("1", 1, "A", "C"), ("1", 2, "A", "C")),
            "b": table(("1", 1, "A", "C"), ("1", 1, *second), ("1", 2, "A", "C")),
        }
    )
    assert kept(result) == [("1", 2, "A", "C")]
    assert reasons(result) == {"listed twice": 1}
    assert result.dropped.loc[0, "sites"] == "a,b"


@pytest.mark.parametrize(
    ("unseen", "completed"),
    [
        (("0", "C"), ("A", "C")),
        (("C", "0"), ("C", "A")),
        (("0", "G"), ("T", "G")),
        ((".", "A"), ("C", "A")),
    ],
)
def test_an_unseen_allele_is_completed(unseen: tuple[str, str], completed: tuple[str, str]) -> None:
    """What an incomplete row becomes is what the complete row would have been."""
    other = table(("1", 1, "A", "C"))
    result = reconcile({"a": other, "b": table(("1", 1, *unseen))})
    expected = reconcile({"a": other, "b": table(("1", 1, *completed))})
    assert kept(result) == kept(expected) == [("1", 1, "A", "C")]
    assert result.flip["b"].tolist() == expected.flip["b"].tolist()
    assert result.sites["completed"].tolist() == [0, 1]
    reference = reconcile({"b": other, "a": table(("1", 1, *unseen))})
    assert kept(reference) == [("1", 1, *completed)]


@pytest.mark.parametrize(
    ("others", "unseen"),
    [
        ([("1", 1, "A", "T")], ("0", "C")),  # does not fit
        ([("1", 1, "A", "C"), ("1", 1, "A", "G")], ("0", "A")),  # two pairs fit
        ([("1", 1, "AC", "A")], ("0", "T")),  # no strand
        ([("1", 1, "0", "A")], ("0", "A")),  # nobody knows
        ([("1", 1, "A", "C")], ("0", "0")),  # nothing to go by
        ([("1", 2, "A", "C")], ("0", "A")),  # elsewhere
    ],
)
def test_an_unseen_allele_that_remains_unknown_is_reported(
    others: list[Row], unseen: tuple[str, str]
) -> None:
    result = reconcile({"a": table(*others), "b": table(("1", 1, *unseen))})
    assert len(result) == 0
    assert reasons(result)["unknown allele"] >= 1


def test_variants_without_a_place_are_reported_each() -> None:
    rows = [("0", 1, "A", "C"), ("0", 1, "A", "C"), ("1", 0, "A", "C")]
    assert reasons(reconcile({"a": table(*rows), "b": table(*rows)})) == {"no position": 6}


def test_the_first_site_by_name_names_the_variant() -> None:
    tables = {"b": table(("1", 1, "C", "A"), rsid="b"), "a": table(("1", 1, "T", "G"), rsid="a")}
    result = reconcile(tables)
    assert result.variants.loc[0, ["effect_allele", "other_allele", "rsid"]].tolist() == ["T", "G", "a0"]
    again = reconcile(dict(reversed(tables.items())))
    pd.testing.assert_frame_equal(result.variants, again.variants)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("chr1", "1"),
        ("CHR01", "1"),
        ("23", "X"),
        ("chrX", "X"),
        ("x", "X"),
        ("25", "XY"),
        ("chrM", "MT"),
        ("0", "0"),
        ("chr", "0"),
        ("chrchr1", "1"),
        ("scaffold_7", "scaffold_7"),
        ("30", "30"),
    ],
)
def test_chromosomes_have_one_name(name: str, plain: str) -> None:
    assert normalise_chromosome(name) == plain
    assert normalise_chromosome(plain) == plain


def test_one_site_alone_keeps_what_it_can() -> None:
    assert kept(reconcile({"a": table(("1", 1, "A", "C"))})) == [("1", 1, "A", "C")]


def test_nothing_to_reconcile() -> None:
    assert len(reconcile({"a": table(), "b": table()})) == 0
    assert reasons(reconcile({"a": table(("1", 1, "A", "C")), "b": table()})) == {"absent at a site": 1}
    with pytest.raises(ValueError, match="no tables"):
        reconcile({})
    with pytest.raises(ValueError, match="'keep', 'drop' or 'frequency'"):
        reconcile({"a": table()}, ambiguous="flag")  # type: ignore[arg-type]


# Against an independent oracle -------------------------------------------------------------------------

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def oracle(sites: dict[str, list[Row]]) -> dict[tuple[str, int, frozenset[str]], dict[str, tuple[int, str]]]:
    """Match complete variants one at a time: key → site → (row, allele 1 on the key's strand)."""

    def key_of(row: Row) -> tuple[tuple[str, int, frozenset[str]], str]:
        chromosome, position, one, two = row
        bases = {one, two}
        if bases <= set("ACGT") and two != one.translate(COMPLEMENT) and "A" not in bases:
            one, two = one.translate(COMPLEMENT), two.translate(COMPLEMENT)
        return (chromosome, position, frozenset((one, two))), one

    found: dict[tuple[str, int, frozenset[str]], dict[str, tuple[int, str]]] = {}
    times: Counter[tuple[str, object]] = Counter()
    for site, rows in sites.items():
        for number, row in enumerate(rows):
            key, one = key_of(row)
            found.setdefault(key, {})[site] = (number, one)
            times[site, key] += 1
    return {
        key: by_site
        for key, by_site in found.items()
        if len(by_site) == len(sites) and all(times[site, key] == 1 for site in sites)
    }


alleles = st.lists(st.sampled_from(["A", "C", "G", "T", "AT", "B"]), min_size=2, max_size=2, unique=True)
listed = st.tuples(st.sampled_from(["1", "2", "X"]), st.integers(1, 3), alleles).map(
    lambda v: (v[0], v[1], *v[2])
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.lists(listed, max_size=25), min_size=1))
def test_agrees_with_the_oracle(sites: dict[str, list[Row]]) -> None:
    result = reconcile({site: table(*rows) for site, rows in sites.items()})
    expected = oracle(sites)
    assert len(result) == len(expected)
    first = min(sites)
    by_reference = {by_site[first][0]: by_site for by_site in expected.values()}
    for number, reference in enumerate(result.index[first]):
        by_site = by_reference[int(reference)]
        for site in sites:
            assert result.index[site][number] == by_site[site][0]
            assert result.flip[site][number] == (by_site[site][1] != by_site[first][1])
    assert len(result.dropped) + len(result) == len(
        {key for site in sites for key in oracle_keys(sites[site])}
    )


def oracle_keys(rows: list[Row]) -> set[object]:
    return {key for number, row in enumerate(rows) for key in oracle({"only": [row]})}


# The wire ----------------------------------------------------------------------------------------------

EXAMPLE = table(("chr1", 1, "A", "C"), ("23", 2, ".", "gt"), ("1", 5, "T", "<INS>"))


def assert_same(one: VariantTable, two: VariantTable) -> None:
    for name in ("chromosome", "allele1", "allele2"):
        assert getattr(one, name).names == getattr(two, name).names
        np.testing.assert_array_equal(getattr(one, name).codes, getattr(two, name).codes)
    np.testing.assert_array_equal(one.position, two.position)
    np.testing.assert_array_equal(one.rsid, two.rsid)


@pytest.mark.parametrize("example", [EXAMPLE, table()])
def test_the_wire_carries_a_table(example: VariantTable) -> None:
    assert_same(VariantTable.from_wire(example.to_wire()), example)


def test_many_alleles_take_wider_codes() -> None:
    many = table(*[("1", i + 1, "A", "A" * (i + 2)) for i in range(300)])
    assert_same(VariantTable.from_wire(many.to_wire()), many)


def test_fingerprints_are_equal_for_equal_tables_alone() -> None:
    assert EXAMPLE.fingerprint() == VariantTable.from_wire(EXAMPLE.to_wire()).fingerprint()
    same = table(("1", 1, "a", "c"), ("X", 2, "0", "GT"), ("01", 5, "T", "<ins>"))
    assert same.fingerprint() == EXAMPLE.fingerprint()
    different = {
        table(("1", 1, "A", "C")).fingerprint(),
        table(("1", 1, "C", "A")).fingerprint(),
        table(("1", 2, "A", "C")).fingerprint(),
        table(("2", 1, "A", "C")).fingerprint(),
        table(("1", 1, "A", "C"), rsid="x").fingerprint(),
    }
    assert len(different) == 5


def byte(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def text(value: str) -> np.ndarray:
    return np.frombuffer(value.encode(), np.uint8)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("position", None, "does not consist of"),
        ("extra", byte(), "does not consist of"),
        ("position", "text", "position: not an array of bytes"),
        ("position", np.zeros(3), "position: not an array of bytes"),
        ("position", np.zeros((3, 4), np.uint8), "position: not an array of bytes"),
        ("position", byte(1, 2, 3), "position: 3 bytes do not make numbers of 4"),
        ("position", byte(*[255] * 12), "position: beyond any chromosome"),
        ("position", byte(1, 0, 0, 0), "chromosome: 3 entries for 1 positions"),
        ("allele1", byte(0, 0), "allele1: 2 entries for 3 positions"),
        ("allele1", byte(0, 1, 200), "allele1: a code beyond the 3 names"),
        ("allele1_names", byte(), "allele1: a code beyond the 0 names"),
        ("allele1_names", text("A\nT\n0\n"), "allele1_names: not sorted"),
        ("allele1_names", text("0\nA\nA\n"), "allele1_names: not sorted, or not distinct"),
        ("allele1_names", text("0\nA\nt\n"), "allele1_names: not in normal form"),
        ("chromosome_names", text("1\nchrX\n"), "chromosome_names: not in normal form"),
        ("chromosome_names", text("\nX\n"), "chromosome_names: not in normal form"),
        ("rsid", text("a\nb\n"), "rsid: 2 entries for 3 positions"),
        ("rsid", text("a\nb\nc"), "rsid: the last text has no end"),
        ("rsid", text("a\nb\n\x1b[2Jc\n"), "rsid: unprintable characters"),
        ("rsid", byte(255, 10), "rsid: not UTF-8"),
    ],
)
def test_a_hostile_table_is_refused(part: str, value: object, message: str) -> None:
    wire: dict[str, object] = dict(EXAMPLE.to_wire())
    if value is None:
        del wire[part]
    else:
        wire[part] = value
    with pytest.raises(DataError, match=f"the variant table of site b: {message}") as caught:
        VariantTable.from_wire(wire, site="b")
    assert caught.value.site == "b"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(EXAMPLE.to_wire())), st.binary(max_size=12))
def test_no_bytes_break_the_decoder(part: str, value: bytes) -> None:
    wire: dict[str, object] = {**EXAMPLE.to_wire(), part: np.frombuffer(value, np.uint8)}
    try:
        table = VariantTable.from_wire(wire)
    except DataError:
        return
    reconcile({"a": EXAMPLE, "b": table})


@given(st.text())
def test_normal_forms_are_final(name: str) -> None:
    """A normalised name is what `from_wire` accepts, whatever a file says."""
    assert normalise_allele(normalise_allele(name)) == normalise_allele(name)
    assert normalise_chromosome(normalise_chromosome(name)) == normalise_chromosome(name)


def test_a_name_that_would_break_the_wire_is_not_sent() -> None:
    with pytest.raises(DataError, match="control characters"):
        table(("1", 1, "A", "C"), rsid="a\nb").to_wire()


def test_missing_values_in_a_frame_are_refused() -> None:
    frame = pd.DataFrame(
        {"chromosome": ["1", None], "base_pair_location": 1, "allele1": "A", "allele2": "C", "rsid": "r"}
    )
    with pytest.raises(DataError, match="missing values in column 'chromosome'"):
        VariantTable.from_frame(frame)
