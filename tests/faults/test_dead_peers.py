"""A peer that dies, hangs or starts again: every survivor gets a typed error that names it, in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transport_helpers import PATIENCE, hurry, outcomes

from transport.errors import (
    AbortCode,
    HandshakeRefused,
    Mismatch,
    PeerAborted,
    PeerTimeout,
    PeerUnreachable,
    TransportError,
)
from transport.grpc_mesh import GrpcMesh
from transport.loopback import LoopbackFederation

TIMEOUT = 2.0
#: A connection found broken, not resumed within the timeout, and the machine's own slowness: far below the
#: patience of who does not notice.
IN_TIME = TIMEOUT + 8.0

Start = Callable[..., "Peer"]


class Peer:
    """A site in a process of its own."""

    def __init__(self, folder: Path, name: str, program: str, timeout: float) -> None:
        script = Path(__file__).with_name("peer_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(folder), name, program, str(timeout)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, beginning: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning):
                return line
        raise AssertionError(f"the peer ended before it said {beginning!r}")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Peer] = []

    def begin(federation: LoopbackFederation, name: str, program: str, timeout: float = TIMEOUT) -> Peer:
        started.append(Peer(federation.path.parent, name, program, timeout))
        started[-1].wait_for("started")
        return started[-1]

    yield begin
    for peer in started:
        peer.stop()


def survivors(
    federation: LoopbackFederation, dead: str, timeout: float = TIMEOUT, patience: float = PATIENCE
) -> dict[str, GrpcMesh]:
    """Connect all but one, which comes by itself, with patience; then each waits for `timeout` alone."""
    keys = {name: keys for name, keys in federation.keys.items() if name != dead}
    alive = LoopbackFederation(federation.manifest, keys, federation.path)
    meshes = {}
    for name, result in outcomes(alive, timeout=patience).items():
        assert isinstance(result, GrpcMesh), result
        hurry(result, timeout)
        meshes[name] = result
    return meshes


def fails(
    call: Callable[[], object], *expected: type[TransportError], peer: str, within: float = IN_TIME
) -> TransportError:
    begun = time.monotonic()
    with pytest.raises(expected) as caught:
        call()
    assert time.monotonic() - begun <= within
    assert caught.value.peer == peer
    assert f"site {peer}" in str(caught.value)
    return caught.value


@pytest.mark.parametrize("dead", ["a", "c"])
def test_killed_while_idle(loopback, start: Start, dead: str) -> None:
    federation = loopback("a", "b", "c")
    peer = start(federation, dead, "idle", PATIENCE)
    meshes = survivors(federation, dead)
    peer.wait_for("joined")
    peer.signal(signal.SIGKILL)
    begun = time.monotonic()
    for mesh in meshes.values():
        other = next(name for name in mesh.peers if name != dead)
        # Also who waits for a living peer learns which one is gone.
        fails(lambda m=mesh, o=other: m.channel(o).recv("step"), PeerUnreachable, peer=dead)
        fails(lambda m=mesh: m.channel(dead).recv("step"), PeerUnreachable, peer=dead)
        fails(lambda m=mesh: m.channel(dead).send("step", b""), PeerUnreachable, peer=dead)
    assert time.monotonic() - begun <= IN_TIME
    for mesh in meshes.values():
        mesh.abort(AbortCode.TRANSPORT, origin=dead)


@pytest.mark.parametrize("dead", ["a", "b"])
def test_killed_in_the_middle_of_a_transfer(loopback, start: Start, dead: str) -> None:
    federation = loopback("a", "b")
    peer = start(federation, dead, "flood", PATIENCE)
    (mesh,) = survivors(federation, dead).values()
    peer.wait_for("flooding")
    channel = mesh.channel(dead)
    for _ in range(20):
        channel.recv("flood")
    peer.signal(signal.SIGKILL)

    def receive_on() -> None:
        while True:
            channel.recv("flood")

    fails(receive_on, PeerUnreachable, peer=dead)
    mesh.close()


def test_a_script_that_ends_without_closing(loopback, start: Start) -> None:
    federation = loopback("a", "b")
    start(federation, "a", "leave", PATIENCE)
    (mesh,) = survivors(federation, "a").values()
    mesh.channel("a").send("leave", b"")
    error = fails(lambda: mesh.channel("a").recv("step"), PeerAborted, peer="a")
    assert isinstance(error, PeerAborted)
    assert error.code is AbortCode.INTERRUPTED
    mesh.close()


def test_never_started(loopback) -> None:
    federation = loopback("a", "b", "c")
    begun = time.monotonic()
    alive = {name: federation.keys[name] for name in "ab"}
    results = outcomes(LoopbackFederation(federation.manifest, alive, federation.path), timeout=TIMEOUT)
    assert time.monotonic() - begun <= IN_TIME
    for name in "ab":
        error = results[name]
        # One of the two gives up first, and the other may hear of it.
        assert isinstance(error, PeerUnreachable | PeerAborted), error
        assert error.peer == "c"
    assert any(isinstance(error, PeerUnreachable) for error in results.values())


def test_killed_during_the_handshake(loopback, start: Start) -> None:
    federation = loopback("a", "b", "c")
    doomed = start(federation, "a", "idle", PATIENCE)
    other = start(federation, "b", "idle", TIMEOUT)
    doomed.wait_for("b reached")  # c is missing, so nobody has signed yet
    doomed.signal(signal.SIGKILL)
    line = other.wait_for("PeerUnreachable")
    assert "site a" in line
    assert "site c" in line


def test_stopped_process_is_noticed(loopback, start: Start) -> None:
    federation = loopback("a", "b", "c")
    peer = start(federation, "a", "idle", PATIENCE)
    # gRPC sends at most one keepalive ping a second, so a shorter timeout could blame b.
    meshes = survivors(federation, "a", timeout=4.0, patience=4.0)
    peer.wait_for("joined")
    peer.signal(signal.SIGSTOP)
    try:
        errors = (PeerUnreachable, PeerTimeout)
        # b is alive and silent because of a: a is named.
        fails(lambda: meshes["c"].channel("b").recv("step"), *errors, peer="a", within=12.0)
        fails(lambda: meshes["b"].channel("a").recv("step"), *errors, peer="a", within=12.0)
    finally:
        peer.signal(signal.SIGCONT)
    for mesh in meshes.values():
        mesh.abort(AbortCode.TRANSPORT, origin="a")


def test_a_busy_main_thread_is_not_taken_for_dead(loopback) -> None:
    federation = loopback("a", "b")
    meshes = survivors(federation, "nobody", timeout=1.5, patience=1.5)
    begun = time.monotonic()
    while time.monotonic() - begun < 3.0:
        sum(range(100_000))
    meshes["a"].channel("b").send("late", b"still here")
    assert bytes(meshes["b"].channel("a").recv("late")) == b"still here"
    for mesh in meshes.values():
        mesh.abort(AbortCode.INTERNAL)


def test_started_again_in_the_middle_of_a_session(loopback, start: Start) -> None:
    federation = loopback("a", "b", "c")
    first = start(federation, "a", "idle", PATIENCE)
    meshes = survivors(federation, "a", timeout=8.0)
    first.wait_for("joined")
    first.signal(signal.SIGKILL)
    newcomer = start(federation, "a", "idle", 8.0)
    assert newcomer.wait_for("HandshakeRefused").startswith("HandshakeRefused ")
    for mesh in meshes.values():
        with pytest.raises((HandshakeRefused, PeerAborted, PeerUnreachable)) as caught:
            mesh.channel("a").recv("step")
        assert caught.value.peer == "a"
        if isinstance(caught.value, HandshakeRefused):
            assert caught.value.mismatch is Mismatch.SESSION
        mesh.abort(AbortCode.TRANSPORT, origin="a")


def test_a_slow_peer_is_waited_for(loopback) -> None:
    federation = loopback("a", "b")
    meshes = survivors(federation, "nobody", timeout=1.5)
    for number in range(3):
        time.sleep(0.8)
        meshes["a"].channel("b").send(f"step {number}", bytes(1 << 20))
        assert len(meshes["b"].channel("a").recv(f"step {number}")) == 1 << 20
    for mesh in meshes.values():
        mesh.abort(AbortCode.INTERNAL)
