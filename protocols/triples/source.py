"""Where products of different parties' numbers come from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.oblivious.numbers import Numbers, Shape
from protocols.party import Party

Words = NDArray[np.uint64]


class Source(Protocol):
    """Computes shares of products of numbers that different parties have.

    Attributes
    ----------
    party
        This party.
    """

    party: Party

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
        """Return this party's summand of the sum, over all pairs of different parties, of x_i @ y_j.

        Parameters
        ----------
        step
            The step's name, fresh.
        on, shape
            What is multiplied, and how many.
        x, y
            This party's numbers; one may be None if it is among the givers, or the choosers, only.
        choosers, givers
            Those whose x counts, and those whose y does; all by default.
        """

    def bits(self, step: str, x: Words, y: Words) -> Words:
        """Return this party's summand of the sum, over all pairs, of x_i & y_j, 64 bits a word."""
