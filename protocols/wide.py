"""Shamir's scheme for long integers, modulo Q = ∏ p_i, and rounds in which much is opened at once.

The protocols are those of `reshare`, in a ring (`crt.Ring`) long enough for exact determinants. In one
round each party sends one message, however many things of whatever ring are computed in it:

- *open* a number: all learn it;
- *reshare* one of degree 2t: it is opened under a uniform mask, whose share is then taken off;
- *mask* an integer v: all learn c = v + h + Σ r_A, where the words of every r_A are known to its holders.
  Anything made of words of c and of the r_A, ⌊v / 2^d⌋ above all, is then shared without a message, in
  any ring.

What is sent is a summand of the result, hidden under pairwise masks that cancel in the sum, so that shares
of degree 2t need not be randomised. As with all openings of degree 2t nothing tells a wrong message from a
right one: this is secure against passive parties, and transcripts are compared before results are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols import codec
from protocols import field as fp
from protocols.crt import Residues, Ring, shift_words, to_words
from protocols.engine import Engine
from protocols.errors import CodecError
from protocols.fixed import Format
from protocols.prg import Stream
from protocols.prss import Holding, Subset
from protocols.secret import SecretArray
from transport.base import Buffer

Value = TypeVar("Value")


class Pending(Generic[Value]):
    """What a round will have opened or reshared: `value`, once the round has run."""

    value: Value

    def __init__(self, *settled: Value) -> None:
        for value in settled:
            self.value = value

    def settle(self, value: Value) -> None:
        """Set the value."""
        self.value = value


@dataclass(frozen=True)
class Masked:
    """An integer v opened under a mask: c = v + h + Σ r_A, entry by entry.

    Attributes
    ----------
    shape
        Shape of the values.
    opened
        The words of c, of shape ``(size, words)``, known to all.
    offset
        h, which makes c positive.
    summands
        The sets that this party is in, and the words of each one's r_A.
    """

    shape: tuple[int, ...]
    opened: Residues
    offset: int
    summands: list[tuple[Holding, Residues]] = field(repr=False)

    def shifted(self, engine: Engine, target: Ring, drop: int) -> Residues:
        """Return shares of ⌊v / 2^drop⌋, and a number from 0 to C(n, t) too many. Local."""

        def read(words: Residues) -> Residues:
            return target.of_words(shift_words(words, drop))

        return self._linear(engine, target, read, self.offset >> drop)

    def weighted(self, engine: Engine, target: Ring, weights: Residues) -> Residues:
        """Return shares, of degree 2t, of Σ_l w_l·⌊v / 2^(64·l)⌋ for shared w of shape ``(primes, levels)``.

        Each ⌊v / 2^(64·l)⌋ is up to C(n, t) too large. Local.
        """

        def read(words: Residues) -> Residues:
            return target.weighted_prefixes(words, weights)

        offset = read(to_words([self.offset]))[:, 0]
        return self._linear(engine, target, read, offset)

    def fixed_point(self, engine: Engine, drop: int, reading: Format) -> SecretArray:
        """Return v / 2^drop over F_p, an array as all others. Local."""

        def elements(words: Residues) -> NDArray[np.uint64]:
            total = fp.zeros(len(words))
            for position, column in enumerate(shift_words(words, drop).T):
                fp.add_scaled(total, fp.from_ints(column), pow(2, 64 * position, fp.P))
            return total

        total = fp.sub(elements(self.opened), elements(to_words([self.offset])))
        for held, words in self.summands:
            fp.add_scaled(total, elements(words), fp.P - held.coefficient)
        return SecretArray(engine, total.reshape(*self.shape, 2), reading)

    def _linear(
        self, engine: Engine, target: Ring, read: Callable[[Residues], Residues], offset: int | Residues
    ) -> Residues:
        """Return what `read` makes of c, less that of h and, by their shares, of the r_A."""
        total = read(self.opened)
        constant = target.constant(offset) if isinstance(offset, int) else offset
        total = target.sub(total, np.broadcast_to(constant[:, np.newaxis], total.shape))
        for held, words in self.summands:
            factor = at_point(engine.n, held.subset, engine.point, target)
            total = target.sub(total, target.scale(read(words), factor))
        return total.reshape(-1, *self.shape)


class Round:
    """One message to every peer: what is opened in it is known once `run` returns.

    Parameters
    ----------
    engine
        The computation.
    operation
        For the step's name.

    Notes
    -----
    **Leakage.** What is opened, and nothing else: what t colluders see of the others is uniform but for the
    sums, by the masks between any two honest parties (as far as AES-128 and HKDF-SHA256 are pseudorandom).

    **Cost.** One round; 8 bytes for each prime of every number to each peer.
    """

    def __init__(self, engine: Engine, operation: str) -> None:
        self._engine = engine
        self._step = engine.step(operation)
        self._parts: list[tuple[Ring, Residues, Callable[[Residues], None]]] = []

    def open(self, on: Ring, shares: Residues, plus: Residues | None = None) -> Pending[Residues]:
        """Open numbers of any degree below n, and with them what parties add to the sum on their own."""
        result: Pending[Residues] = Pending()
        summand = on.scale(shares, weight(self._engine.n, self._engine.point, on))
        self._add(on, summand if plus is None else on.add(summand, plus), result.settle)
        return result

    def reshare(self, on: Ring, shares: Residues) -> Pending[Residues]:
        """Bring numbers of any degree below n back to degree t."""
        engine = self._engine
        result: Pending[Residues] = Pending()
        summand = on.scale(shares, weight(engine.n, engine.point, on))
        kept = np.zeros_like(summand)
        for held, r in _uniform(engine, self._label("reshare"), on, shares.shape[1:]):
            kept = on.add(kept, on.scale(r, at_point(engine.n, held.subset, engine.point, on)))
            if held.leads:
                summand = on.add(summand, r)
        self._add(on, summand, lambda opened: result.settle(on.sub(opened, kept)))
        return result

    def mask(self, on: Ring, shares: Residues, bits: int, *, above: int = 0) -> Pending[Masked]:
        """Open integers |v| ≤ 2^bits, of any degree below n, under masks that hide them statistically.

        With `above`, the offset is ½·2^above modulo 2^above: ⌊(v + h) / 2^above⌋ − ⌊h / 2^above⌋ is 0 for
        exactly −½ ≤ v / 2^above < ½.

        Raises
        ------
        ValueError
            The ring is too small.
        """
        engine = self._engine
        result: Pending[Masked] = Pending()
        needed = bits + 1 + engine.security
        offset = (1 << (max(bits, above) + 1)) + (1 << above >> 1)
        room = ((on.modulus - 2 * offset) // engine.prss.count).bit_length() - 1
        if room < needed:
            raise ValueError("the modulus is too small to mask integers of this length")
        width = -(-needed // 64)
        surplus = np.uint64(max(0, 64 * width - room))
        shape = shares.shape[1:]
        summand = on.scale(on.shift(shares, offset), weight(engine.n, engine.point, on))
        summands = []
        for held, stream in engine.prss.streams(self._label("mask")):
            words = _words(stream, (prod(shape), width))
            words[:, -1] >>= surplus
            summands.append((held, words))
            if held.leads:
                summand = on.add(summand, on.of_words(words).reshape(summand.shape))

        def finish(opened: Residues) -> None:
            words = on.words(opened.reshape(len(on), -1))
            result.settle(Masked(shape, words, offset, summands))

        self._add(on, summand, finish)
        return result

    def run(self) -> None:
        """Exchange the messages, and settle what waits for them."""
        party = self._engine.party
        streams = party.streams(self._step)
        for position, (on, summand, finish) in enumerate(self._parts):
            flat = summand.reshape(len(on), -1)
            for peer, stream in streams.items():
                r = on.from_random(_words(stream, (*flat.shape, 2)))
                flat = on.add(flat, r) if party.me > peer else on.sub(flat, r)
            self._parts[position] = on, flat.reshape(summand.shape), finish
        message = np.concatenate([summand.reshape(-1) for _, summand, _ in self._parts])
        received = party.mesh.broadcast(self._step, codec.encode(message))
        totals = [summand for _, summand, _ in self._parts]
        for peer, payload in received.items():
            parts = self._unpack(peer, payload)
            totals = [on.add(a, b) for (on, _, _), a, b in zip(self._parts, totals, parts, strict=True)]
        for (_, _, finish), total in zip(self._parts, totals, strict=True):
            party.absorb(self._step, np.ascontiguousarray(total).data)
            finish(total)

    def _add(self, on: Ring, summand: Residues, finish: Callable[[Residues], None]) -> None:
        self._parts.append((on, summand, finish))

    def _label(self, kind: str) -> str:
        return f"{self._step}/{kind} {len(self._parts)}"

    def _unpack(self, peer: str, payload: Buffer) -> list[Residues]:
        """Return the parts of a peer's message, held against what no honest party sends."""
        message = codec.decode(payload, peer=peer)
        sizes = [summand.size for _, summand, _ in self._parts]
        if (
            not isinstance(message, np.ndarray)
            or message.dtype != np.uint64
            or message.shape != (sum(sizes),)
        ):
            raise CodecError(f"site {peer} sent no such numbers as are due at step {self._step!r}", peer=peer)
        flat = np.split(message, np.cumsum(sizes)[:-1])
        parts = [a.reshape(own.shape) for a, (_, own, _) in zip(flat, self._parts, strict=True)]
        if not all(on.canonical(part) for part, (on, _, _) in zip(parts, self._parts, strict=True)):
            raise CodecError(
                f"site {peer} sent a number that is no residue at step {self._step!r}", peer=peer
            )
        return parts


# --- Random numbers ----------------------------------------------------------------------------------


def uniform(engine: Engine, on: Ring, shape: tuple[int, ...]) -> Residues:
    """Return shares of uniform numbers that nobody knows. Local; see `prss`."""
    total = np.zeros((len(on), *shape), np.uint64)
    for held, r in _uniform(engine, engine.step("uniform"), on, shape):
        total = on.add(total, on.scale(r, at_point(engine.n, held.subset, engine.point, on)))
    return total


def bounded(engine: Engine, on: Ring, shape: tuple[int, ...], bits: int) -> Residues:
    """Return shares of integers Σ r_A, each r_A uniform on 0 … 2^bits − 1, bits < 60. Local."""
    total = np.zeros((len(on), *shape), np.uint64)
    for held, stream in engine.prss.streams(engine.step("bounded")):
        words = _words(stream, shape) >> np.uint64(64 - bits)
        r = np.broadcast_to(words, total.shape)
        total = on.add(total, on.scale(r, at_point(engine.n, held.subset, engine.point, on)))
    return total


def _uniform(
    engine: Engine, label: str, on: Ring, shape: tuple[int, ...]
) -> Iterator[tuple[Holding, Residues]]:
    """Use up a label, and yield each set with its r_A, uniform modulo Q."""
    for held, stream in engine.prss.streams(label):
        words = _words(stream, (len(on), prod(shape), 2))
        yield held, on.from_random(words).reshape(len(on), *shape)


def _words(stream: Stream, shape: tuple[int, ...]) -> Residues:
    words = np.empty(shape, np.uint64)
    stream.fill(words)
    return words


# --- Products ----------------------------------------------------------------------------------------


def products(engine: Engine, operation: str, on: Ring, *lists: list[Residues]) -> list[Residues]:
    """Return the product of each list of factors, of the same shape within a list.

    **Cost.** ⌈log2 k⌉ rounds for k factors in the longest list, and k − 1 numbers an entry.
    """
    stacks = [np.stack(factors, axis=1) for factors in lists]
    while any(stack.shape[1] > 1 for stack in stacks):
        step = Round(engine, operation)
        pending = []
        for stack in stacks:
            paired = stack.shape[1] & ~1
            halves = stack[:, :paired:2], stack[:, 1:paired:2]
            pending.append((step.reshare(on, on.mul(*halves)), stack[:, paired:]))
        step.run()
        stacks = [np.concatenate([joined.value, rest], axis=1) for joined, rest in pending]
    return [stack[:, 0] for stack in stacks]


# --- Coefficients ------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def weight(n: int, point: int, on: Ring) -> Residues:
    """Return the Lagrange coefficient that takes a share of degree below n to its part of the secret."""
    return interpolation(tuple(range(1, n + 1)), point, on, at=0)


@lru_cache(maxsize=4096)
def at_point(n: int, subset: Subset, point: int, on: Ring) -> Residues:
    """Return f_A at a party's point: 1 at 0, and 0 at all parties outside A; see `prss`."""
    return interpolation((0, *(j for j in range(1, n + 1) if j not in subset)), 0, on, at=point)


def interpolation(points: tuple[int, ...], one: int, on: Ring, at: int) -> Residues:
    """Return, at a point, the polynomial that is 1 at one of some points and 0 at the others."""
    value = prod((Fraction(at - j, one - j) for j in points if j != one), start=Fraction(1))
    return on.constant(value.numerator, value.denominator)
