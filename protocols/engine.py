"""What every protocol on shares needs to know: the party, its threshold, its keys, the next step's name."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protocols.confirm import confirm
from protocols.party import Party
from protocols.prss import Prss, agree_keys
from protocols.shamir import lagrange, threshold
from protocols.triples.pool import Triples

#: Called with label and shape before a result is opened; raises to refuse.
Gate = Callable[[str, tuple[int, ...]], None]


class Engine:
    """One party's side of a computation on shares.

    Creating it takes one round, in which the sets of parties agree on their keys (`prss.agree_keys`).
    Every party runs the same program, so steps are named by counting: no caller invents labels.

    Parameters
    ----------
    party
        This party, one of three or more; of two or more with `triples`.
    label
        Names the computation, the same at every party and used once in a session.
    security
        Statistical parameter κ: a masked number says of the number less than 2^−κ, in statistical
        distance, to any t parties. It is that of each number: m of them add up to m·2^−κ at most.
    gate
        Asked before any result is opened.
    triples
        Where products come from if no majority is honest: then all parties but one may collude, and sharings
        have degree n − 1. By default a majority is, and products come from shares alone.
    entropy
        Returns so many random bytes, for keys. Only tests replace the system's CSPRNG.

    Attributes
    ----------
    party, n
        This party and the number of all.
    t
        How many passive colluders learn nothing, the degree of every sharing: ⌊(n − 1)/2⌋, or n − 1.
    full
        Whether that is n − 1.
    point
        Where this party evaluates polynomials: its position in the roster, from 1.
    weight
        Lagrange coefficient that takes its share of any degree below n to its part of the secret.
    prss
        Source of random sharings.
    room
        Bits L such that integers in −2^(L − 1) … 2^(L − 1) can be masked statistically.
    """

    def __init__(
        self,
        party: Party,
        label: str = "engine",
        *,
        security: int = 40,
        gate: Gate | None = None,
        triples: Triples | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if party.n < 3 and triples is None:
            raise ValueError("shares need three parties or more: with two, t = 0 hides nothing")
        self.party = party
        self.n = party.n
        self.full = triples is not None
        self.t = party.n - 1 if self.full else threshold(party.n)
        self._triples = triples
        self.point = party.index + 1
        self.weight = lagrange(tuple(range(1, self.n + 1)))[party.index]
        self.security = security
        self._gate = gate
        self._names = [label]
        self._count = 0
        keys = agree_keys(party, f"{label}/keys", self.t, entropy)
        self.prss = Prss(self.n, self.point, keys, party.mesh.session.id)
        self.room = self.prss.bits - security

    def step(self, operation: str) -> str:
        """Return a fresh name for the next step, the same at every party that runs the same program."""
        self._count += 1
        return f"{'/'.join(self._names)}/{self._count} {operation}"

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """Put a name before those of the steps within, so that errors tell where the parties are."""
        self._names.append(name)
        try:
            yield
        finally:
            self._names.pop()

    @property
    def triples(self) -> Triples:
        """Where products come from if all but one of the parties may collude."""
        if self._triples is None:
            raise ValueError("with an honest majority, products take no triples")
        return self._triples

    def admit(self, label: str, shape: tuple[int, ...]) -> None:
        """Ask the gate whether a result may be opened, and use up its label.

        Raises
        ------
        LabelReused
            Another result had this label.
        """
        if self._gate is not None:
            self._gate(label, shape)
        self.party.claim(f"{self._names[0]}/reveal {label}")

    def absorb(self, label: str, *contents: bytes) -> None:
        """Take public numbers, which all parties must hold alike, into what `confirm` compares. Local."""
        self.party.absorb(label, *contents)

    def confirm(self) -> None:
        """Compare with all parties everything that was opened so far; see `confirm.confirm`. One round."""
        confirm(self.party, self.step("confirm"))

    def __repr__(self) -> str:
        return f"<Engine of {self.party.me}, {self.n} parties, {self.t} may collude>"
