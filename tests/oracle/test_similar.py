"""Linkage of rows that are alike: links are those of plain filters, and analyses those of the linked rows."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import fedstats as fs
from fedstats.gwas.plink import write_bed
from fedstats.policy import FederationPolicy, SitePolicy
from fedstats.vertical import similar
from fedstats.vertical.similar import _slots
from protocols import field, shamir
from protocols.linkage import matching

sys.path.insert(0, str(Path(__file__).parents[1]))
from people import mistyped, people

FIELDS = {"given": "text", "family": "text", "born": "date"}
WEIGHTS = {"born": 1.5}
THRESHOLD, TYPOS = 0.8, 0.02
CLOSE, MODEL = 1e-8, 1e-6
LINEAR = "ldl ~ age + C(group) + bmi"
LOGISTIC = "dead ~ age + bmi"
COUNTS = "visits ~ age + bmi"
DESCRIBED = ["age", "dead", "bmi", "ldl", "visits"]


def tables(count: int = 240, seed: int = 5) -> list[pd.DataFrame | None]:
    """A clinic, a laboratory that mistypes, and a site without a table; `who` tells who is who."""
    random = np.random.default_rng(seed)
    whole = people(count, seed)
    n = len(whole)
    whole["who"] = np.arange(n)
    whole["age"] = random.normal(55, 12, n)
    whole["group"] = random.choice(["u", "v", "w"], n)
    whole["dead"] = (random.random(n) < 1 / (1 + np.exp((55 - whole["age"]) / 10))).astype(int)
    whole["time"] = np.ceil(random.exponential(100 * np.exp((55 - whole["age"]) / 40)))
    whole["bmi"] = np.where(random.random(n) < 0.1, np.nan, random.normal(27, 4, n))
    whole["ldl"] = 100 + 0.5 * whole["age"] + random.normal(0, 10, n)
    whole["visits"] = random.poisson(np.exp(0.3 + 0.02 * (whole["age"] - 55)))
    clinic = whole[["given", "family", "born", "sex", "who", "age", "group", "dead", "time"]].sample(
        frac=0.75, random_state=1
    )
    laboratory = whole[["given", "family", "born", "sex", "who", "bmi", "ldl", "visits"]].sample(
        frac=0.6, random_state=2
    )
    for name in ("given", "family", "born"):
        laboratory[name] = [mistyped(text, TYPOS, random) for text in laboratory[name]]
    laboratory["given"] = laboratory["given"].str.upper()
    laboratory.loc[laboratory.index[:4], "given"] = None
    laboratory.loc[laboratory.index[4], ["given", "family", "born"]] = None  # of nobody
    return [clinic, laboratory, None]


# A plain oracle of its own: filters as sets of numbers, and loops.


def plain_text(text: Any) -> str:
    spelt = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe"})
    return "".join(its for its in text.lower().translate(spelt) if its.isalnum())


def plain_filter(row: pd.Series) -> set[int]:
    tokens = []
    for name, how in FIELDS.items():
        if row[name] is None or row[name] != row[name]:
            continue
        if how == "date":
            digits = row[name].replace("-", "")
            tokens += [(name, f"{place}:{digits[place]}", 12) for place in range(8)]
        else:
            text = f"\x03{plain_text(row[name])}\x03"
            tokens += [(name, text[place : place + 2], 8) for place in range(len(text) - 1)]
    found = set()
    for name, text, hashes in tokens:
        key = hashlib.blake2b(name.encode(), digest_size=32).digest()
        digest = hashlib.blake2b(text.encode(), key=key).digest()
        found |= {int.from_bytes(digest[2 * k : 2 * k + 2], "little") % 1024 for k in range(hashes)}
    return found


def plain_links(one: pd.DataFrame, other: pd.DataFrame, block: str | None = None) -> list[tuple[int, int]]:
    """Return the links as pairs of row numbers."""
    left, right = ([plain_filter(row) for _, row in its.iterrows()] for its in (one, other))
    dice = np.full((len(one), len(other)), -1.0)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            if a and b and (block is None or one[block].iloc[i] == other[block].iloc[j]):
                dice[i, j] = 2 * len(a & b) / (len(a) + len(b))
    links = []
    for i in range(len(one)):
        j = int(dice[i].argmax())
        if dice[:, j].argmax() == i and dice[i, j] >= THRESHOLD:
            links.append((i, j))
    return links


@dataclass(frozen=True)
class Case:
    block: str | None
    tables: list[pd.DataFrame | None]
    found: list[dict[str, Any]]
    links: list[tuple[int, int]]
    joined: pd.DataFrame
    correct: int
    patients: int


def joined(one: pd.DataFrame, other: pd.DataFrame, links: list[tuple[int, int]]) -> pd.DataFrame:
    rows, columns = (list(its) for its in zip(*links, strict=True))
    left, right = one.iloc[rows].reset_index(drop=True), other.iloc[columns].reset_index(drop=True)
    return left.join(right.drop(columns=["given", "family", "born", "sex"]).rename(columns={"who": "other"}))


BLOCKS = [None, "sex"]


@pytest.fixture(scope="module", params=BLOCKS, ids=["all pairs", "blocks"])
def case(request: pytest.FixtureRequest) -> Case:
    block: str | None = request.param
    data = tables()
    clinic, laboratory, _ = data
    assert clinic is not None
    assert laboratory is not None
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, weights=WEIGHTS, block=block or ())

    def program(federation: fs.Federation, its: pd.DataFrame | None) -> dict[str, Any]:
        before = federation.cost
        kept = its if its is None else its.drop(columns=["who", *([] if block else ["sex"])])
        cohort = federation.cohort(kept, partition="vertical", on=on)
        after = federation.cost
        return {
            "cohort": cohort,
            "linking": (after.rounds - before.rounds, after.bytes_sent - before.bytes_sent),
            "linked": federation.leakage,
            "describe": fs.describe(cohort, DESCRIBED),
            "corr": fs.corr(cohort, ["age", "bmi", "ldl"]),
            "ttest": fs.ttest_ind(cohort, "ldl", by="dead"),
            "crosstab": fs.crosstab(cohort, ["group", "dead"]),
            "ols": fs.ols(LINEAR, cohort),
            "logit": fs.logit(LOGISTIC, cohort),
            "poisson": fs.glm(COUNTS, cohort, family="poisson"),
            "cox": fs.coxph("age + bmi", cohort, duration="time", event="dead"),
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "ROWS_A_BLOCK", 100)  # one block, and rows of the other sex are not linked
        found = fs.simulate(program, data)
    links = plain_links(clinic, laboratory, block)
    table = joined(clinic, laboratory, links)
    patients = len(set(clinic["who"]) & set(laboratory["who"]))
    return Case(block, data, found, links, table, int((table["who"] == table["other"]).sum()), patients)


def test_links_are_those_of_plain_filters(case: Case) -> None:
    """Put together from the shares of all sites, which no site could do."""
    cohorts = [its["cohort"] for its in case.found]
    assert [set(its.alignment.links) for its in cohorts] == [{"site1"}] * 3
    shares = [its.alignment.links["site1"] for its in cohorts]
    bits = field.to_int64(shamir.reconstruct([its.reshape(-1, 2) for its in shares], 1))
    blocks, mine, theirs = bits.reshape(shares[0].shape[:3]).nonzero()
    rows = [{place: row for row, place in enumerate(its.positions.tolist())} for its in cohorts]
    _, laboratory, _ = case.tables
    assert laboratory is not None
    named = np.flatnonzero(laboratory["family"].notna())
    width = shares[0].shape[1:3]
    found = {
        (rows[0][block * width[1] + j], int(named[rows[1][block * width[0] + i]]))
        for block, i, j in zip(blocks.tolist(), mine.tolist(), theirs.tolist(), strict=True)
    }
    assert found == set(case.links)


def test_it_is_said_how_many_are_linked(case: Case) -> None:
    cohort = case.found[0]["cohort"]
    assert cohort.sizes.each == (180, 143, 0)
    assert cohort.sizes.common == cohort.sizes.pairs[0, 1] == cohort.sizes.pairs[1, 0] == len(case.joined)
    assert cohort.sizes.union == 180 + 143 - len(case.joined)
    assert "ldl: float, at site2" in repr(cohort)
    assert not any(str(number) in repr(cohort) for number in case.joined["age"])


def test_nearly_all_are_found_and_nearly_all_links_are_true(case: Case) -> None:
    """With two per cent of the characters mistyped, exact linkage finds less than three quarters."""
    assert case.correct / case.patients >= 0.96
    assert case.correct / len(case.joined) >= 0.96
    clinic, laboratory, _ = case.tables
    assert clinic is not None
    assert laboratory is not None
    exact = clinic.merge(laboratory.assign(given=laboratory["given"].str.capitalize()), on=list(FIELDS))
    assert len(exact) / case.patients < 3 / 4


def test_all_sites_get_the_same(case: Case) -> None:
    for name in case.found[0].keys() - {"cohort", "linked", "linking"}:
        for other in case.found[1:]:
            pd.testing.assert_frame_equal(
                other[name].to_frame(), case.found[0][name].to_frame(), check_exact=True
            )


def test_descriptions_and_tests_are_those_of_the_linked_rows(case: Case) -> None:
    its, columns = case.found[0]["describe"].to_frame(), DESCRIBED
    assert its["count"].tolist() == case.joined[columns].count().tolist()
    np.testing.assert_allclose(its["mean"], case.joined[columns].mean(), rtol=CLOSE)
    np.testing.assert_allclose(its["std"], case.joined[columns].std(), rtol=CLOSE)
    np.testing.assert_allclose(
        case.found[0]["corr"].matrix, case.joined[["age", "bmi", "ldl"]].corr(), rtol=0, atol=CLOSE
    )
    groups = case.joined.groupby("dead")["ldl"]
    assert case.found[0]["ttest"].nobs.tolist() == groups.count().tolist()
    counts = pd.crosstab(case.joined["group"], case.joined["dead"], margins=True)
    np.testing.assert_array_equal(case.found[0]["crosstab"].to_frame().astype(float), counts)


def test_models_are_those_of_the_linked_rows(case: Case) -> None:
    for name, oracle in {
        "ols": smf.ols(LINEAR, case.joined).fit(),
        "logit": smf.logit(LOGISTIC, case.joined).fit(disp=0, tol=1e-14),
        "poisson": smf.poisson(COUNTS, case.joined).fit(disp=0, tol=1e-14),
    }.items():
        its = case.found[0][name]
        np.testing.assert_allclose(its.params, oracle.params[its.params.index], rtol=MODEL)
        np.testing.assert_allclose(its.bse, oracle.bse[its.params.index], rtol=MODEL)
        assert its.nobs == oracle.nobs


def test_times_may_be_of_the_site_whose_list_it_is_not(case: Case) -> None:
    assert set(case.found[0]["cohort"].alignment.links) == {"site1"}
    its, complete = case.found[0]["cox"], case.joined.dropna(subset="bmi")
    model = smf.phreg("time ~ age + bmi", complete, status=complete["dead"], ties="efron").fit()
    np.testing.assert_allclose(its.params, model.params, rtol=MODEL)
    np.testing.assert_allclose(its.bse, model.bse, rtol=MODEL)
    assert its.nobs == len(complete)


def test_what_is_revealed_is_what_is_declared(case: Case) -> None:
    declared = similar.DECLARATION
    of_blocks = set() if case.block else {"blocks", "block sizes"}
    for its in case.found:
        assert its["linked"].labels == (declared.result.keys() | declared.published.keys()) - of_blocks


def test_rounds_and_bytes(case: Case) -> None:
    """Linking 180 rows with 143 takes 12 rounds for each of 8 turns, and some 430 bytes a pair."""
    rounds, sent = (max(its["linking"][k] for its in case.found) for k in (0, 1))
    blocks, one, other, _ = case.found[0]["cohort"].alignment.links["site1"].shape
    assert (blocks, one, other) == ((1, 144, 192) if case.block else (1, 143, 180))
    # Agreement, and opening how many are linked, is what else there is; with blocks also to agree on these.
    assert rounds == 11 + 12 * 8 + (27 if case.block else 16)
    assert sent < 450 * blocks * one * other + 16 * 1025 * blocks * other + 20_000


def test_error_rates_are_those_that_were_found(case: Case) -> None:
    """Of a labelled sample exactly; simulated from one table, about so many."""
    clinic, laboratory, _ = case.tables
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, weights=WEIGHTS, block=case.block or ())
    labelled = fs.linkage.error_rates(on, clinic, laboratory, id="who", thresholds=[0.6, 0.95])
    assert labelled.patients == case.patients - 1  # one row is of nobody
    row = labelled.frame.loc[THRESHOLD]
    assert (row["links"], row["correct"]) == (len(case.joined), case.correct)
    assert labelled.frame["links"].is_monotonic_decreasing
    assert labelled.frame.loc[0.95, "sensitivity"] < 0.9
    simulated = fs.linkage.error_rates(on, clinic, typos=TYPOS, missing=0.01, seed=1)
    assert abs(simulated.frame.loc[THRESHOLD, "sensitivity"] - case.correct / case.patients) < 0.08
    assert abs(simulated.frame.loc[THRESHOLD, "ppv"] - case.correct / len(case.joined)) < 0.05


# Other tables and other sites


def test_three_tables_are_linked_with_the_smallest() -> None:
    clinic, laboratory, _ = tables(120)
    assert clinic is not None
    assert laboratory is not None
    registry = clinic[["given", "family", "born"]].assign(stage=np.arange(len(clinic)) % 4).iloc[5:60]
    registry["family"] = registry["family"].str.replace("e", "ee", n=1)
    names = ["given", "family", "born"]
    data = [
        clinic[[*names, "age", "dead", "who"]].rename(columns={"who": "a"}),
        laboratory[[*names, "ldl", "who"]].rename(columns={"who": "b"}),
        registry,
    ]
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, weights=WEIGHTS)

    def program(federation: fs.Federation, its: pd.DataFrame) -> tuple[Any, Any]:
        cohort = federation.cohort(its.drop(columns=["a", "b"], errors="ignore"), partition="vertical", on=on)
        with pytest.raises(fs.DataError, match="must be a column of that site, not of site1"):
            fs.coxph("ldl + stage", cohort, duration="age", event="dead")
        return cohort.sizes, fs.describe(cohort, ["age", "ldl", "stage"]).to_frame()

    sizes, described = fs.simulate(program, data)[0]
    first, second = dict(plain_links(registry, clinic)), dict(plain_links(registry, laboratory))
    both = sorted(first.keys() & second.keys())
    assert sizes.common == len(both) > 10
    assert sizes.pairs[0].tolist() == [len(clinic), len(both), len(first)]
    assert sizes.pairs[2].tolist() == [len(first), len(second), 55]
    expected = [
        clinic["age"].iloc[[first[row] for row in both]].mean(),
        laboratory["ldl"].iloc[[second[row] for row in both]].mean(),
        registry["stage"].iloc[both].mean(),
    ]
    np.testing.assert_allclose(described["mean"], expected, rtol=CLOSE)


def test_a_scan_of_genotypes_is_that_of_the_linked_rows(tmp_path: Path) -> None:
    clinic, biobank, _ = tables(120)
    assert clinic is not None
    assert biobank is not None
    random = np.random.default_rng(1)
    calls = random.binomial(2, 0.3, (12, 120)).astype(np.int8)
    listed = pd.DataFrame(
        {
            "chromosome": "1",
            "rsid": [f"rs{number}" for number in range(12)],
            "base_pair_location": 1 + np.arange(12),
            "allele1": "A",
            "allele2": "C",
        }
    )
    write_bed(tmp_path / "biobank", calls, listed, pd.DataFrame({"iid": [f"s{k}" for k in range(120)]}))
    names = ["given", "family", "born"]
    biobank = biobank[[*names, "who"]].assign(iid=[f"s{who}" for who in biobank["who"]])
    data = [
        (clinic[[*names, "age", "who"]], None),
        (biobank.drop(columns="who"), tmp_path / "biobank.bed"),
        (None, None),
    ]
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, weights=WEIGHTS)

    def program(federation: fs.Federation, its: tuple[pd.DataFrame | None, Path | None]) -> pd.DataFrame:
        rows, path = its
        rows = rows if rows is None else rows.drop(columns="who", errors="ignore")
        cohort = federation.cohort(rows, partition="vertical", on=on, id="iid")
        return fs.gwas.linear(federation.genotypes(path), cohort, trait="age", missing="impute").to_frame()

    found = fs.simulate(program, data)[0]
    rows, columns = (list(its) for its in zip(*plain_links(clinic, biobank), strict=True))
    y, g = clinic["age"].to_numpy()[rows], calls[:, biobank["who"].to_numpy()[columns]].astype(float)
    centred = g - g.mean(axis=1, keepdims=True)
    beta = centred @ y / (centred**2).sum(axis=1)
    alleles = listed["allele1"].to_numpy() == found["effect_allele"].to_numpy()
    np.testing.assert_allclose(np.abs(found["beta"]), np.abs(beta), rtol=MODEL)
    assert alleles.all() or not alleles.any()


def test_two_sites_with_no_trusted_majority() -> None:
    data = [its.head(12) for its in tables(40)[:2] if its is not None]
    data[1] = data[0][["given", "family", "born"]].assign(ldl=np.arange(12.0)).iloc[::-1]
    data[1]["family"] = data[1]["family"] + "x"
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, bits=256)

    def program(federation: fs.Federation, its: pd.DataFrame) -> Any:
        cohort = federation.cohort(its, partition="vertical", on=on)
        return cohort.sizes.common, fs.corr(cohort, ["age", "ldl"]).matrix

    common, matrix = fs.simulate(
        program,
        [data[0][["given", "family", "born", "age"]], data[1]],
        policy=SitePolicy(allow_two_site_sums=True),
        shared=FederationPolicy(security="dishonest-majority"),
    )[0]
    assert common == 12
    expected = np.corrcoef(data[0]["age"], np.arange(12.0))[0, 1]
    np.testing.assert_allclose(matrix.loc["age", "ldl"], expected, rtol=CLOSE)


def test_rows_are_laid_out_in_their_order() -> None:
    assert _slots(np.array([2, 0, 2, 2, 1, 0])).tolist() == [0, 0, 1, 2, 0, 1]
    assert _slots(np.array([], np.int64)).tolist() == []


# What cannot be done


def link(on: Any, *data: pd.DataFrame | None, **options: Any) -> list[str]:
    def run(federation: fs.Federation, its: pd.DataFrame | None) -> str:
        with pytest.raises(fs.FedStatsError) as caught:
            federation.cohort(its, partition="vertical", on=on)
        return f"{type(caught.value).__name__}: {caught.value}"

    return fs.simulate(run, list(data), **options)


def test_tables_that_cannot_be_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    clinic, laboratory, _ = tables(60)
    assert clinic is not None
    assert laboratory is not None
    names = ["given", "family", "born"]
    clinic, laboratory = clinic[[*names, "age"]], laboratory[[*names, "ldl"]]
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD)
    assert "no column 'born'" in link(on, clinic, laboratory.drop(columns="born"), None)[1]
    twice = pd.concat([clinic, clinic.head(2)])
    assert "2 rows are written like a row before" in link(on, twice, laboratory, None)[0]
    bad = laboratory.assign(born="01/31/1990")
    assert "are no dates" in link(on, clinic, bad, None)[1]
    assert any("fewer than 5 patients" in its for its in link(on, clinic.head(3), laboratory, None))
    nobody = laboratory.assign(given=None, family=None, born=None)
    assert all("site site2 has no row with identifiers" in its for its in link(on, clinic, nobody, None))
    strangers = laboratory.assign(given="x", family=[f"q{k}z{k}j" for k in range(len(laboratory))])
    assert all(
        "fewer than 5 patients (min_cell) are linked" in its for its in link(on, clinic, strangers, None)
    )
    monkeypatch.setattr(similar, "MOST_PAIRS", 100)
    assert all(
        "pairs of rows would be compared, where 100 can be" in its
        for its in link(on, clinic, laboratory, None)
    )
    monkeypatch.undo()
    monkeypatch.setattr(similar, "MOST_ROWS", 10)
    assert all("rows, filled up to" in its for its in link(on, clinic, laboratory, None))


def test_sites_that_compare_otherwise() -> None:
    clinic, laboratory, _ = tables(60)

    def run(federation: fs.Federation, its: pd.DataFrame | None) -> str:
        threshold = 0.8 if federation.site == "site1" else 0.9
        with pytest.raises(fs.DataError, match="do not name the same columns"):
            federation.cohort(its, partition="vertical", on=fs.linkage.similar(FIELDS, threshold=threshold))
        return federation.site

    assert len(fs.simulate(run, [clinic, laboratory, None])) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"fields": {}}, "fields maps the columns"),
        ({"fields": ["given"]}, "fields maps the columns"),
        ({"fields": {"given": "fuzzy"}}, "compared as 'fuzzy': use 'text', 'date', 'exact'"),
        ({"fields": {"": "text"}}, "name columns"),
        ({"threshold": 0}, "threshold is above 0"),
        ({"threshold": 1.2}, "threshold is above 0"),
        ({"threshold": float("nan")}, "threshold is above 0"),
        ({"weights": {"sex": 1}}, "'sex', which is no field"),
        ({"weights": {"born": 0}}, "the weight of field 'born' is not between"),
        ({"weights": {"born": 9}}, "the weight of field 'born' is not between"),
        ({"weights": {"born": float("inf")}}, "the weight of field 'born' is not between"),
        ({"block": ["sex", "sex"]}, "names a column twice"),
        ({"bits": 1000}, "bits is a power of two"),
        ({"bits": 8192}, "bits is a power of two"),
        ({"threshold": "high"}, "threshold is above 0"),
        ({"weights": ["born"]}, "weights maps fields to numbers"),
        ({"weights": {"born": "high"}}, "the weight of field 'born' is not between"),
        ({"block": 3}, "block names a column, or several"),
        ({"key": "k" * 65}, "key is a text of at most 64 bytes"),
        ({"key": b"k"}, "key is a text of at most 64 bytes"),
    ],
)
def test_what_cannot_be_compared(call: dict[str, Any], message: str) -> None:
    with pytest.raises(fs.DataError, match=message):
        fs.linkage.similar(**{"fields": FIELDS, "threshold": 0.8, **call})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"typos": 1}, "typos is a probability"),
        ({"missing": -0.1}, "missing is a probability"),
        ({"overlap": 0}, "overlap is a part"),
        ({"thresholds": [0.0]}, "thresholds are above 0"),
        ({"id": "who"}, "other= is a second table"),
        ({"other": people(9), "id": "who"}, "no column 'who'"),
        ({"other": people(9), "id": "given"}, "has a value twice"),
        ({"table": people(9).head(1), "overlap": 0.4}, "too few"),
        ({"table": pd.concat([people(9)] * 700)}, "give a sample"),
    ],
)
def test_rates_that_cannot_be_told(call: dict[str, Any], message: str) -> None:
    on = fs.linkage.similar(FIELDS, threshold=0.8)
    with pytest.raises(fs.DataError, match=message):
        fs.linkage.error_rates(on, **{"table": people(30), **call})


def test_a_threshold_is_chosen_by_the_links_that_are_true() -> None:
    on = fs.linkage.similar(FIELDS, threshold=0.8)
    found = fs.linkage.error_rates(on, people(600), typos=0.03)
    chosen = found.threshold_for(0.98)
    assert found.frame.loc[chosen, "ppv"] >= 0.98 > found.frame["ppv"].iloc[0]
    assert (found.frame.loc[chosen:, "ppv"] >= 0.98).all()
    assert "0.8" in found.summary()
    assert fs.linkage.error_rates(on, people(600), typos=0.03).frame.equals(found.frame)
    with pytest.raises(fs.DataError, match="at no threshold"):
        found.threshold_for(1.01)


def test_what_is_moved_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are worked on one after the other, as of large tables."""
    clinic, laboratory, _ = tables(60)
    on = fs.linkage.similar(FIELDS, threshold=THRESHOLD, block="sex")
    assert clinic is not None
    assert laboratory is not None

    def program(federation: fs.Federation, its: pd.DataFrame | None) -> int:
        return federation.cohort(
            its if its is None else its.drop(columns="who"), partition="vertical", on=on
        ).sizes.common

    monkeypatch.setattr(matching, "PAIRS_HELD", 1)
    monkeypatch.setattr(similar, "ROWS_A_BLOCK", 10)
    expected = len(plain_links(clinic, laboratory, "sex"))
    assert fs.simulate(program, [clinic, laboratory, None]) == [expected] * 3
