"""The line: what counts as progress while a call waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from transport import frames
from transport.errors import PeerTimeout, TransportError
from transport.frames import Kind
from transport.line import Line
from transport.link import WINDOW


@pytest.fixture
def line() -> Iterator[Line]:
    loop = asyncio.new_event_loop()
    yield Line("b", 1.0, loop)
    loop.close()


def gives_up(line: Line, event: Callable[[], None]) -> bool:
    """Repeat `event` on another thread, and tell whether a call gave up by itself, before it was stopped."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.1):
            event()

    thread = threading.Thread(target=repeat)
    thread.start()
    timer = threading.Timer(20.0, line.fail, (TransportError("still waiting"),))
    timer.start()
    try:
        with pytest.raises(TransportError) as caught:
            line.recv("step")
    finally:
        timer.cancel()
        over.set()
        thread.join()
    return isinstance(caught.value, PeerTimeout) and "site b" in str(caught.value)


def test_connections_that_carry_nothing_do_not_put_off_the_timeout(line: Line) -> None:
    assert gives_up(line, lambda: line.resume(0, WINDOW))


def test_acknowledgements_of_nothing_new_do_not_put_off_the_timeout(line: Line) -> None:
    empty = frames.decode(frames.encode(Kind.ACK, credit=WINDOW))
    assert gives_up(line, lambda: line.receive(empty))


def test_a_message_that_keeps_coming_puts_off_the_timeout(line: Line) -> None:
    def program() -> None:
        for sequence in range(1, 9):
            time.sleep(0.15)
            more = sequence < 8
            line.resume(0, WINDOW)
            line.receive(
                frames.decode(frames.encode(Kind.DATA, b"x", sequence=sequence, credit=WINDOW, more=more))
            )

    thread = threading.Thread(target=program)
    thread.start()
    assert bytes(line.recv("")) == b"x" * 8
    thread.join()
