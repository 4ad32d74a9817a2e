"""Sums of products of what one party holds with what another one holds, without sharing it first.

Where all but one of the parties may collude, a product of two shares takes a triple, whatever is shared. But
two parties who know their factors can multiply them at once, as triples are made of: the one whose numbers
are shorter chooses by their bits, or offers them encrypted, see `triples.source.Source`. What matters is then
how many bits the numbers have, and not that the field has 127.

Numbers may be negative: both parties add a power of two to theirs, and what this adds to the sums each takes
away from its own part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols import beaver, field
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.oblivious.numbers import Shape, Short


@dataclass(frozen=True, eq=False, repr=False)
class Held:
    """Rows of integers that one party has; all but `values` is public.

    Attributes
    ----------
    holder
        Who has them.
    rows, terms
        How many there are, and how long they are.
    bound
        Largest magnitude.
    signed
        Whether some may be negative.
    values
        At that party, shape ``(rows, terms, 2)``; None at others.
    """

    holder: str
    rows: int
    terms: int
    bound: int
    signed: bool = True
    values: Elements | None = None

    @property
    def offset(self) -> int:
        """What makes all of them positive."""
        return 1 << self.bound.bit_length() if self.signed else 0

    @property
    def bits(self) -> int:
        """How many bits they then have."""
        return self.bound.bit_length() + self.signed

    def raised(self) -> Elements | None:
        """Return them plus the offset."""
        return None if self.values is None else field.add(self.values, _element(self.offset))


def inner_products(engine: Engine, one: Held, other: Held) -> Elements:
    """Return shares of the inner products of one party's rows with another's, of shape ``(rows, rows, 2)``.

    Parameters
    ----------
    engine
        The computation, where all but one party may collude.
    one, other
        What two different parties hold, of as many terms.

    Notes
    -----
    **Leakage.** Nothing; see `Source.products`.

    **Cost.** Two rounds. By transfers, for each number of the side that chooses and each of its bits, 4 bytes
    from the party that has it, and 16 for each row of the other side, from the other; the cheaper side
    chooses.
    """
    if one.terms != other.terms or one.holder == other.holder:
        raise ValueError("rows of two parties are of one length")
    if not one.rows * other.rows * one.terms:
        return field.zeros((one.rows, other.rows))
    if _transfers(one, other) > _transfers(other, one):
        return np.ascontiguousarray(inner_products(engine, other, one).swapaxes(0, 1))
    shape = Shape(1, one.rows, one.terms, other.rows)
    left, right = one.raised(), other.raised()
    ours: Elements = engine.triples.source.products(
        engine.step("crossed"),
        Short(one.bits, other.bits),
        shape,
        None if left is None else left[np.newaxis],
        None if right is None else np.ascontiguousarray(right.swapaxes(0, 1))[np.newaxis],
        [one.holder],
        [other.holder],
    )[0]
    # With a and b added to x and y: Σ xy = Σ (x + a)(y + b) − b·Σ x − a·Σ (y + b).
    if one.values is not None:
        ours = field.sub(ours, _scaled(one.values, other.offset)[:, np.newaxis])
    if right is not None:
        ours = field.sub(ours, _scaled(right, one.offset)[np.newaxis])
    return beaver.shares(engine, ours)


def _transfers(chooser: Held, giver: Held) -> int:
    return chooser.rows * chooser.bits * (4 + 16 * giver.rows)


def _scaled(values: Elements, factor: int) -> Elements:
    """Return the sums of rows, times a number."""
    return field.mul(field.sum(values, 1), _element(factor))


def _element(number: int) -> Elements:
    return field.from_ints(np.array(number, object))
