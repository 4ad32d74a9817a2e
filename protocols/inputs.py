"""Inputs: every party shares what it holds with all (`dealing`), the sum of it, or rows of its own number."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import field, mersenne
from protocols.dealing import deal, parts
from protocols.engine import Engine
from protocols.errors import RangeError
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.secret import SecretArray
from protocols.stripes import AHEAD, STRIPE, cut


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
    **Leakage.** Nothing; see `dealing.deal`.

    **Cost.** One round. Each party sends n − 1 − t peers one element an entry: one for three parties.
    """
    array, format_ = np.asarray(x), Format.of(bound, fraction)
    shares = field.empty((engine.n, array.size))
    for stripe, parties in _dealt(engine, array, bound, fraction):
        for out, part in zip(shares, parties, strict=True):
            out[stripe] = part
    return SecretArray(engine, shares.reshape(engine.n, *array.shape, 2), format_)


def sum_shares(engine: Engine, x: NDArray[Any], *, bound: float, fraction: int = 0) -> SecretArray:
    """Return the sum of all parties' arrays, still secret: the entrance from sums to everything else.

    Parameters, errors, leakage and cost are those of `share`; the sum is local.
    """
    array, format_ = np.asarray(x), Format.of(bound, fraction)
    total = field.zeros(array.size)
    for stripe, parties in _dealt(engine, array, bound, fraction):
        for part in parties:
            mersenne.add(total[stripe], total[stripe], part)
    whole = Format(fraction, engine.n * (format_.bound or 0))
    return SecretArray(engine, total.reshape(*array.shape, 2), whole)


def share_rows(
    engine: Engine, x: NDArray[Any], lengths: Sequence[int], *, bound: float, fraction: int = 0
) -> SecretArray:
    """Share every party's rows, of which each party has its own number, one party's after the other's.

    Parameters
    ----------
    engine
        The computation.
    x
        This party's rows, of as many as `lengths` says.
    lengths
        Public: the number of rows of each party, in the order of the roster.
    bound, fraction
        As for `share`.

    Returns
    -------
    SecretArray
        Shape ``(sum(lengths), *x.shape[1:])``.

    Notes
    -----
    Errors, leakage and cost are those of `share`.
    """
    array = np.asarray(x)
    if len(array) != lengths[engine.party.index]:
        raise ValueError("a party shares as many rows as it said")
    format_ = Format.of(bound, fraction)
    values = array.reshape(-1)
    _require_within(values, bound, fraction)
    values = _encode(values, bound, fraction)
    step, width = engine.step("share"), math.prod(array.shape[1:])
    receive = [
        deal(engine, step, (dealer,), values if dealer == engine.party.index else None, length * width)
        for dealer, length in enumerate(lengths)
    ]
    shares = np.concatenate([one()[0] for one in receive])
    engine.party.mesh.traffic.rounds += not engine.full
    return SecretArray(engine, shares.reshape(-1, *array.shape[1:], 2), format_)


def _dealt(
    engine: Engine, array: NDArray[Any], bound: float, fraction: int
) -> Iterator[tuple[slice, Iterator[Elements]]]:
    """Deal every party's array, and yield stripes, with the shares of one party after the other."""
    values = array.reshape(-1)
    _require_within(values, bound, fraction)  # all of them, before anything is sent
    step = engine.step("share")
    sent: deque[tuple[slice, Callable[[], Iterator[Elements]]]] = deque()
    # Of nothing a message is sent too: somebody else may have something, and wait for it.
    for stripe in cut(0, len(values), STRIPE) or [slice(0, 0)]:
        label, own = f"{step}/{stripe.start // STRIPE}", _encode(values[stripe], bound, fraction)
        sent.append((stripe, parts(engine, label, range(engine.n), own, len(own))))
        if len(sent) > AHEAD:
            first, receive = sent.popleft()
            yield first, receive()
    for stripe, receive in sent:
        yield stripe, receive()
    engine.party.mesh.traffic.rounds += not engine.full


def _require_within(values: NDArray[Any], bound: float, fraction: int) -> None:
    """Refuse a party's own values that cannot be shared."""
    if values.dtype.kind == "f":
        if not fraction:
            raise TypeError("floats are shared with fractional bits")
        field.require_within(values, bound)
        return
    values = values.astype(np.int8) if values.dtype.kind == "b" else values
    largest = math.floor(bound)  # an integer: compared with floats, integers would be rounded
    refused = (values > largest) | (values < -largest) if values.size else np.zeros(0, bool)
    if np.any(refused):
        raise RangeError(
            f"{np.count_nonzero(refused)} of {values.size} values are beyond the public bound {bound:g}, the "
            f"first at flat index {int(np.argmax(refused))}; nothing was sent"
        )


def _encode(values: NDArray[Any], bound: float, fraction: int) -> Elements:
    """Return values as elements, once they have passed."""
    if values.dtype.kind == "f":
        return field.from_floats(values, fraction, bound)
    elements = field.from_ints(values)
    return field.mul(elements, field.from_ints(1 << fraction)) if fraction else elements
