"""Numbers that transfers multiply: elements of F_p, and residues modulo primes; their kernels.

A unit is one number of the chooser, which chooses by its bits, and a row of numbers of the other party. For
each bit, highest first, the latter has two pads for every number of the row, and sends what takes the second
pad to the first one plus the number. Sums of pads, each doubled as often as its bit says, are then shares of
the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols import field, mersenne
from protocols.crt import Residues, fold, multiply_matrices
from protocols.mersenne import Elements, kernel

Words = NDArray[np.uint64]
_0, _1 = np.uint64(0), np.uint64(1)
_60 = np.uint64((1 << 60) - 1)


@dataclass(frozen=True)
class Shape:
    """Products of matrices, many of them: ``(lanes, rows, terms)`` by ``(lanes, terms, columns)``."""

    lanes: int
    rows: int
    terms: int
    columns: int

    @property
    def units(self) -> int:
        """Numbers on the left."""
        return self.lanes * self.rows * self.terms

    @property
    def turned(self) -> Shape:
        """That of the transposed product."""
        return Shape(self.lanes, self.columns, self.terms, self.rows)


class Numbers(Protocol):
    """What is multiplied. Arrays have the shapes of `Shape`, those of elements one axis more.

    Attributes
    ----------
    bits
        Bits by which a number chooses.
    words
        Random words that make a pad.
    right_bits
        Bits of numbers on the right.
    """

    @property
    def bits(self) -> int:
        """See above."""

    @property
    def words(self) -> int:
        """See above."""

    @property
    def right_bits(self) -> int:
        """See above."""

    def zeros(self, shape: tuple[int, ...]) -> Words:
        """Return zeros."""

    def random(self, words: Words) -> Words:
        """Return uniform numbers of the last axis, two random words."""

    def choices(self, x: Words, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bits, highest first, of units from `start` to `stop`."""

    def give(self, out: Words, y: Words, shape: Shape, start: int, pads: Words, others: Words) -> Words:
        """Add the giver's shares of units from `start` to `out`, and return the corrections."""

    def take(
        self, out: Words, shape: Shape, start: int, bits: NDArray[np.uint8], pads: Words, corrections: Words
    ) -> None:
        """Add the chooser's shares to `out`."""

    def correct(self, corrections: Any, units: int, columns: int) -> bool:
        """Return whether a peer's corrections are canonical numbers of this shape."""

    def add(self, a: Words, b: Words) -> Words:
        """Return a + b."""

    def matmul(self, a: Words, b: Words) -> Words:
        """Return a @ b."""

    def turned(self, x: Words) -> Words:
        """Return matrices transposed."""

    def part(self, columns: slice) -> Numbers:
        """Return what some of the columns are made of."""

    def across(self, shape: Shape) -> Numbers:
        """Return what transposed products of this shape are made of."""

    def integers(self, x: Words) -> NDArray[np.object_]:
        """Return numbers as integers, not negative and of `bits` bits."""

    def residues(self, integers: NDArray[np.object_]) -> Words:
        """Return integers, of shape ``(lanes, rows, columns)``, as numbers."""


class Field:
    """Elements of F_p; the methods are those of `Numbers`."""

    bits = 127
    words = 2
    right_bits = 127

    def zeros(self, shape: tuple[int, ...]) -> Elements:
        """See `Numbers.zeros`."""
        return field.zeros(shape)

    def random(self, words: Words) -> Elements:
        """See `Numbers.random`."""
        return field.from_random_words(words.copy())

    def choices(self, x: Elements, start: int, stop: int) -> NDArray[np.uint8]:
        """See `Numbers.choices`."""
        return _bits_of(np.ascontiguousarray(x).reshape(-1, 2)[start:stop], self.bits)

    def give(
        self, out: Elements, y: Elements, shape: Shape, start: int, pads: Words, others: Words
    ) -> Elements:
        """See `Numbers.give`."""
        corrections = np.empty((*pads.shape[:2], shape.columns, 2), np.uint64)
        _give_elements(out, corrections, y, shape.terms, start, pads, others)
        return corrections

    def take(
        self,
        out: Elements,
        shape: Shape,
        start: int,
        bits: NDArray[np.uint8],
        pads: Words,
        corrections: Words,
    ) -> None:
        """See `Numbers.take`."""
        _take_elements(out, shape.terms, start, bits, pads, corrections)

    def correct(self, corrections: Any, units: int, columns: int) -> bool:
        """See `Numbers.correct`."""
        shape = (units, self.bits, columns, 2)
        return _is_array(corrections, shape) and field.is_canonical(corrections)

    def add(self, a: Elements, b: Elements) -> Elements:
        """See `Numbers.add`."""
        return field.add(a, b)

    def matmul(self, a: Elements, b: Elements) -> Elements:
        """See `Numbers.matmul`."""
        return field.matmul(a, b)

    def turned(self, x: Elements) -> Elements:
        """See `Numbers.turned`."""
        return np.ascontiguousarray(x.swapaxes(-3, -2))

    def part(self, columns: slice) -> Field:  # noqa: ARG002
        """See `Numbers.part`."""
        return self

    def across(self, shape: Shape) -> Field:  # noqa: ARG002
        """See `Numbers.across`."""
        return self

    def integers(self, x: Elements) -> NDArray[np.object_]:
        """See `Numbers.integers`."""
        return field.to_ints(x)

    def residues(self, integers: NDArray[np.object_]) -> Elements:
        """See `Numbers.residues`."""
        return field.from_ints(integers)


class Short(Field):
    """Elements of F_p that stand for small integers, not negative: fewer bits choose.

    Parameters
    ----------
    bits, right_bits
        As for `Numbers`: of those on the left, and of those on the right.
    """

    def __init__(self, bits: int, right_bits: int = Field.right_bits) -> None:
        self.bits, self.right_bits = bits, right_bits

    def across(self, shape: Shape) -> Short:  # noqa: ARG002
        """See `Numbers.across`."""
        return Short(self.right_bits, self.bits)


@dataclass(frozen=True)
class Primes:
    """Residues. A pad is 60 random bits, modulo p = 2^60 − c within c·2^−60 < 2^−42 of uniform.

    Parameters
    ----------
    primes
        That of each column of a lane, of shape ``(lanes, columns)``.
    bits
        As for `Numbers`: 1 for bits on the left, else 60.
    """

    primes: Residues
    bits: int = 60
    words = 1
    right_bits = 60

    def zeros(self, shape: tuple[int, ...]) -> Residues:
        """See `Numbers.zeros`."""
        return np.zeros(shape, np.uint64)

    def random(self, words: Words) -> Residues:
        """See `Numbers.random`. The first axis is that of the lanes, whose columns have one prime."""
        out = np.empty(words.shape[:-1], np.uint64)
        flat = np.ascontiguousarray(words).reshape(len(words), -1, 2)
        _reduce(out.reshape(len(words), -1), flat, self.primes)
        return out

    def choices(self, x: Residues, start: int, stop: int) -> NDArray[np.uint8]:
        """See `Numbers.choices`."""
        return _bits_of(np.ascontiguousarray(x).reshape(-1, 1)[start:stop], self.bits)

    def give(
        self, out: Residues, y: Residues, shape: Shape, start: int, pads: Words, others: Words
    ) -> Residues:
        """See `Numbers.give`."""
        corrections = np.empty((*pads.shape[:2], shape.columns), np.uint64)
        _give_residues(out, corrections, y, shape.terms, start, pads, others, self.primes)
        return corrections

    def take(
        self,
        out: Residues,
        shape: Shape,
        start: int,
        bits: NDArray[np.uint8],
        pads: Words,
        corrections: Words,
    ) -> None:
        """See `Numbers.take`."""
        _take_residues(out, shape.terms, start, bits, pads, corrections, self.primes)

    def correct(self, corrections: Any, units: int, columns: int) -> bool:
        """See `Numbers.correct`."""
        shape = (units, self.bits, columns)
        # Below 2^60; by which prime it is reduced is for the sum to settle.
        return _is_array(corrections, shape) and bool(np.all(corrections <= _60))

    def add(self, a: Residues, b: Residues) -> Residues:
        """See `Numbers.add`."""
        out = np.empty(a.shape, np.uint64)
        _add(out, a, b, self.primes)
        return out

    def matmul(self, a: Residues, b: Residues) -> Residues:
        """See `Numbers.matmul`. All columns of a lane have one prime."""
        out = np.empty((*a.shape[:-1], b.shape[-1]), np.uint64)
        across = np.ascontiguousarray(b.swapaxes(-2, -1))
        multiply_matrices(out, np.ascontiguousarray(a), across, self.primes[:, 0])
        return out

    def turned(self, x: Residues) -> Residues:
        """See `Numbers.turned`."""
        return np.ascontiguousarray(x.swapaxes(-2, -1))

    def part(self, columns: slice) -> Primes:
        """See `Numbers.part`."""
        return Primes(np.ascontiguousarray(self.primes[:, columns]), self.bits)

    def across(self, shape: Shape) -> Primes:
        """See `Numbers.across`."""
        return Primes(np.repeat(self.primes[:, :1], shape.rows, axis=1), self.bits)

    def integers(self, x: Residues) -> NDArray[np.object_]:
        """See `Numbers.integers`."""
        return x.astype(object)

    def residues(self, integers: NDArray[np.object_]) -> Residues:
        """See `Numbers.residues`."""
        reduced = integers % self.primes.astype(object)[:, np.newaxis]
        return np.asarray(reduced, np.uint64)


FIELD = Field()
#: Bits on the left, given as elements 0 and 1, and elements of F_p on the right.
BIT = Short(1)


def _is_array(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint64 and value.shape == shape


def _bits_of(words: Words, bits: int) -> NDArray[np.uint8]:
    """Return the low bits of numbers of some words, highest first, of shape ``(size, bits)``."""
    spread = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    return np.ascontiguousarray(spread[:, bits - 1 :: -1] if bits < spread.shape[1] else spread[:, ::-1])


# --- Kernels -----------------------------------------------------------------------------------------


@kernel
def _give_elements(
    out: Elements, corrections: Elements, y: Elements, terms: int, start: int, pads: Words, others: Words
) -> None:
    units, bits, _, _ = pads.shape
    columns = out.shape[2]
    total = np.zeros((columns, 2), np.uint64)
    rows = out.shape[1]
    for unit in range(units):
        row, term = (start + unit) // terms, (start + unit) % terms
        lane, row = row // rows, row % rows
        total[:] = _0
        for bit in range(bits):
            for c in range(columns):
                p0, p1 = mersenne.fold(pads[unit, bit, c, 0], pads[unit, bit, c, 1] & mersenne._TOP)
                q0, q1 = mersenne.fold(others[unit, bit, c, 0], others[unit, bit, c, 1] & mersenne._TOP)
                t0, t1 = mersenne.plus(total[c, 0], total[c, 1], total[c, 0], total[c, 1])
                total[c, 0], total[c, 1] = mersenne.plus(t0, t1, p0, p1)
                d0, d1 = mersenne.minus(p0, p1, q0, q1)
                d0, d1 = mersenne.plus(d0, d1, y[lane, term, c, 0], y[lane, term, c, 1])
                corrections[unit, bit, c, 0], corrections[unit, bit, c, 1] = d0, d1
        for c in range(columns):
            o0, o1 = mersenne.minus(out[lane, row, c, 0], out[lane, row, c, 1], total[c, 0], total[c, 1])
            out[lane, row, c, 0], out[lane, row, c, 1] = o0, o1


@kernel
def _take_elements(
    out: Elements, terms: int, start: int, choices: NDArray[np.uint8], pads: Words, corrections: Elements
) -> None:
    units, bits, _, _ = pads.shape
    columns = out.shape[2]
    total = np.zeros((columns, 2), np.uint64)
    rows = out.shape[1]
    for unit in range(units):
        row = (start + unit) // terms
        lane, row = row // rows, row % rows
        total[:] = _0
        for bit in range(bits):
            mask = _0 - np.uint64(choices[unit, bit])
            for c in range(columns):
                p0, p1 = mersenne.fold(pads[unit, bit, c, 0], pads[unit, bit, c, 1] & mersenne._TOP)
                t0, t1 = mersenne.plus(total[c, 0], total[c, 1], total[c, 0], total[c, 1])
                t0, t1 = mersenne.plus(t0, t1, p0, p1)
                total[c, 0], total[c, 1] = mersenne.plus(
                    t0, t1, corrections[unit, bit, c, 0] & mask, corrections[unit, bit, c, 1] & mask
                )
        for c in range(columns):
            o0, o1 = mersenne.plus(out[lane, row, c, 0], out[lane, row, c, 1], total[c, 0], total[c, 1])
            out[lane, row, c, 0], out[lane, row, c, 1] = o0, o1


@kernel
def _give_residues(
    out: Residues,
    corrections: Residues,
    y: Residues,
    terms: int,
    start: int,
    pads: Words,
    others: Words,
    primes: Residues,
) -> None:
    units, bits, _, _ = pads.shape
    columns = out.shape[2]
    total = np.zeros(columns, np.uint64)
    rows = out.shape[1]
    for unit in range(units):
        row, term = (start + unit) // terms, (start + unit) % terms
        lane, row = row // rows, row % rows
        total[:] = _0
        for bit in range(bits):
            for c in range(columns):
                p = primes[lane, c]
                pad = _below(pads[unit, bit, c >> 1, c & 1], p)
                other = _below(others[unit, bit, c >> 1, c & 1], p)
                total[c] = _plus(_plus(total[c], total[c], p), pad, p)
                corrections[unit, bit, c] = _plus(_plus(y[lane, term, c], pad, p), p - other, p)
        for c in range(columns):
            p = primes[lane, c]
            out[lane, row, c] = _plus(out[lane, row, c], p - total[c], p)


@kernel
def _take_residues(
    out: Residues,
    terms: int,
    start: int,
    choices: NDArray[np.uint8],
    pads: Words,
    corrections: Residues,
    primes: Residues,
) -> None:
    units, bits, _, _ = pads.shape
    columns = out.shape[2]
    total = np.zeros(columns, np.uint64)
    rows = out.shape[1]
    for unit in range(units):
        row = (start + unit) // terms
        lane, row = row // rows, row % rows
        total[:] = _0
        for bit in range(bits):
            mask = _0 - np.uint64(choices[unit, bit])
            for c in range(columns):
                p = primes[lane, c]
                pad = _below(pads[unit, bit, c >> 1, c & 1], p)
                sent = corrections[unit, bit, c]
                sent -= p * np.uint64(sent >= p)
                doubled = _plus(total[c], total[c], p)
                total[c] = _plus(_plus(doubled, pad, p), sent & mask, p)
        for c in range(columns):
            p = primes[lane, c]
            out[lane, row, c] = _plus(out[lane, row, c], total[c], p)


@kernel
def _below(word: np.uint64, p: np.uint64) -> np.uint64:
    """Return 60 bits of a random word modulo p."""
    bits = word & _60
    return bits - p * np.uint64(bits >= p)


@kernel
def _plus(a: np.uint64, b: np.uint64, p: np.uint64) -> np.uint64:
    """Return a + b modulo p, for a below p and b up to p."""
    total = a + b
    return total - p * np.uint64(total >= p)


@kernel
def _add(out: Residues, a: Residues, b: Residues, primes: Residues) -> None:
    for lane in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[lane, r, c] = _plus(a[lane, r, c], b[lane, r, c], primes[lane, c])


@kernel
def _reduce(out: Residues, words: Words, primes: Residues) -> None:
    for lane in range(len(out)):
        for i in range(out.shape[1]):
            out[lane, i] = fold(words[lane, i, 0], words[lane, i, 1] & _60, primes[lane, 0])
