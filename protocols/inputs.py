"""Inputs: every party shares what it holds, sending fewer shares than there are parties.

Of the n shares of a value, t are drawn from the streams that the dealer shares with t of its peers: they
know theirs already. With the value, these determine the polynomial of degree t, whose other shares are
sent [1]_.

References
----------
.. [1] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import codec, field, shamir
from protocols.engine import Engine
from protocols.errors import RangeError
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.prg import Stream
from protocols.secret import SecretArray
from protocols.stripes import unpack


def share(engine: Engine, x: NDArray[Any], *, bound: float, fraction: int = 0) -> SecretArray:
    """Share every party's array with all.

    Parameters
    ----------
    engine
        The computation.
    x
        This party's array, of the same shape at every party: integers, or floats where there are
        fractional bits.
    bound
        Public: what no |x| exceeds at any party.
    fraction
        Fractional bits, public; see `fixed.fraction_for`.

    Returns
    -------
    SecretArray
        Shape ``(n, *shape)``: the parties' arrays in the order of the roster.

    Raises
    ------
    RangeError
        An entry is NaN, infinite or beyond the bound. Nothing was sent.
    ShapeMismatch
        A peer shares an array of another shape.

    Notes
    -----
    **Leakage.** Nothing: the polynomial is the value and t uniform shares, so any t shares are uniform
    and independent of the value (as far as AES-128 and HKDF-SHA256 are pseudorandom).

    **Cost.** One round. Each party sends n − 1 − t peers one element an entry: one for three parties.
    """
    array = np.asarray(x)
    format_ = Format.of(bound, fraction)
    values = _encode(array.reshape(-1), bound, fraction)
    party, step = engine.party, engine.step("share")
    shares = field.empty((engine.n, array.size))
    outgoing: dict[str, bytes] = dict.fromkeys(party.peers, b"")
    for dealer, name in enumerate(party.roster):
        streams = party.streams(f"{step}/{name}")
        drawing = _drawing(dealer, engine.n, engine.t)
        if name == party.me:
            drawn = {point: _draw(streams[party.roster[point - 1]], array.size) for point in drawing}
            dealt = shamir.complete(values, drawn, engine.n)
            shares[dealer] = dealt[party.index]
            for point, share_ in enumerate(dealt, start=1):
                if point not in (engine.point, *drawing):
                    outgoing[party.roster[point - 1]] = codec.encode(share_)
        elif engine.point in drawing:
            shares[dealer] = _draw(streams[name], array.size)
    incoming = party.mesh.exchange(step, outgoing)
    for dealer, name in enumerate(party.roster):
        if name != party.me and engine.point not in _drawing(dealer, engine.n, engine.t):
            shares[dealer] = unpack(name, step, incoming[name], array.size)
    return SecretArray(engine, shares.reshape(engine.n, *array.shape, 2), format_)


def sum_shares(engine: Engine, x: NDArray[Any], *, bound: float, fraction: int = 0) -> SecretArray:
    """Return the sum of all parties' arrays, still secret: the entrance from sums to everything else.

    Parameters, errors, leakage and cost are those of `share`; the sum is local.
    """
    return share(engine, x, bound=bound, fraction=fraction).sum(axis=0)


def _encode(values: NDArray[Any], bound: float, fraction: int) -> Elements:
    """Return a party's own values as elements, or refuse them."""
    if values.dtype.kind == "f":
        if not fraction:
            raise TypeError("floats are shared with fractional bits")
        return field.from_floats(values, fraction, bound)
    refused = np.abs(values.astype(object)) > bound if values.size else np.zeros(0, bool)
    if np.any(refused):
        raise RangeError(
            f"{np.count_nonzero(refused)} of {values.size} values are beyond the public bound {bound:g}, the "
            f"first at flat index {int(np.argmax(refused))}; nothing was sent"
        )
    return field.mul(field.from_ints(values), field.from_ints(1 << fraction))


def _drawing(dealer: int, n: int, t: int) -> tuple[int, ...]:
    """Return the points of the t parties after a dealer, whose shares are drawn and not sent."""
    return tuple((dealer + k) % n + 1 for k in range(1, t + 1))


def _draw(stream: Stream, size: int) -> Elements:
    words = field.empty(size)
    stream.fill(words)
    return field.from_random_words(words)
