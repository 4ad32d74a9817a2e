"""The privacy budget: it never says less than was released, whatever happens to process, machine or file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedstats as fs
from fedstats.audit import Entry, Head
from fedstats.errors import BudgetError
from fedstats.ledger import Ledger
from fedstats.site import Site

TENTH = Fraction(1, 10)
HEAD = 'name = "a"\nkeys = "keys"\nfederation = "federation.toml"\n\n[data]\npatients = "p.csv"\n\n'


def entry(event: str, **body: object) -> Entry:
    return Entry(Head(), "2026-01-01", event, body)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "budget.sqlite", {"patients": Fraction(1)})


def test_what_is_reserved_or_spent_counts(ledger: Ledger) -> None:
    one = ledger.reserve("patients", "mean#2", TENTH)
    two = ledger.reserve("patients", "ols#3", 2 * TENTH)
    other = ledger.reserve("controls", "mean#4", Fraction(50))
    assert (one.number, two.number, other.number) == (1, 2, 3)
    assert ledger.left("patients") == 7 * TENTH
    ledger.settle(one, "spent")
    assert ledger.left("patients") == 7 * TENTH
    ledger.settle(two, "returned")
    assert ledger.left("patients") == 9 * TENTH
    assert ledger.left("controls") is None
    assert ledger.spent("controls") == 50
    assert [its.state for its in ledger.reservations()] == ["spent", "returned", "reserved"]


def test_what_is_settled_stays_so(ledger: Ledger) -> None:
    one = ledger.reserve("patients", "mean#2", TENTH)
    ledger.settle(one, "spent")
    ledger.settle(one, "returned")
    assert ledger.spent("patients") == TENTH


def test_the_last_bit_of_a_budget_can_be_spent_and_no_more(ledger: Ledger) -> None:
    for number in range(10):
        ledger.reserve("patients", f"mean#{number}", TENTH)  # floats would not add up to 1
    with pytest.raises(BudgetError, match=r"mean#11 costs rho = 1e-30.*budget of 1 for 'patients'.* 0 left"):
        ledger.reserve("patients", "mean#11", Fraction(1, 10**30))
    with pytest.raises(ValueError, match="more than nothing"):
        ledger.reserve("patients", "mean#12", Fraction(0))
    assert len(ledger.reservations()) == 10


@given(st.lists(st.fractions(Fraction(1, 10**9), 1), max_size=12))
@settings(max_examples=30, deadline=None)
def test_no_order_of_requests_exceeds_the_limit(costs: list[Fraction]) -> None:
    ledger = Ledger(None, {"d": Fraction(1)})
    granted = Fraction(0)
    for cost in costs:
        try:
            ledger.reserve("d", "mean", cost)
            granted += cost
        except BudgetError:
            assert granted + cost > 1
    assert granted == ledger.spent("d") <= 1


def test_it_is_kept_for_the_next_session_and_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    first = Ledger(path, {"patients": Fraction(1)})
    first.reserve("patients", "mean#2", TENTH)
    first.close()
    assert Ledger(path, {"patients": Fraction(1)}).left("patients") == 9 * TENTH
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_of_requests_at_the_limit_exactly_one_passes(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    limits = {"patients": 3 * TENTH}

    def ask(number: int) -> bool:
        ledger = Ledger(path, limits)  # as another process has it: a connection of its own
        try:
            ledger.reserve("patients", f"mean#{number}", 2 * TENTH)
        except BudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(24))) == 1
    assert Ledger(path, limits).spent("patients") == 2 * TENTH


# What is done to the file


def edit(base: sqlite3.Connection) -> None:
    base.execute("UPDATE reservations SET rho = '1/100' WHERE number = 2")


def delete(base: sqlite3.Connection) -> None:
    base.execute("DELETE FROM reservations WHERE number = 2")


def cut(base: sqlite3.Connection) -> None:
    base.execute("DELETE FROM reservations WHERE number = 3")


def give_back(base: sqlite3.Connection) -> None:
    base.execute("UPDATE reservations SET state = 'returned' WHERE number = 3")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (None, ""),
        (edit, "reservation 2 of .*budget.sqlite is not as it was made"),
        (delete, "reservation 3 of .*is not as it was made, or the one before it is gone"),
        (cut, "lacks reservation 3, which the audit log holds"),
        (give_back, "reservation 3 of .* counts as returned, and the audit log knows nothing"),
    ],
)
def test_tampering_is_named(
    tmp_path: Path, tamper: Callable[[sqlite3.Connection], None] | None, message: str
) -> None:
    ledger = Ledger(tmp_path / "budget.sqlite")
    made = [ledger.reserve("patients", f"mean#{number}", TENTH) for number in range(3)]
    ledger.settle(made[0], "returned")
    ledger.close()
    log = [entry("budget.reserved", number=its.number, digest=its.digest) for its in made]
    log.append(entry("budget.returned", number=1))
    if tamper is not None:
        with closing(sqlite3.connect(tmp_path / "budget.sqlite")) as base, base:
            tamper(base)
        with pytest.raises(fs.DataError, match=message):
            Ledger(tmp_path / "budget.sqlite").check(log)
    else:
        Ledger(tmp_path / "budget.sqlite").check(log)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    path.write_bytes(b"not a data base at all" * 99)
    with pytest.raises(fs.DataError, match="keeps its privacy budget"):
        Ledger(path)


# Killed

_KILLED = """
import os, random, signal, sys, time
from fractions import Fraction
from pathlib import Path
from fedstats import ledger as module
from fedstats import _database

folder, trials = Path(sys.argv[1]), int(sys.argv[2])
WATCHED = {module.__file__, _database.__file__}


def released(number):
    with open(folder / "released", "ab") as file:
        file.write(b"x")


def work(at_line, after):
    lines = 0

    def trace(frame, event, arg):
        nonlocal lines
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            lines += 1
            if lines == at_line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if after is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default ends the process at once
        signal.setitimer(signal.ITIMER_REAL, after)
    else:
        sys.settrace(trace)
    ledger = module.Ledger(folder / "budget.sqlite")
    for number in range(3):
        reservation = ledger.reserve("patients", f"mean#{number}", Fraction(1))
        released(number)
        ledger.settle(reservation, "spent")
    os._exit(7)


def counts():
    ledger = module.Ledger(folder / "budget.sqlite")
    spent = ledger.spent("patients")
    ledger.check([])
    ledger.close()
    file = folder / "released"
    return spent, file.stat().st_size if file.exists() else 0


random.seed(1)
finished = killed = short = 0
for trial in range(trials):
    at_line = None if trial % 2 else trial // 2 + 1
    after = random.uniform(0.0001, 0.02) if trial % 2 else None
    child = os.fork()
    if not child:
        work(at_line, after)
    status = os.waitpid(child, 0)[1]
    killed += os.WIFSIGNALED(status)
    finished += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 7
    spent, opened = counts()
    short += spent < opened
print(finished, killed, short, opened)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_process_killed_at_any_step_leaves_it_never_short(tmp_path: Path) -> None:
    """A hundred processes killed at one line after the other, and a hundred in the middle of whatever."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), "200"], capture_output=True, text=True, check=True
    )
    finished, killed, short, opened = map(int, done.stdout.split())
    assert finished + killed == 200
    assert killed >= 100
    assert opened > 20
    assert short == 0


# In site.toml


def test_budgets_are_read_exactly(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(HEAD + "[budget]\npatients = 0.1\n")
    site = Site.load(tmp_path / "site.toml")
    assert site.budget == {"patients": TENTH}
    assert site.ledger == tmp_path.resolve() / "budget.sqlite"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patients = -1", "line 9: 'patients' in .budget. must be a number"),
        ("patients = nan", "line 9: 'patients' in .budget. must be a number"),
        ('patients = "1"', "line 9: 'patients' in .budget. must be a number"),
        ("patient = 1", "line 9: .budget. names 'patient', and .data. registers nothing"),
    ],
)
def test_budgets_that_are_not_understood_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "site.toml").write_text(f"{HEAD}[budget]\n{text}\n")
    with pytest.raises(fs.PolicyError, match=message):
        Site.load(tmp_path / "site.toml")
