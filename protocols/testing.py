"""Protocols among threads of one process, and what each party saw of them: for tests and trials.

::

    def program(party):
        return secure_sum(party, "total", np.array([party.index]))

    assert run_parties("abc", program)["a"] == [3]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from protocols.errors import ProtocolError
from protocols.party import Party
from transport.base import Buffer, Channel, Mesh
from transport.errors import AbortCode, MeshClosed, PeerAborted, PeerClosed, TransportError
from transport.memory import LinkModel, memory_meshes
from transport.threads import run_peers

Returned = TypeVar("Returned")

#: Errors of a party that only echo another's.
ECHOES = (PeerAborted, PeerClosed, MeshClosed)


def run_parties(
    names: Sequence[str],
    program: Callable[[Party], Returned],
    *,
    timeout: float = 30.0,
    model: LinkModel | None = None,
    secret: bytes | None = None,
) -> dict[str, Returned]:
    """Run a program at every party, each in a thread of its own, over the mesh in memory.

    Parameters
    ----------
    names
        Distinct names of the parties, two at least.
    program
        Called with each party.
    timeout
        Seconds to wait for any one message.
    model
        A network to imitate; none by default.
    secret
        Source of all session keys, to run the same session twice; fresh by default.

    Returns
    -------
    dict
        What each party's program returned, in the order of `names`.

    Raises
    ------
    BaseException
        What the first failing program raised, rather than what others raised because of it.
    """
    meshes = memory_meshes(names, timeout=timeout, model=model, secret=secret)
    return run_meshes(meshes, program)


def run_meshes(meshes: Mapping[str, Mesh], program: Callable[[Party], Returned]) -> dict[str, Returned]:
    """Run a program at every party of connected meshes, and close them; see `run_parties`."""

    def run(mesh: Mesh) -> Returned:
        try:
            returned = program(Party(mesh))
        except BaseException as error:
            mesh.abort(_abort_code(error))
            raise
        mesh.close()
        return returned

    return run_peers(
        {name: partial(run, mesh) for name, mesh in meshes.items()},
        is_echo=lambda error: isinstance(error, ECHOES),
    )


def _abort_code(error: BaseException) -> AbortCode:
    match error:
        case ProtocolError():
            return AbortCode.PROTOCOL
        case TransportError():
            return AbortCode.TRANSPORT
        case _:
            return AbortCode.INTERNAL


@dataclass(frozen=True)
class Message:
    """A message that a party received."""

    sender: str
    step: str
    payload: Buffer = field(repr=False)


class RecordingMesh(Mesh):
    """A mesh that keeps what it receives: a party's view of a protocol.

    Parameters
    ----------
    mesh
        The mesh to listen at.

    Attributes
    ----------
    received
        Every message, in the order in which the party took them.
    """

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh.me, mesh.roster, mesh.session, mesh.timeout)
        self.received: list[Message] = []
        self._mesh = mesh

    def channel(self, peer: str) -> Channel:
        """Return the channel to `peer`, listened at."""
        return _RecordingChannel(self._mesh.channel(peer), self.received)

    def abort(self, code: AbortCode, origin: str | None = None) -> None:
        """See `Mesh.abort`."""
        self._mesh.abort(code, origin)

    def close(self) -> None:
        """See `Mesh.close`."""
        self._mesh.close()


class _RecordingChannel(Channel):
    def __init__(self, channel: Channel, received: list[Message]) -> None:
        self.peer = channel.peer
        self._channel = channel
        self._received = received

    def send(self, step: str, payload: Buffer) -> None:
        self._channel.send(step, payload)

    def recv(self, step: str) -> Buffer:
        payload = self._channel.recv(step)
        self._received.append(Message(self.peer, step, payload))
        return payload


def record_parties(
    names: Sequence[str], program: Callable[[Party], Returned], *, secret: bytes | None = None
) -> tuple[dict[str, Returned], dict[str, list[Message]]]:
    """Run a program as `run_parties` does, and return every party's view beside the results."""
    meshes = {name: RecordingMesh(mesh) for name, mesh in memory_meshes(names, secret=secret).items()}
    returned = run_meshes(meshes, program)
    return returned, {name: mesh.received for name, mesh in meshes.items()}
