"""Whether any party has something, and not how many or which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.engine import Engine
from protocols.inputs import sum_shares
from protocols.secret import SecretArray


def any_of(engine: Engine, own: NDArray[np.bool_]) -> SecretArray:
    """Return elements that are 0 where no party has a 1, and uniform where one has: to be revealed.

    The number of parties that have it, n at most and so never 0 modulo p, times a random element [1]_.

    Parameters
    ----------
    engine
        The computation.
    own
        What this party has, of a shape that is the same at every party.

    Returns
    -------
    SecretArray
        Elements of the field, shaped as `own`.

    Notes
    -----
    **Leakage.** Nothing; and once revealed, one bit an entry: a uniform element can be drawn without knowing
    more. With a probability of 2^−127 an entry is 0 though it should not be.

    **Cost.** Two rounds; two elements an entry to each peer.

    References
    ----------
    .. [1] J. Bar-Ilan and D. Beaver, "Non-Cryptographic Fault-Tolerant Computing in Constant Number of Rounds
       of Interaction", PODC 1989.
    """
    count = sum_shares(engine, own.astype(np.int64), bound=1)
    random = engine.prss.uniform(engine.step("any"), own.size)
    return SecretArray(engine, count.shares) * SecretArray(engine, random.reshape(count.shares.shape))
