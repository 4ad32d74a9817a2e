"""Seeds of which one party knows all and another all but one, which it chose: the tree of GGM [1]_.

The owner grows a binary tree of depth k from a random root; its 2^k leaves are the seeds. By one oblivious
transfer a level the other party learns the sum of all left, or of all right children of a level: of the side
off the path to its leaf. With what it knows of the level above it computes all nodes but those on the path.

References
----------
.. [1] O. Goldreich, S. Goldwasser and S. Micali, "How to Construct Random Functions", JACM 33, 1986; used for
   oblivious transfer by L. Roy, "SoftSpokenOT", CRYPTO 2022, section 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SEED = 32


def grow(root: bytes, depth: int) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """Return the 2^depth leaves, and the sums of left and of right children of each level."""
    nodes, sums = [root], []
    for _ in range(depth):
        nodes = [child for node in nodes for child in _children(node)]
        sums.append((_sum(nodes[::2]), _sum(nodes[1::2])))
    return nodes, sums


def regrow(hidden: int, sums: Sequence[bytes]) -> list[bytes | None]:
    """Return all leaves but one.

    Parameters
    ----------
    hidden
        The leaf that stays hidden. Its bits, the highest first, are the path to it.
    sums
        Of each level, the sum of the children off the path: of right ones where the bit is 0.
    """
    depth = len(sums)
    nodes: list[bytes | None] = [None]
    for level, total in enumerate(sums):
        path = hidden >> (depth - 1 - level)
        nodes = [child for node in nodes for child in (_children(node) if node is not None else (None, None))]
        side = 1 - (path & 1)
        nodes[path ^ 1] = _sum([total, *(node for node in nodes[side::2] if node is not None)])
    return nodes


def _children(node: bytes) -> tuple[bytes, bytes]:
    return hashlib.sha256(node + b"\x00").digest(), hashlib.sha256(node + b"\x01").digest()


def _sum(nodes: Sequence[bytes]) -> bytes:
    total = 0
    for node in nodes:
        total ^= int.from_bytes(node, "little")
    return total.to_bytes(SEED, "little")
