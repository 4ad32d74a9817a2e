"""The only way out: results are opened to all, together, and compared before anybody uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols import field
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.opening import open_shares

if TYPE_CHECKING:
    from protocols.floating import SecretFloat
    from protocols.secret import SecretArray


def reveal(
    engine: Engine, results: Mapping[str, SecretArray | SecretFloat], *, digits: int | Mapping[str, int] = 30
) -> dict[str, NDArray[Any]]:
    """Open results, all in one go: the only way out of a computation.

    Parameters
    ----------
    engine
        The computation.
    results
        Arrays by the label under which each is known to policy and audit, used once.
    digits
        Bits to which mantissas of secret floats are rounded before they are opened, 52 at most; by label if
        they differ.

    Returns
    -------
    dict
        Numbers by label: float64 for fixed point and secret floats, int64 for integers that fit, Python
        integers in an array of objects for others, elements of the field among them.

    Raises
    ------
    Disagreement
        A party sent a wrong share, or told its peers different things at any step so far. No result is
        returned to any honest party.

    Notes
    -----
    **Leakage.** All parties learn the results: that is its purpose. Of a number that was rounded just before,
    they learn with it on which side of the exact one it was rounded, by less than (C + 1)/2 units in the
    last place; the same number rounded anew and revealed again narrows that, so round once. Of a secret float
    they learn the rounded number, and nothing of how it was computed; see `floating.rounded`.

    **Cost.** Two rounds: the opening, and the comparison of everything that was opened. An element an entry
    to each peer, and 37 bytes. Secret floats take the rounds of `floating.rounded` before, all of them
    together, and two elements.
    """
    from protocols.floating import SecretFloat, rounded  # they build on all that builds on this

    if any(secret.engine is not engine for secret in results.values()):
        raise ValueError("the secret belongs to another computation, and to its gate")
    for label, secret in results.items():
        engine.admit(label, secret.shape)
    floats = {label: x for label, x in results.items() if isinstance(x, SecretFloat)}
    arrays = {label: x for label, x in results.items() if not isinstance(x, SecretFloat)}
    bits = [digits if isinstance(digits, int) else digits[label] for label in floats]
    if floats:
        arrays[""] = rounded(list(floats.values()), bits)
    sizes = [array.size for array in arrays.values()]
    opened = open_shares(engine, "reveal", np.concatenate([array.flat() for array in arrays.values()]))
    engine.confirm()
    parts = np.split(opened, np.cumsum(sizes)[:-1])
    found = {
        label: decode(part.reshape(array.shares.shape), array.format)
        for (label, array), part in zip(arrays.items(), parts, strict=True)
    }
    if floats:
        ends = np.cumsum([x.size for x in floats.values()])
        values = np.split(compose(found[""], max(bits)), ends[:-1])
        found |= {
            label: part.reshape(x.shape) for (label, x), part in zip(floats.items(), values, strict=True)
        }
    return {label: found[label] for label in results}


def decode(elements: Elements, format: Format) -> NDArray[Any]:  # noqa: A002
    """Return opened elements as the numbers that they stand for; see `reveal`."""
    if format.fraction:
        return field.to_floats(elements, format.fraction)
    if format.bound is None:
        return field.to_ints(elements)
    if format.bound < 1 << 63:
        return field.to_int64(elements)
    return field.to_signed_ints(elements)


def compose(opened: NDArray[Any], digits: int) -> NDArray[np.float64]:
    """Return the floats that opened integers make up; see `digits.rounded_digits`. Undefined ones are NaN."""
    out = np.empty(opened.shape)
    for position, value in enumerate(opened.ravel().tolist()):
        exponent, rest = divmod(int(value), 1 << (digits + 3))
        kind, magnitude = divmod(rest, 1 << (digits + 1))
        with np.errstate(over="ignore", under="ignore"):
            number = np.ldexp(float(magnitude), max(min(exponent - digits, 9999), -9999))
        out.flat[position] = np.nan if kind > 1 else -number if kind else number
    return out
