import logging
import threading

import pytest

from fedstats import simulate
from fedstats._progress import progress, roll_call, somebody_watches


@pytest.fixture
def terminal(monkeypatch):
    """Make rich believe that standard error is a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert somebody_watches()


def work(federation, show):
    federation.show_progress = show
    with progress(federation, "gwas.linear", 4) as advance:
        advance()
        advance(3)


def test_a_bar_with_what_was_sent(terminal, capsys):
    simulate(lambda federation, show: work(federation, show), [True, False])
    err = capsys.readouterr().err
    assert "gwas.linear" in err
    assert "100%" in err
    assert "0 bytes sent" in err


def test_no_bar_where_it_is_not_wanted(terminal, capsys):
    simulate(lambda federation, show: work(federation, show), [False, False])
    assert capsys.readouterr().err == ""


def test_no_bar_where_nobody_watches(capsys):
    assert not somebody_watches()
    simulate(lambda federation, show: work(federation, show), [True, True])
    assert capsys.readouterr().err == ""


def test_the_roll_call_names_who_is_missing(terminal, capsys):
    with roll_call(["lyon", "oslo"], 30) as tell:
        thread = threading.Thread(target=tell, args=("lyon", "connected"))
        thread.start()
        thread.join()
    err = capsys.readouterr().err
    assert "waiting up to 30 s for" in err
    assert "oslo" in err
    assert "lyon" not in err.rpartition("waiting")[2]


def test_where_nobody_watches_the_roll_call_is_logged(caplog, capsys):
    caplog.set_level(logging.INFO, logger="fedstats.session")
    with roll_call(["lyon"], 30) as tell:
        tell("lyon", "connected")
    tell("lyon", "lost, reconnecting")
    assert caplog.messages == [
        "waiting up to 30 s for lyon",
        "site lyon: connected",
        "site lyon: lost, reconnecting",
    ]
    assert capsys.readouterr().err == ""
