"""One party's side of a session: its place in the roster, its mask streams, its transcript."""

from __future__ import annotations

import hashlib

from protocols.errors import LabelReused
from protocols.prg import Seed, Stream
from transport.base import MAX_STEP, Buffer, Mesh

#: Longest label, in UTF-8 bytes; the rest of a step's name is for the protocol's rounds.
MAX_LABEL = MAX_STEP - 16


class Party:
    """What a protocol needs to know of the party that runs it.

    Parameters
    ----------
    mesh
        The session, already agreed on by all. It serves one party only.

    Attributes
    ----------
    mesh
        The mesh below.
    me, roster, n
        This party's name, all names sorted, and their number.
    index
        This party's position in the roster, from 0.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.me = mesh.me
        self.roster = mesh.roster
        self.n = len(mesh.roster)
        self.index = mesh.roster.index(mesh.me)
        self._labels: set[str] = set()
        self._seeds = {peer: Seed(key, mesh.session.id) for peer, key in mesh.session.keys.items()}
        self._transcript = hashlib.sha256(mesh.session.id)

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of the other parties, sorted."""
        return self.mesh.peers

    def claim(self, label: str) -> None:
        """Use up a label: every step of a session has its own.

        Raises
        ------
        LabelReused
            The label was used before in this session.
        ValueError
            The label is empty or longer than `MAX_LABEL`.
        """
        if not 0 < len(label.encode()) <= MAX_LABEL:
            raise ValueError(f"a label has between 1 and {MAX_LABEL} bytes")
        if label in self._labels:
            raise LabelReused(f"label {label!r} was used before in this session; give each step its own")
        self._labels.add(label)

    def streams(self, label: str) -> dict[str, Stream]:
        """Claim a label and return, for each other party, the stream shared with it under that label."""
        self.claim(label)
        return {peer: self._seeds[peer].stream(label) for peer in self.peers}

    def send(self, peer: str, step: str, payload: Buffer) -> None:
        """Send one counted message; see `Channel.send`."""
        self.mesh.channel(peer).send(step, payload)
        self.mesh.traffic.messages_sent += 1
        self.mesh.traffic.bytes_sent += memoryview(payload).nbytes

    def recv(self, peer: str, step: str) -> Buffer:
        """Wait for one counted message; see `Channel.recv`."""
        payload = self.mesh.channel(peer).recv(step)
        self.mesh.traffic.messages_received += 1
        self.mesh.traffic.bytes_received += memoryview(payload).nbytes
        return payload

    def absorb(self, label: str, *contents: Buffer) -> None:
        """Take into the transcript what all parties must have received alike under a label."""
        self._transcript.update(len(contents).to_bytes(8, "little"))
        for content in (label.encode(), *contents):
            self._transcript.update(memoryview(content).nbytes.to_bytes(8, "little"))
            self._transcript.update(content)

    @property
    def transcript(self) -> bytes:
        """Digest of everything that all parties received alike so far; `confirm` compares it."""
        return self._transcript.digest()

    def __repr__(self) -> str:
        return f"<Party {self.me}, {self.index + 1} of {self.n}>"
