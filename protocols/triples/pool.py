"""Triples in stock, each for one product."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from protocols.errors import TripleReused
from protocols.oblivious.numbers import FIELD, Numbers, Shape
from protocols.prg import Seed
from protocols.triples.source import Source

Words = NDArray[np.uint64]
#: Gives every step a fresh name; see `Engine.step`.
Step = Callable[[str], str]

#: Least and most of a kind made at a time: elements of F_p, 2.5 kB from each of two parties; words of bits,
#: half a kilobyte.
ELEMENTS = 1 << 9, 1 << 14
WORDS = 1 << 8, 1 << 14


class Triple:
    """This party's summands of a, b and c, where Σc = Σa·Σb.

    Raises
    ------
    TripleReused
        By `use`, the second time: two products opened with the same a would give away a difference.
    """

    __slots__ = ("_parts",)

    def __init__(self, a: Words, b: Words, c: Words) -> None:
        self._parts: tuple[Words, Words, Words] | None = (a, b, c)

    def use(self) -> tuple[Words, Words, Words]:
        """Return a, b and c, and forget them."""
        if self._parts is None:
            raise TripleReused("a multiplication triple was used before: each is for one product")
        parts, self._parts = self._parts, None
        return parts

    def __reduce__(self) -> Any:
        raise TypeError("a triple is secret and belongs to a session: it cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<Triple{', used' if self._parts is None else ''}>"


class Triples:
    """Makes triples with the other parties, and keeps what is left of a batch.

    Parameters
    ----------
    source
        Multiplies different parties' numbers.
    entropy
        As for `engine.Engine`.

    Notes
    -----
    **Leakage.** Nothing: a and b are drawn by each party for itself, and c is what the source makes.

    **Cost.** Two rounds a batch; batches double.
    """

    def __init__(self, source: Source, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self.source = source
        self._random = Seed(entropy(32), source.party.mesh.session.id).stream("triples")
        self._elements = _Stock(ELEMENTS)
        self._words = _Stock(WORDS)

    def elements(self, step: Step, size: int) -> Triple:
        """Return a triple of so many elements of F_p, multiplied one by one, of shape ``(size, 2)``."""

        def make(count: int) -> list[Words]:
            made = self.matrices(step, FIELD, Shape(count, 1, 1, 1)).use()
            return [part.reshape(count, 2) for part in made]

        return self._elements.take(size, make)

    def words(self, step: Step, size: int) -> Triple:
        """Return a triple of so many words of bits, of shape ``(size,)``."""

        def make(count: int) -> list[Words]:
            a, b = self.draw((2, count))
            return [a, b, (a & b) ^ self.source.bits(step("bit triples"), a, b)]

        return self._words.take(size, make)

    def matrices(self, step: Step, on: Numbers, shape: Shape) -> Triple:
        """Return a triple of matrices, ``(lanes, rows, terms)`` by ``(lanes, terms, columns)``."""
        a = on.random(self.draw((shape.lanes, shape.rows, shape.terms, 2)))
        b = on.random(self.draw((shape.lanes, shape.terms, shape.columns, 2)))
        return Triple(a, b, on.add(on.matmul(a, b), products(self.source, step("triples"), on, shape, a, b)))

    def draw(self, shape: tuple[int, ...]) -> Words:
        """Return random words of this party's own."""
        words = np.empty(shape, np.uint64)
        self._random.fill(words)
        return words

    def __reduce__(self) -> NoReturn:
        raise TypeError("triples are secret and belong to a session: they cannot be copied or stored")


def products(source: Source, step: str, on: Numbers, shape: Shape, x: Words, y: Words) -> Words:
    """Return `Source.products` of all parties, by the cheaper of its two sides.

    One side's numbers choose bit by bit, for whole rows of the other's.
    """
    if shape.rows <= shape.columns:
        return source.products(step, on, shape, x, y)
    return on.turned(source.products(step, on.across(shape), shape.turned, on.turned(y), on.turned(x)))


class _Stock:
    """What is left of batches of one kind."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        self._next, self._most = sizes
        self._parts: list[Words] = []

    def take(self, size: int, make: Callable[[int], list[Words]]) -> Triple:
        """Return so many, of those in stock or of a new batch."""
        left = len(self._parts[0]) if self._parts else 0
        if left < size or not self._parts:
            batch = make(max(size - left, self._next))
            self._next = min(2 * self._next, self._most)
            kept = self._parts or [part[:0] for part in batch]
            self._parts = [np.concatenate(both) for both in zip(kept, batch, strict=True)]
        a, b, c = (part[:size] for part in self._parts)
        self._parts = [part[size:] for part in self._parts]
        return Triple(a, b, c)
