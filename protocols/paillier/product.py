"""Products of what two parties hold, as shares: the left one's encrypted numbers times the right one's.

The left party, who owns the key, *offers* ciphertexts of its numbers. The right party makes of them and its
own numbers ciphertexts of the products, adds to every slot a random number 2^40 times as large as what the
slot can hold, rerandomises, and *answers*. The left party decrypts. Its share is what it finds, the right
party's is what was added, negative: integers whose sum is the product, so that they are shares modulo any
number too.

Slots are used twice. An offer holds several numbers in a ciphertext where one number of the right party
multiplies them all (rows of a matrix), or where only one slot of a product of polynomials is wanted (inner
products); an answer always holds as many results as there is room for.

**Leakage.** The left party sees each result under a mask of statistical distance 2^−40, in ciphertexts whose
randomness is within 2^−40 of uniform; the right party sees ciphertexts. Sizes and bounds are public. Passive
security: a right party may make of the numbers what it wants, a left party may encrypt what it wants.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.paillier import ciphertexts as vectors
from protocols.paillier.keys import SECURITY, PrivateKey, PublicKey
from protocols.paillier.library import on_all_cores
from protocols.paillier.packing import Packing
from transport.base import Buffer

Integers = NDArray[np.object_]


@dataclass(frozen=True)
class Shape:
    """What is multiplied, public.

    Attributes
    ----------
    rows, terms, columns
        A matrix of ``(rows, terms)`` on the left, of ``(terms, columns)`` on the right.
    left, right
        Bits, without sign, of the numbers.
    """

    rows: int
    terms: int
    columns: int
    left: int
    right: int

    def slot(self) -> int:
        """Return the bits of a slot: a sum of products, its mask, a carry and a sign."""
        return self.left + self.right + self.terms.bit_length() + SECURITY + 2


@dataclass(frozen=True)
class Work:
    """What a product takes.

    Attributes
    ----------
    offers, answers
        Ciphertexts from the left party, and from the right one.
    multiplications
        Of ciphertexts, by the right party.
    """

    offers: int
    answers: int
    multiplications: int

    @classmethod
    def of(cls, shape: Shape, bits: int) -> Work:
        """Return the work of a matrix product under a modulus of so many bits."""
        groups = _Groups.of(shape, bits)
        offers, answers = groups.rows * groups.width, groups.rows * shape.columns
        exponents = shape.right if groups.by_rows else shape.right + groups.packing.bits * (groups.many - 1)
        window = vectors.window_for(exponents, groups.width)
        return cls(offers, answers, answers * vectors.multiplications(exponents, groups.width, window))

    @classmethod
    def of_entries(cls, shape: Shape, size: int, bits: int) -> Work:
        """Return the work of so many products entry by entry."""
        packing = Packing.of(bits, shape.slot())
        answers = -(-size // packing.slots)
        exponents = shape.right + packing.bits * (packing.slots - 1)
        window = vectors.window_for(exponents, packing.slots)
        return cls(size, answers, answers * vectors.multiplications(exponents, packing.slots, window))


# --- Matrix products ---------------------------------------------------------------------------------


def offer_matrix(key: PrivateKey, shape: Shape, x: Integers) -> bytes:
    """Return the left party's message for x @ y."""
    groups = _Groups.of(shape, key.bits)
    plaintexts = groups.pack_left(x, key.n)
    return vectors.encode(key, vectors.encrypt(key, plaintexts))


def answer_matrix(
    key: PublicKey, shape: Shape, y: Integers, offered: Buffer, peer: str
) -> tuple[bytes, Integers]:
    """Return the right party's message for x @ y, and its share, of shape ``(rows, columns)``.

    Raises
    ------
    CodecError
        The offer is none of these shapes under this key.
    """
    groups = _Groups.of(shape, key.bits)
    width = groups.width
    offers = vectors.decode(key, offered, groups.rows * width, peer)
    weights = groups.weights(y)
    products: list[Any] = []
    for row in range(groups.rows):
        products += vectors.weigh(key, offers[row * width : (row + 1) * width], weights)
    masks = [[_mask(shape) for _ in range(groups.used)] for _ in products]
    plain = [groups.packing.pack(numbers, key.n) for numbers in masks]
    return vectors.encode(key, vectors.blind(key, products, plain)), -groups.read(masks)


def finish_matrix(key: PrivateKey, shape: Shape, answered: Buffer, peer: str) -> Integers:
    """Return the left party's share of x @ y, of shape ``(rows, columns)``.

    Raises
    ------
    CodecError
        The answer is none of these shapes under this key.
    """
    groups = _Groups.of(shape, key.bits)
    answers = vectors.decode(key, answered, groups.rows * shape.columns, peer)
    return groups.read(_unpacked(key, groups.packing, answers))


@dataclass(frozen=True)
class _Groups:
    """How numbers of a matrix product are grouped in plaintexts.

    Attributes
    ----------
    shape, packing
        The product, and the slots.
    many
        How many numbers of the left are in a plaintext: rows if `by_rows`, else terms.
    """

    shape: Shape
    packing: Packing
    many: int
    by_rows: bool

    @classmethod
    def of(cls, shape: Shape, bits: int) -> _Groups:
        """Choose: rows side by side, or, of an only row, terms as coefficients of a polynomial."""
        packing = Packing.of(bits, shape.slot())
        if shape.rows > 1:
            return cls(shape, packing, min(packing.slots, shape.rows), True)
        return cls(shape, packing, min((packing.slots + 1) // 2, shape.terms), False)

    @property
    def rows(self) -> int:
        """Groups of rows."""
        return -(-self.shape.rows // self.many) if self.by_rows else self.shape.rows

    @property
    def width(self) -> int:
        """Ciphertexts of a group of rows."""
        return self.shape.terms if self.by_rows else -(-self.shape.terms // self.many)

    @property
    def used(self) -> int:
        """Slots of an answer that hold something."""
        return self.many if self.by_rows else 2 * self.many - 1

    def pack_left(self, x: Integers, modulus: Any) -> list[Any]:
        """Return plaintexts, group of rows by group of rows."""
        if self.by_rows:
            parts = [x[at : at + self.many].T for at in range(0, len(x), self.many)]
        else:
            parts = [_folded(row, self.many) for row in x]
        return [self.packing.pack(numbers.tolist(), modulus) for part in parts for numbers in part]

    def weights(self, y: Integers) -> list[list[int]]:
        """Return the exponents for each column: of polynomials, the coefficients run backwards."""
        columns = list(y.T)
        if self.by_rows:
            return [column.tolist() for column in columns]
        bits = self.packing.bits
        return [
            [
                sum(int(v) << bits * (self.many - 1 - i) for i, v in enumerate(part))
                for part in _folded(column, self.many)
            ]
            for column in columns
        ]

    def read(self, slots: Sequence[Sequence[int]]) -> Integers:
        """Return the results in the slots of answers, of shape ``(rows, columns)``."""
        columns = self.shape.columns
        out = np.empty((self.shape.rows, columns), object)
        for row in range(self.shape.rows):
            group, slot = divmod(row, self.many) if self.by_rows else (row, self.many - 1)
            for column in range(columns):
                out[row, column] = slots[group * columns + column][slot]
        return out


def _folded(numbers: Integers, length: int) -> Integers:
    """Return a vector in rows of a length, zeros at the end."""
    padded = np.zeros(-(-len(numbers) // length) * length, object)
    padded[: len(numbers)] = numbers
    return padded.reshape(-1, length)


# --- Products entry by entry -------------------------------------------------------------------------


def offer_entries(key: PrivateKey, x: Integers) -> bytes:
    """Return the left party's message for x·y, entry by entry of vectors."""
    return vectors.encode(key, vectors.encrypt(key, x.tolist()))


def answer_entries(
    key: PublicKey, shape: Shape, y: Integers, offered: Buffer, peer: str
) -> tuple[bytes, Integers]:
    """Return the right party's message for x·y, and its share; see `answer_matrix`."""
    packing = Packing.of(key.bits, shape.slot())
    offers = vectors.decode(key, offered, len(y), peer)
    groups = [range(at, min(at + packing.slots, len(y))) for at in range(0, len(y), packing.slots)]

    def joined(part: Sequence[range]) -> list[Any]:
        return [
            vectors.power_product(
                key, [offers[i] for i in group], [int(y[i]) << packing.bits * s for s, i in enumerate(group)]
            )
            for group in part
        ]

    products = on_all_cores(joined, groups)
    masks = [[_mask(shape) for _ in group] for group in groups]
    plain = [packing.pack(numbers, key.n) for numbers in masks]
    share = np.array([-mask for numbers in masks for mask in numbers], object)
    return vectors.encode(key, vectors.blind(key, products, plain)), share


def finish_entries(key: PrivateKey, shape: Shape, size: int, answered: Buffer, peer: str) -> Integers:
    """Return the left party's share of x·y; see `finish_matrix`."""
    packing = Packing.of(key.bits, shape.slot())
    answers = vectors.decode(key, answered, -(-size // packing.slots), peer)
    found = [number for numbers in _unpacked(key, packing, answers) for number in numbers]
    return np.array(found[:size], object)


# --- Helpers -----------------------------------------------------------------------------------------


def _mask(shape: Shape) -> int:
    return secrets.randbits(shape.slot() - 2)


def _unpacked(key: PrivateKey, packing: Packing, answers: Sequence[Any]) -> list[list[int]]:
    return [packing.unpack(plain, key.n) for plain in key.decrypt(answers)]
