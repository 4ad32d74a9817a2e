"""Whichever of two sources makes a product sooner: transfers take bytes, encryption takes time.

All parties decide alike, by what is public: shapes, numbers of bits, and how fast the links are said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from protocols.oblivious.numbers import Numbers, Shape
from protocols.paillier.ciphering import work
from protocols.party import Party
from protocols.triples.source import Source

Words = NDArray[np.uint64]

#: Seconds of a core for a ciphertext that is offered, one that is answered, and a multiplication of two, as
#: measured with a modulus of 3,072 bits. Parties decide by these, not by what they measure, to decide alike.
OFFER, ANSWER, MULTIPLICATION = 1.5e-3, 2e-2, 9e-6


class Cheaper:
    """A source, in the sense of `triples.source.Source`, that takes each product from the better of two.

    Parameters
    ----------
    transfers
        The source of oblivious transfers; bits are always made by it.
    encrypting
        Makes the source that encrypts, when it is first used: all parties take part.
    bytes_a_second
        What a link carries, public.
    """

    def __init__(self, transfers: Source, encrypting: Callable[[], Source], *, bytes_a_second: float) -> None:
        self.party: Party = transfers.party
        self._transfers, self._make, self._speed = transfers, encrypting, bytes_a_second
        self._encryption: Source | None = None

    def products(
        self,
        step: str,
        on: Numbers,
        shape: Shape,
        x: Words | None,
        y: Words | None,
        choosers: Collection[str] = (),
        givers: Collection[str] = (),
    ) -> Words:
        """See `Source.products`."""
        source = self._transfers
        if seconds_of_encryption(on, shape) < bytes_of_transfers(on, shape) / self._speed:
            if self._encryption is None:
                self._encryption = self._make()
            source = self._encryption
        return source.products(step, on, shape, x, y, choosers, givers)

    def bits(self, step: str, x: Words, y: Words) -> Words:
        """See `Source.bits`."""
        return self._transfers.bits(step, x, y)


def bytes_of_transfers(on: Numbers, shape: Shape) -> int:
    """Return what a chooser and a giver send each other by `Crossing.products`."""
    return shape.units * on.bits * (4 + 8 * on.words * shape.columns)


def seconds_of_encryption(on: Numbers, shape: Shape) -> float:
    """Return what `Ciphering.products` takes of one core, for two parties one after the other."""
    it = work(on, shape)
    return OFFER * it.offers + ANSWER * it.answers + MULTIPLICATION * it.multiplications
