"""Broadcast: every party tells every other a value that is no secret."""

from __future__ import annotations

from protocols import codec
from protocols.codec import Value
from protocols.party import Party

#: Longest encoding of a published value.
MAX_BYTES = 64 << 20


def publish(party: Party, label: str, value: Value, *, max_bytes: int = MAX_BYTES) -> dict[str, Value]:
    """Send a value to all parties and receive theirs.

    Parameters
    ----------
    party
        This party.
    label
        The step's name, the same at every party and used once in a session.
    value
        Anything that `codec` encodes.
    max_bytes
        Longest encoding that any party may send, the same at every party.

    Returns
    -------
    dict
        Every party's value by name, in the order of the roster; our own has been through the codec too.

    Raises
    ------
    TypeError, ValueError
        Our value cannot be encoded, or not within `max_bytes`. Nothing was sent.
    LabelReused
        Nothing was sent.
    CodecError
        A peer sent what is no encoding of a value.

    Notes
    -----
    **Leakage.** Every party learns every value: that is its purpose.

    **Cost.** One round; the encoding's length to each peer.
    """
    own = codec.encode(value)
    if len(own) > max_bytes:
        raise ValueError(f"step {label!r}: a value of {len(own)} bytes, where {max_bytes} may be published")
    party.claim(label)
    received = party.mesh.broadcast(label, own)
    received[party.me] = own
    values = {name: codec.decode(received[name], peer=name, max_bytes=max_bytes) for name in party.roster}
    party.absorb(label, *(received[name] for name in party.roster))
    return values
