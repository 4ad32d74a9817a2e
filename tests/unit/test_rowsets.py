"""Differencing: analyses over nearly the same rows are refused, in one session and over several."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.policy import SitePolicy
from fedstats.rowsets import RowSets

ROWS = 40
CAREFUL = SitePolicy(min_difference=5)


def frame(site: str) -> pd.DataFrame:
    random = np.random.default_rng(ord(site))
    return pd.DataFrame(
        {
            "pid": [f"{site}{row:03d}" for row in range(ROWS)],
            "x": random.normal(size=ROWS),
            "y": random.normal(size=ROWS),
        }
    )


def keep(rows: int | slice) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.iloc[rows if isinstance(rows, slice) else slice(rows)]


def blanked(many: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(x=table["x"].where(np.arange(len(table)) >= many))


def replaced(many: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        new = table.head(many).assign(pid=[f"new{row}" for row in range(many)], x=9.0)
        return pd.concat([table.iloc[many:], new])

    return change


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=3)


def describe(cohort: Cohort) -> object:
    return fs.describe(cohort, ["x"], disclose="aggregate")


def ols(cohort: Cohort) -> object:
    return fs.ols("y ~ x", cohort, disclose="aggregate")


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize(
    ("change", "program", "refused"),
    [
        (shuffled, describe, False),
        (keep(ROWS - 1), describe, True),
        (keep(ROWS - 4), describe, True),
        (keep(ROWS - 5), describe, False),
        (blanked(1), describe, True),
        (blanked(1), ols, True),
        (blanked(5), ols, False),
        (replaced(1), describe, True),
        (replaced(5), describe, False),
    ],
    ids=["same", "1 out", "4 out", "5 out", "1 blank", "1 blank, ols", "5 blank, ols", "1 new", "5 new"],
)
def test_rows_that_differ_by_a_few_are_refused_by_the_site_that_has_them(
    with_id: bool,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    program: Callable[[Cohort], object],
    refused: bool,
) -> None:
    def run(federation: fs.Federation, site: str) -> str:
        # The second site alone has the rule, and the rows that change.
        federation.policy = CAREFUL if site == "b" else SitePolicy()
        options = {"id": "pid"} if with_id else {}
        first = federation.cohort(frame(site), **options)
        second = federation.cohort(change(frame(site)) if site == "b" else frame(site), **options)
        program(first)
        before = {its for its in federation.leakage if its.kind != "published"}
        try:
            program(second)
        except fs.FedStatsError as error:
            refusal = error
        else:
            return ""
        assert before == {its for its in federation.leakage if its.kind != "published"}
        program(first)  # the same rows as then may be analysed again
        if site == "b":
            assert "min_difference = 5 forbids it" in str(refusal)
            assert "use the same rows as then" in str(refusal)
        return type(refusal).__name__

    expected = ["RemoteError", "PolicyError", "RemoteError"] if refused else ["", "", ""]
    assert fs.simulate(run, [*"abc"]) == expected


def test_other_columns_and_other_functions_are_other_questions() -> None:
    def run(federation: fs.Federation, site: str) -> None:
        whole = federation.cohort(frame(site), id="pid")
        part = federation.cohort(frame(site).iloc[1:], id="pid")
        describe(whole)
        fs.describe(part, ["y"], disclose="aggregate")
        ols(part)

    fs.simulate(run, [*"abc"], policy=CAREFUL)


def test_without_the_rule_nothing_is_refused_or_remembered() -> None:
    def run(federation: fs.Federation, site: str) -> None:
        for rows in (ROWS, ROWS - 1):
            describe(federation.cohort(frame(site).head(rows), id="pid"))
        assert federation._row_sets is None

    fs.simulate(run, [*"abc"])


def test_a_site_remembers_over_sessions_and_keeps_no_id(tmp_path: Path) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    text = sites["b"].path.read_text()
    sites["b"].path.write_text(text.replace("min_difference = 1", "min_difference = 5"))

    def analyse(rows: int) -> Callable[[fs.Federation, str], object]:
        return lambda federation, site: describe(federation.cohort(frame(site).head(rows), id="pid"))

    session(sites, analyse(ROWS))
    with pytest.raises(fs.PolicyError, match="min_difference = 5 forbids it"):
        session(sites, analyse(ROWS - 1))
    session(sites, analyse(ROWS))

    base, key = sites["b"].row_sets, sites["b"].keys / "rowsets.key"
    assert not sites["a"].row_sets.exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (base, key)} == {0o600}
    kept = b"".join(path.read_bytes() for path in base.parent.glob("rowsets.sqlite*"))
    assert b"b000" not in kept
    assert key.read_bytes() not in kept


def test_an_analysis_that_others_refused_is_not_remembered() -> None:
    def run(federation: fs.Federation, site: str) -> None:
        whole, part = (federation.cohort(frame(site).head(rows), id="pid") for rows in (ROWS, ROWS - 1))
        federation.policy = SitePolicy(min_difference=5, deny_functions=("describe",) if site == "a" else ())
        with pytest.raises(fs.FedStatsError):
            describe(whole)
        federation.policy = CAREFUL
        describe(part)

    fs.simulate(run, [*"abc"])


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rowsets.sqlite"
    path.write_bytes(b"not a data base at all" * 99)
    with pytest.raises(fs.DataError, match="remembers of its row sets"):
        RowSets.open(path, tmp_path / "rowsets.key")


def test_a_file_of_another_form_is_refused_and_kept(tmp_path: Path) -> None:
    """As of before rows were hashed by AES: nothing in it would ever be near to what is analysed now."""
    sites = federate(tmp_path, "a", "b", "c")
    text = sites["b"].path.read_text()
    sites["b"].path.write_text(text.replace("min_difference = 1", "min_difference = 5"))
    path = sites["b"].row_sets

    def analyse(federation: fs.Federation, site: str) -> object:
        return describe(federation.cohort(frame(site), id="pid"))

    session(sites, analyse)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (1,)
        base.execute("PRAGMA user_version = 0")
        kept = base.execute("SELECT * FROM row_sets").fetchall()
    with pytest.raises(fs.DataError, match=r"row sets, is written in form 0, .* keep the file under another"):
        session(sites, analyse)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT * FROM row_sets").fetchall() == kept
        assert base.execute("PRAGMA user_version").fetchone() == (0,)
    path.rename(path.with_suffix(".old"))
    session(sites, analyse)
