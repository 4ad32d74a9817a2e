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
    from protocols.secret import SecretArray


def reveal(engine: Engine, results: Mapping[str, SecretArray]) -> dict[str, NDArray[Any]]:
    """Open results, all in one go: the only way out of a computation.

    Parameters
    ----------
    engine
        The computation.
    results
        Arrays by the label under which each is known to policy and audit, used once.

    Returns
    -------
    dict
        Numbers by label: float64 for fixed point, int64 for integers that fit, Python integers in an
        array of objects for others, elements of the field among them.

    Raises
    ------
    Disagreement
        A party sent a wrong share, or told its peers different things at any step so far. No result is
        returned to any honest party.

    Notes
    -----
    **Leakage.** All parties learn the results: that is its purpose. Of a number that was rounded just before,
    they learn with it on which side of the exact one it was rounded, by less than (C + 1)/2 units in the
    last place; the same number rounded anew and revealed again narrows that, so round once.

    **Cost.** Two rounds: the opening,
    and the comparison of everything that was opened. An element an entry to each peer, and 37 bytes.
    """
    if any(secret.engine is not engine for secret in results.values()):
        raise ValueError("the secret belongs to another computation, and to its gate")
    for label, secret in results.items():
        engine.admit(label, secret.shape)
    sizes = [secret.size for secret in results.values()]
    flat = np.concatenate([secret.flat() for secret in results.values()])
    opened = open_shares(engine, "reveal", flat)
    engine.confirm()
    parts = np.split(opened, np.cumsum(sizes)[:-1])
    return {
        label: decode(part.reshape(secret.shares.shape), secret.format)
        for (label, secret), part in zip(results.items(), parts, strict=True)
    }


def decode(elements: Elements, format: Format) -> NDArray[Any]:  # noqa: A002
    """Return opened elements as the numbers that they stand for; see `reveal`."""
    if format.fraction:
        return field.to_floats(elements, format.fraction)
    if format.bound is None:
        return field.to_ints(elements)
    if format.bound < 1 << 63:
        return field.to_int64(elements)
    return field.to_signed_ints(elements)
