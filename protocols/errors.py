"""Everything that can go wrong in a protocol.

::

    ProtocolError
    ├── RangeError       a value of our own that a sum cannot carry; nothing was sent
    ├── PrecisionError   a result might not fit the field; nothing was sent
    ├── LabelReused      a label was used twice in a session; nothing was sent
    ├── TripleReused     a multiplication triple was used twice; nothing was sent
    ├── CodecError       bytes that are no encoding of a value
    ├── ShapeMismatch    a peer computes on another shape, or in another ring
    ├── SingularError    a secret matrix is singular, or nearly so
    └── Disagreement     the parties do not hold the same results

No message names a value: labels, shapes, counts and positions only.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of all errors of the protocols.

    Parameters
    ----------
    message
        Who, what and what to do. Never data or keys.
    peer
        Name of the peer that caused it; None where it is this party's own matter.
    """

    def __init__(self, message: str, *, peer: str | None = None) -> None:
        super().__init__(message)
        self.peer = peer


class RangeError(ProtocolError):
    """A local value is NaN, infinite or too large for the ring. Nothing was sent."""


class PrecisionError(ProtocolError):
    """A result might not fit the field: known from public bounds, before anything is sent."""


class LabelReused(ProtocolError):
    """A label was used a second time in a session, which would use its masks twice."""


class TripleReused(ProtocolError):
    """A multiplication triple was used a second time, which would give away what it hides."""


class CodecError(ProtocolError):
    """Bytes that no honest party sends: malformed, not canonical, too large or of another form."""


class ShapeMismatch(ProtocolError):
    """A peer takes part with an array of another shape, or in another ring."""


class SingularError(ProtocolError):
    """A system of equations has no solution within the stated bound. Nothing else was learnt."""


class Disagreement(ProtocolError):
    """The parties do not hold the same results."""
