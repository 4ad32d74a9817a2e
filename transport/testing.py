"""The conformance suite: what every mesh must pass, for whoever writes another one.

Subclass `MeshConformance` in a test module and say how meshes are made::

    class TestMyMesh(MeshConformance):
        def make_meshes(self, names, timeout):
            return my_meshes(names, timeout=timeout)

Any test runner that collects methods named ``test_…`` runs it; none is imported here.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from transport.base import MAX_STEP, Mesh
from transport.errors import (
    AbortCode,
    MeshClosed,
    PeerAborted,
    PeerClosed,
    PeerTimeout,
    StepMismatch,
    TransportError,
)
from transport.threads import run_peers

Returned = TypeVar("Returned")
Error = TypeVar("Error", bound=BaseException)

_MIB = 1 << 20


class Caught:
    """What `raises` caught, once its block is left."""

    def __init__(self) -> None:
        self.error: Any = None


@contextmanager
def raises(*expected: type[BaseException]) -> Iterator[Caught]:
    """Demand that the block raises one of `expected`; the error is then in `Caught.error`."""
    caught = Caught()
    try:
        yield caught
    except expected as error:
        caught.error = error
        return
    raise AssertionError(f"nothing was raised; expected {' or '.join(kind.__name__ for kind in expected)}")


def run_all(meshes: Mapping[str, Mesh], program: Callable[[Mesh], Returned]) -> dict[str, Returned]:
    """Run `program` at every peer, each in a thread of its own, and return what each returned.

    Raises
    ------
    BaseException
        The first one that a peer's program raised.
    """
    return run_peers({name: partial(program, mesh) for name, mesh in meshes.items()})


class MeshConformance(ABC):
    """The guarantees of `transport.base`, as tests.

    Attributes
    ----------
    patience
        The timeout of meshes that are to time out.
    slack
        Seconds that a busy machine may need beyond that.
    backlog
        Most bytes that a mesh may take from a sender whose receiver does not receive.
    """

    patience = 1.0
    slack = 10.0
    backlog = 128 * _MIB

    @abstractmethod
    def make_meshes(self, names: Sequence[str], timeout: float) -> Mapping[str, Mesh]:
        """Return connected meshes of `names` with the given timeout; each is closed by the tests."""

    @contextmanager
    def meshes(self, *names: str, timeout: float = 30.0) -> Iterator[dict[str, Mesh]]:
        """Provide meshes, and close them however the block ends."""
        made = dict(self.make_meshes(names, timeout))
        try:
            yield made
        except BaseException:
            for mesh in made.values():
                mesh.abort(AbortCode.INTERNAL)
            raise
        close_all(made)

    # What the handshake must have agreed on

    def test_roster_and_names(self) -> None:
        with self.meshes("c", "a", "b") as made:
            for name, mesh in made.items():
                assert mesh.me == name
                assert mesh.roster == ("a", "b", "c")
                assert mesh.peers == tuple(peer for peer in "abc" if peer != name)
                assert all(mesh.channel(peer).peer == peer for peer in mesh.peers)

    def test_session_is_common_and_keys_are_pairwise(self) -> None:
        with self.meshes("a", "b", "c") as made:
            assert len({mesh.session.id for mesh in made.values()}) == 1
            pairs = {
                frozenset((name, peer)): key
                for name, mesh in made.items()
                for peer, key in mesh.session.keys.items()
            }
            assert len(pairs) == len(set(pairs.values())) == 3
            for name, mesh in made.items():
                assert set(mesh.session.keys) == set(mesh.peers)
                for peer in mesh.peers:
                    assert len(mesh.session.keys[peer]) == 32
                    assert mesh.session.keys[peer] == made[peer].session.keys[name]

    def test_sessions_are_fresh(self) -> None:
        with self.meshes("a", "b") as one, self.meshes("a", "b") as two:
            assert one["a"].session.id != two["a"].session.id
            assert one["a"].session.keys["b"] != two["a"].session.keys["b"]

    def test_repr_holds_no_key(self) -> None:
        with self.meshes("a", "b") as made:
            shown = repr(made["a"]) + repr(made["a"].session) + repr(vars(made["a"]))
            key = made["a"].session.keys["b"]
            assert key.hex() not in shown
            assert repr(key) not in shown

    def test_unknown_peer(self) -> None:
        with self.meshes("a", "b") as made:
            for name in ("nobody", "a", ""):
                with raises(KeyError):
                    made["a"].channel(name)

    # Ordered, reliable

    def test_order_is_kept(self) -> None:
        with self.meshes("a", "b") as made:

            def program(mesh: Mesh) -> None:
                channel = mesh.channel(mesh.peers[0])
                for number in range(2000):
                    channel.send(f"step {number}", number.to_bytes(4, "big"))
                for number in range(2000):
                    assert bytes(channel.recv(f"step {number}")) == number.to_bytes(4, "big")

            run_all(made, program)

    def test_messages_of_every_length(self) -> None:
        chance = random.Random(1)  # noqa: S311  (test data)
        lengths = [0, 1, 2, 0, _MIB - 300, _MIB - 1, _MIB, _MIB + 1, 0, 3 * _MIB + 7]
        payloads = [chance.randbytes(length) for length in lengths]
        with self.meshes("a", "b") as made:

            def program(mesh: Mesh) -> None:
                for number, payload in enumerate(payloads):
                    (received,) = mesh.broadcast(f"length {number}", payload).values()
                    assert bytes(received) == payload

            run_all(made, program)

    def test_message_larger_than_any_window(self) -> None:
        payload = random.Random(2).randbytes(80 * _MIB)  # noqa: S311  (test data)
        with self.meshes("a", "b") as made:

            def program(mesh: Mesh) -> None:
                (received,) = mesh.broadcast("large", payload).values()
                assert received == payload

            run_all(made, program)

    def test_buffers_of_every_kind(self) -> None:
        wide: Any = memoryview(bytearray(range(64))).cast("d")
        with self.meshes("a", "b") as made:

            def program(mesh: Mesh) -> None:
                channel = mesh.channel(mesh.peers[0])
                for buffer in (b"bytes", bytearray(b"array"), memoryview(b"view"), wide):
                    channel.send("kind", buffer)
                    assert memoryview(channel.recv("kind")).tobytes() == memoryview(buffer).tobytes()

            run_all(made, program)

    def test_long_step_names(self) -> None:
        with self.meshes("a", "b") as made:
            longest = "é" * (MAX_STEP // 2)
            made["a"].channel("b").send(longest, b"x")
            assert bytes(made["b"].channel("a").recv(longest)) == b"x"
            with raises(ValueError):
                made["a"].channel("b").send(longest + "x", b"x")

    def test_two_directions_at_once(self) -> None:
        with self.meshes("a", "b", "c") as made:

            def program(mesh: Mesh) -> None:
                for number in range(20):
                    sent = {
                        peer: (mesh.me + peer).encode() * 20_000 * (1 + number % 3) for peer in mesh.peers
                    }
                    received = mesh.exchange(f"round {number}", sent)
                    for peer, payload in received.items():
                        assert bytes(payload) == (peer + mesh.me).encode() * 20_000 * (1 + number % 3)

            run_all(made, program)

    def test_sends_wait_for_the_receiver(self) -> None:
        with self.meshes("a", "b", timeout=self.patience) as made:
            channel, payload, taken = made["a"].channel("b"), bytes(_MIB), 0
            with raises(PeerTimeout) as caught:
                while taken <= 2 * self.backlog:
                    channel.send("flood", payload)
                    taken += len(payload)
            assert taken <= self.backlog
            assert caught.error.peer == "b"
            made["a"].abort(AbortCode.TRANSPORT)

    def test_a_slow_receiver_gets_everything(self) -> None:
        payloads = [bytes([number]) * _MIB for number in range(150)]
        with self.meshes("a", "b") as made:

            def program(mesh: Mesh) -> None:
                channel = mesh.channel(mesh.peers[0])
                if mesh.me == "a":
                    for payload in payloads:
                        channel.send("stream", payload)
                    return
                for number, payload in enumerate(payloads):
                    if number % 50 == 0:
                        time.sleep(0.1)
                    assert channel.recv("stream") == payload

            run_all(made, program)

    # Counting

    def test_exchange_counts(self) -> None:
        with self.meshes("a", "b", "c") as made:

            def program(mesh: Mesh) -> None:
                before = mesh.traffic.copy()
                mesh.exchange("one", {peer: bytes(10) for peer in mesh.peers})
                mesh.broadcast("two", bytes(5))
                spent = mesh.traffic - before
                assert spent.rounds == 2
                assert spent.messages_sent == spent.messages_received == 4
                assert spent.bytes_sent == spent.bytes_received == 30

            run_all(made, program)

    def test_exchange_needs_a_message_for_everybody(self) -> None:
        with self.meshes("a", "b", "c") as made, raises(ValueError):
            made["a"].exchange("step", {"b": b""})

    # Failing by name, in time, together

    def test_step_mismatch_names_both_steps(self) -> None:
        with self.meshes("a", "b") as made:
            made["a"].channel("b").send("glm.newton 3", b"")
            with raises(StepMismatch) as caught:
                made["b"].channel("a").recv("gwas.block 12")
            assert caught.error.peer == "a"
            assert "glm.newton 3" in str(caught.error)
            assert "gwas.block 12" in str(caught.error)
            made["b"].abort(AbortCode.PROTOCOL)

    def test_silence_times_out(self) -> None:
        with self.meshes("a", "b", timeout=self.patience) as made:
            begun = time.monotonic()
            with raises(PeerTimeout) as caught:
                made["a"].channel("b").recv("glm.newton 3")
            assert self.patience * 0.9 <= time.monotonic() - begun <= self.patience + self.slack
            assert caught.error.peer == "b"
            assert "glm.newton 3" in str(caught.error)
            made["a"].abort(AbortCode.TRANSPORT)

    def test_abort_reaches_everybody(self) -> None:
        with self.meshes("a", "b", "c") as made:
            made["c"].abort(AbortCode.DATA)
            for name in ("a", "b"):
                with raises(PeerAborted) as caught:
                    made[name].channel("c").recv("step")
                assert caught.error.peer == "c"
                assert caught.error.code is AbortCode.DATA

    def test_abort_ends_the_wait_for_another_peer(self) -> None:
        with self.meshes("a", "b", "c") as made:
            timer = threading.Timer(0.2, made["c"].abort, (AbortCode.POLICY,))
            timer.start()
            begun = time.monotonic()
            with raises(PeerAborted) as caught:
                made["a"].channel("b").recv("step")
            timer.join()
            assert time.monotonic() - begun < 5
            assert caught.error.peer == "c"
            assert caught.error.code is AbortCode.POLICY

    def test_relayed_abort_names_its_origin(self) -> None:
        with self.meshes("a", "b", "c") as made:
            made["c"].abort(AbortCode.ESTIMATION, origin="b")
            with raises(PeerAborted) as caught:
                made["a"].channel("c").recv("step")
            assert caught.error.peer == "b"
            assert caught.error.code is AbortCode.ESTIMATION

    def test_whom_an_abort_is_laid_to_hears_who_aborted(self) -> None:
        with self.meshes("a", "b", "c") as made:
            made["c"].abort(AbortCode.PROTOCOL, origin="b")
            with raises(PeerAborted) as caught:
                made["b"].channel("a").recv("step")
            assert caught.error.peer == "c"
            assert caught.error.code is AbortCode.PROTOCOL
            assert "this site" in str(caught.error)

    def test_after_an_abort_the_session_is_over(self) -> None:
        with self.meshes("a", "b", "c") as made:
            made["c"].abort(AbortCode.INTERNAL)
            for _ in range(2):
                with raises(PeerAborted):
                    made["a"].channel("b").recv("step")
            with raises(PeerAborted):
                made["a"].channel("b").send("step", b"")

    def test_close_delivers_then_says_goodbye(self) -> None:
        with self.meshes("a", "b") as made:
            payload = bytes(3 * _MIB)
            made["a"].channel("b").send("last", payload)
            made["a"].close()
            assert made["b"].channel("a").recv("last") == payload
            with raises(PeerClosed) as caught:
                made["b"].channel("a").recv("one more")
            assert caught.error.peer == "a"
            assert "one more" in str(caught.error)
            with raises(PeerClosed):
                made["b"].channel("a").send("too late", b"")

    def test_a_closed_peer_does_not_disturb_the_others(self) -> None:
        with self.meshes("a", "b", "c") as made:
            made["c"].close()
            made["a"].channel("b").send("on", b"still here")
            assert bytes(made["b"].channel("a").recv("on")) == b"still here"

    def test_use_after_close(self) -> None:
        with self.meshes("a", "b") as made:
            made["a"].close()
            made["a"].close()
            made["a"].abort(AbortCode.INTERNAL)
            with raises(MeshClosed):
                made["a"].channel("b").send("step", b"")
            with raises(MeshClosed):
                made["a"].channel("b").recv("step")

    def test_every_error_is_a_transport_error_with_a_remedy(self) -> None:
        with self.meshes("a", "b", timeout=self.patience) as made:
            with raises(TransportError) as caught:
                made["a"].channel("b").recv("step")
            assert caught.error.peer == "b"
            assert ": " in str(caught.error)
            made["a"].abort(AbortCode.TRANSPORT)


def close_all(meshes: Mapping[str, Mesh]) -> None:
    """Close all meshes at once, as peers that end their scripts do."""

    def close(mesh: Mesh) -> None:
        try:
            mesh.close()
        except TransportError:
            # A test that left messages behind or failed a peer ends this way.
            return

    run_all(meshes, close)
