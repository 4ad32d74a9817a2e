"""Where numbers are shared: over F_p, or modulo a long Q (`wide.Modulo`).

That is what dealing (`dealing`) and the conversion of bits (`convert`) ask of both. Numbers stand in a row:
elements of F_p have shape ``(size, 2)``, residues ``(primes, size)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from protocols import beaver, field, mersenne, shamir
from protocols.bitslice import Words
from protocols.engine import Engine
from protocols.mersenne import Elements, kernel
from protocols.oblivious.numbers import BIT, Shape
from protocols.prg import Stream
from protocols.prss import Subset, coefficient
from protocols.reshare import reshare
from protocols.stripes import unpack
from transport.base import Buffer

_0 = np.uint64(0)
_TOP = np.uint64((1 << 63) - 1)


class Domain(Protocol):
    """Numbers that can be shared."""

    def draw(self, stream: Stream, size: int) -> Words:
        """Return the next numbers of a stream, uniform."""

    def complete(self, values: Words, given: Mapping[int, Words], n: int) -> list[Words]:
        """Return the shares of parties 1, …, n of which t are given; see `shamir.complete`."""

    def unpack(self, peer: str, step: str, message: Buffer, size: int) -> Words:
        """Return the numbers of a peer's message, held against what no honest party sends."""

    def of_bits(self, planes: Words, size: int) -> Words:
        """Return the bits of planes in a row."""

    def add(self, a: Words, b: Words) -> Words:
        """Return a + b."""

    def sub(self, a: Words, b: Words) -> Words:
        """Return a − b."""

    def flip(self, a: Words, bits: Words) -> Words:
        """Return −a where a bit is 1, else a."""

    def known(self, engine: Engine, subset: Subset, values: Words) -> Words:
        """Return shares of numbers that all members of a set of n − t parties know."""

    def exclusive_or(self, engine: Engine, a: Words, b: Words) -> Words:
        """Return a + b − 2ab of shared bits, several rows of them, in one round."""

    def chosen(
        self, engine: Engine, step: str, bits: Words, a: Words, choosers: list[str], givers: Sequence[str]
    ) -> Words:
        """Return summands of the product of the choosers' bits and the givers' numbers; see `triples`."""

    def from_summands(self, engine: Engine, a: Words) -> Words:
        """Return shares, of degree n − 1, of the sum of what all parties have."""


class Field:
    """F_p. The methods are those of `Domain`."""

    def draw(self, stream: Stream, size: int) -> Elements:
        """See `Domain.draw`."""
        words = field.empty(size)
        stream.fill(words)
        return field.from_random_words(words)

    def complete(self, values: Elements, given: Mapping[int, Elements], n: int) -> list[Elements]:
        """See `Domain.complete`."""
        return shamir.complete(values, given, n)

    def unpack(self, peer: str, step: str, message: Buffer, size: int) -> Elements:
        """See `Domain.unpack`."""
        return unpack(peer, step, message, size)

    def of_bits(self, planes: Words, size: int) -> Elements:
        """See `Domain.of_bits`."""
        out = field.zeros((len(planes), size))
        out[..., 0] = np.unpackbits(planes.view(np.uint8), axis=1, count=size, bitorder="little")
        return out.reshape(-1, 2)

    def add(self, a: Elements, b: Elements) -> Elements:
        """See `Domain.add`."""
        return field.add(a, b)

    def sub(self, a: Elements, b: Elements) -> Elements:
        """See `Domain.sub`."""
        return field.sub(a, b)

    def flip(self, a: Elements, bits: Elements) -> Elements:
        """See `Domain.flip`."""
        flipped = a.copy()
        _change_sign(flipped, bits)
        return flipped

    def known(self, engine: Engine, subset: Subset, values: Elements) -> Elements:
        """See `Domain.known`."""
        return field.mul(
            values, field.from_ints(np.array(coefficient(subset, engine.n, engine.point), object))
        )

    def exclusive_or(self, engine: Engine, a: Elements, b: Elements) -> Elements:
        """See `Domain.exclusive_or`."""
        left, right = a.reshape(-1, 2), b.reshape(-1, 2)

        def local(entries: slice, out: Elements) -> None:
            _exclusive_or(out, left[entries], right[entries])

        return reshare(engine, "exclusive or", len(left), local).reshape(a.shape)

    def chosen(
        self,
        engine: Engine,
        step: str,
        bits: Elements,
        a: Elements,
        choosers: list[str],
        givers: Sequence[str],
    ) -> Elements:
        """See `Domain.chosen`."""
        shape = Shape(len(a), 1, 1, 1)
        left, right = (np.ascontiguousarray(z).reshape(-1, 1, 1, 2) for z in (bits, a))
        source = engine.triples.source
        return source.products(step, BIT, shape, left, right, choosers, givers).reshape(a.shape)

    def from_summands(self, engine: Engine, a: Elements) -> Elements:
        """See `Domain.from_summands`."""
        return beaver.shares(engine, a)


FIELD = Field()


@kernel
def _change_sign(a: Elements, bits: Elements) -> None:
    """Change the sign of a where a bit is 1, in place: p − a is a with its 127 bits flipped."""
    for i in range(len(a)):
        flip = _0 - bits[i, 0]
        a[i, 0], a[i, 1] = mersenne.fold(a[i, 0] ^ flip, (a[i, 1] ^ flip) & _TOP)


@kernel
def _exclusive_or(out: Elements, a: Elements, b: Elements) -> None:
    """Write a + b − 2ab, the exclusive or of bits."""
    for i in range(len(out)):
        p0, p1 = mersenne.times(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        p0, p1 = mersenne.plus(p0, p1, p0, p1)
        s0, s1 = mersenne.plus(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        out[i, 0], out[i, 1] = mersenne.minus(s0, s1, p0, p1)
