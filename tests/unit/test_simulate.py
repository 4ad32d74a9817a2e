"""Simulated sites that fail, differ, or are interrupted."""

from __future__ import annotations

import signal
import threading
import time

import pytest

import fedstats as fs
from fedstats.federation import Federation


def test_ctrl_c_stops_every_site() -> None:
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

    def program(federation: Federation, first: bool) -> None:
        if first:
            signal.pthread_kill(main, signal.SIGINT)
        with fs.errors.translated():
            federation.party.recv(next(iter(federation.party.peers)), "never sent")

    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            fs.simulate(program, [True, False, False], timeout=90.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 45
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("peer ")]


def test_ctrl_c_while_sites_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start, ran = threading.Thread.start, []

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "peer site2":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fs.simulate(lambda *_: ran.append(True), [None, None])
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("peer ")]
    assert not ran


def test_the_site_where_it_began_is_named() -> None:
    def program(federation: Federation, fails: bool) -> None:
        if fails:
            raise ZeroDivisionError
        with fs.errors.translated():
            federation.party.recv("site2", "never sent")

    with pytest.raises(ZeroDivisionError) as caught:
        fs.simulate(program, [False, True, False])
    assert caught.value.__notes__ == ["raised at site2"]
