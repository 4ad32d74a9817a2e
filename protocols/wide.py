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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols import codec, limbs
from protocols import field as fp
from protocols.beaver import ring_matmul, ring_products
from protocols.crt import Residues, Ring, shift_words, to_words
from protocols.engine import Engine
from protocols.errors import CodecError, Disagreement
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.oblivious.numbers import Primes, Shape
from protocols.opening import open_shares
from protocols.prg import Seed, Stream
from protocols.prss import Holding, Subset
from protocols.secret import SecretArray
from protocols.transform import PRIME
from transport.base import Buffer

Value = TypeVar("Value")

#: One prime: what is decided modulo it is decided wrongly with a probability of about 2^−60.
SMALL = Ring((PRIME,))


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

    def part(self, start: int, stop: int, shape: tuple[int, ...]) -> Masked:
        """Return some of the numbers, counted in a row, in a shape of their own."""
        summands = [(held, words[start:stop]) for held, words in self.summands]
        return Masked(shape, self.opened[start:stop], self.offset, summands)

    def known(self, engine: Engine, words: int) -> Residues:
        """Return s_i modulo 2^(64·words), the sum of the r_A that this party adds as in `masked`."""
        total = np.zeros((len(self.opened), words), np.uint64)
        last = tuple(range(engine.t + 1, engine.n + 1))
        for held, ours in self.summands:
            if held.leads or held.subset == last:
                wide = np.zeros_like(total)
                wide[:, : ours.shape[1]] = ours[:, :words]
                limbs.add(total, wide)
        return total

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
        total = target.sub(total, summed(engine, target, self.summands, read))
        return total.reshape(len(target), *self.shape)


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
        self._streams: list[tuple[Holding, Stream]] = []

    def open(self, on: Ring, shares: Residues, plus: Residues | None = None) -> Pending[Residues]:
        """Open numbers of any degree below n, and with them what parties add to the sum on their own."""
        result: Pending[Residues] = Pending()
        summand = on.scale(shares, weight(self._engine.n, self._engine.point, on))
        self._add(on, summand if plus is None else on.add(summand, plus), result.settle)
        return result

    def reshare(self, on: Ring, shares: Residues) -> Pending[Residues]:
        """Bring numbers of any degree below n back to degree t, where they are not (`multiplied`)."""
        engine = self._engine
        if engine.full:
            return Pending(shares)
        result: Pending[Residues] = Pending()
        summand = on.scale(shares, weight(engine.n, engine.point, on))
        sets, r = _uniform(self._masks(), on, prod(shares.shape[1:]))
        kept = _weighted(engine, on, sets, r).reshape(summand.shape)
        ours = on.sum(r[:, [held.leads for held in sets]].swapaxes(1, 2))
        summand = on.add(summand, ours.reshape(summand.shape))
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
        offset = (1 << (max(bits, above) + 1)) + (1 << above >> 1)
        shape = shares.shape[1:]
        summands = draw_masks(engine, self._masks(), on, prod(shape), bits, offset)
        summand = on.scale(on.shift(shares, offset), weight(engine.n, engine.point, on))
        for held, words in summands:
            if held.leads:
                summand = on.add(summand, on.of_words(words).reshape(summand.shape))

        def finish(opened: Residues) -> None:
            words = on.words(opened.reshape(len(on), -1))
            result.settle(Masked(shape, words, offset, summands))

        self._add(on, summand, finish)
        return result

    def run(self) -> None:
        """Exchange the messages, and settle what waits for them."""
        if not self._parts:
            return
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

    def _masks(self) -> list[tuple[Holding, Stream]]:
        """Return the streams of the round, from which one part draws after the other."""
        self._streams = self._streams or self._engine.prss.streams(f"{self._step}/masks")
        return self._streams

    def _unpack(self, peer: str, payload: Buffer) -> list[Residues]:
        """Return the parts of a peer's message, held against what no honest party sends."""
        sizes = [summand.size for _, summand, _ in self._parts]
        message = _received(peer, self._step, payload, (sum(sizes),))
        flat = np.split(message, np.cumsum(sizes)[:-1])
        parts = [a.reshape(own.shape) for a, (_, own, _) in zip(flat, self._parts, strict=True)]
        for part, (on, _, _) in zip(parts, self._parts, strict=True):
            _require_canonical(peer, self._step, on, part)
        return parts


# --- Openings of degree t ----------------------------------------------------------------------------


def open_masked(
    engine: Engine,
    operation: str,
    on: Ring,
    shares: Residues,
    bits: int,
    summands: list[tuple[Holding, Residues]] | None = None,
) -> Masked:
    """Open integers |v| ≤ 2^bits, of degree t, under masks that hide them statistically; check the shares.

    The offset is 2^bits.

    Parameters
    ----------
    engine, operation
        The computation, and what is opened.
    on, shares, bits
        As for `Round.mask`.
    summands
        Where they are needed before: those of `draw_masks`, for this length and offset.

    Raises
    ------
    Disagreement
        The shares of all parties do not lie on polynomials of degree t; see `opening.open_shares`.

    Notes
    -----
    **Leakage.** Nothing: t parties miss one r_A, which hides v to a statistical distance of 2^−κ.

    **Cost.** One round; 8 bytes for each prime of every number to each peer.
    """
    return send_masked(engine, operation, on, shares, bits, summands)()


def send_masked(
    engine: Engine,
    operation: str,
    on: Ring,
    shares: Residues,
    bits: int,
    summands: list[tuple[Holding, Residues]] | None = None,
) -> Callable[[], Masked]:
    """Do what `open_masked` does: send now, and receive later, when what was sent before is received."""
    party, step, offset, shape = engine.party, engine.step(operation), 1 << bits, shares.shape[1:]
    size, domain = prod(shape), Modulo(on)
    if summands is None:
        summands = draw_masks(engine, engine.prss.streams(f"{step}/mask"), on, size, bits, offset)
    masked = on.shift(shares, offset).reshape(len(on), size)
    masked = on.add(masked, summed(engine, on, summands, on.of_words))
    message = codec.encode(masked)
    for peer in party.peers:
        party.send(peer, step, message)

    def receive() -> Masked:
        parts = [
            masked if name == party.me else domain.unpack(name, step, party.recv(name, step), size)
            for name in party.roster
        ]
        party.mesh.traffic.rounds += 1
        known = dict(enumerate(parts[: engine.t + 1], start=1))
        for point in range(engine.t + 2, engine.n + 1):
            if not np.array_equal(domain.interpolate(known, point), parts[point - 1]):
                raise Disagreement(
                    f"at step {step!r} the parties' shares contradict each other: one of the sites sent "
                    "wrong shares; discard this session's results"
                )
        opened = domain.interpolate(known, 0)
        party.absorb(step, opened.data)
        return Masked(shape, on.words(opened), offset, summands)

    return receive


def draw_masks(
    engine: Engine, streams: Sequence[tuple[Holding, Stream]], on: Ring, size: int, bits: int, offset: int
) -> list[tuple[Holding, Residues]]:
    """Draw the words of this party's r_A for integers of so many bits.

    Raises
    ------
    ValueError
        The ring is too small.
    """
    needed = bits + 1 + engine.security
    room = ((on.modulus - 2 * offset) // engine.prss.count).bit_length() - 1
    if room < needed:
        raise ValueError("the modulus is too small to mask integers of this length")
    width = -(-needed // 64)
    surplus = np.uint64(max(0, 64 * width - room))
    summands = []
    for held, stream in streams:
        words = _words(stream, (size, width))
        words[:, -1] >>= surplus
        summands.append((held, words))
    return summands


def capacity(engine: Engine, on: Ring) -> int:
    """Return the most bits of an integer that `Round.mask` and `open_masked` can hide in a ring."""
    return on.modulus.bit_length() - engine.prss.count.bit_length() - engine.security - 5


def lift(engine: Engine, on: Ring, shares: Elements) -> Residues:
    """Return shares modulo Q of integers that are shared over F_p, at most 2^(L − 1) in magnitude.

    They are opened under a mask r = Σ r_A in F_p; L is `Engine.room`. As c = v + h + r does not wrap around,
    v is c − h − Σ r_A in any other ring too, whose shares of the r_A are local.

    Parameters
    ----------
    shares
        Shape ``(size, 2)``.

    Returns
    -------
    ndarray
        Shape ``(primes, size)``.

    Notes
    -----
    **Leakage.** Nothing; see `open_masked`. **Cost.** One round, an element an entry to each peer.
    """
    label = engine.step("lift")
    offset = 1 << (engine.room - 1)
    masked = fp.add(shares, fp.from_ints(np.array(offset, object)))
    lifted = np.zeros((len(on), len(shares)), np.uint64)
    for held, r in engine.prss.summands(label, len(shares), engine.prss.bits):
        fp.add_scaled(masked, r, held.coefficient)
        factor = at_point(engine.n, held.subset, engine.point, on)
        lifted = on.sub(lifted, on.scale(on.of_words(r), factor))
    opened = open_shares(engine, "lift", masked)
    return on.shift(on.add(lifted, on.of_words(opened)), -offset)


@dataclass(frozen=True)
class Modulo:
    """Residues in a ring. The methods are those of `domain.Domain`."""

    on: Ring

    def draw(self, stream: Stream, size: int) -> Residues:
        """See `Domain.draw`."""
        return self.on.from_random(_words(stream, (len(self.on), size, 2)))

    def complete(self, values: Residues, given: Mapping[int, Residues], n: int) -> list[Residues]:
        """See `Domain.complete`."""
        known = {0: values, **given}
        return [
            given[point] if point in given else self.interpolate(known, point) for point in range(1, n + 1)
        ]

    def interpolate(self, known: Mapping[int, Residues], at: int) -> Residues:
        """Return the value at a point of the polynomials through values at some points."""
        total = np.zeros_like(next(iter(known.values())))
        for one, values in known.items():
            total = self.on.add(total, self.on.scale(values, interpolation(tuple(known), one, self.on, at)))
        return total

    def unpack(self, peer: str, step: str, message: Buffer, size: int) -> Residues:
        """See `Domain.unpack`."""
        numbers = _received(peer, step, message, (len(self.on), size))
        _require_canonical(peer, step, self.on, numbers)
        return numbers

    def of_bits(self, planes: NDArray[np.uint64], size: int) -> Residues:
        """See `Domain.of_bits`."""
        bits = np.unpackbits(planes.view(np.uint8), axis=1, count=size, bitorder="little")
        return np.repeat(bits.reshape(1, -1).astype(np.uint64), len(self.on), axis=0)

    def add(self, a: Residues, b: Residues) -> Residues:
        """See `Domain.add`."""
        return self.on.add(a, b)

    def sub(self, a: Residues, b: Residues) -> Residues:
        """See `Domain.sub`."""
        return self.on.sub(a, b)

    def flip(self, a: Residues, bits: Residues) -> Residues:
        """See `Domain.flip`."""
        return self.on.mul(a, self.on.sub(np.ones_like(a), self.on.add(bits, bits)))

    def known(self, engine: Engine, subset: Subset, values: Residues) -> Residues:
        """See `Domain.known`."""
        return self.on.scale(values, at_point(engine.n, subset, engine.point, self.on))

    def exclusive_or(self, engine: Engine, a: Residues, b: Residues) -> Residues:
        """See `Domain.exclusive_or`."""
        on = self.on
        left, right = (x.swapaxes(0, 1) for x in (a, b))
        product = on.mul(left, right)
        step = Round(engine, "exclusive or")
        joined = step.reshare(on, on.sub(on.add(left, right), on.add(product, product)))
        step.run()
        return joined.value.swapaxes(0, 1)

    def chosen(
        self,
        engine: Engine,
        step: str,
        bits: Residues,
        a: Residues,
        choosers: list[str],
        givers: Sequence[str],
    ) -> Residues:
        """See `domain.Domain.chosen`: a bit chooses for all primes at once."""
        size, primes = a.shape[1], np.array(self.on.primes, np.uint64)
        numbers = Primes(np.repeat(primes[np.newaxis], size, axis=0), bits=1)
        left, right = bits[0].reshape(size, 1, 1), np.ascontiguousarray(a.T).reshape(size, 1, len(primes))
        found = engine.triples.source.products(
            step, numbers, Shape(size, 1, 1, len(primes)), left, right, choosers, givers
        )
        return np.ascontiguousarray(found.reshape(size, len(primes)).T)

    def from_summands(self, engine: Engine, a: Residues) -> Residues:
        """See `domain.Domain.from_summands`."""
        return self.on.scale(a, self.on.inverses(weight(engine.n, engine.point, self.on)))


def _received(peer: str, step: str, payload: Buffer, shape: tuple[int, ...]) -> Residues:
    """Return the numbers of a peer's message, if it is of the shape that is due."""
    message = codec.decode(payload, peer=peer)
    if not isinstance(message, np.ndarray) or message.dtype != np.uint64 or message.shape != shape:
        raise CodecError(f"site {peer} sent no such numbers as are due at step {step!r}", peer=peer)
    return message


def _require_canonical(peer: str, step: str, on: Ring, numbers: Residues) -> None:
    if not on.canonical(numbers):
        raise CodecError(f"site {peer} sent a number that is no residue at step {step!r}", peer=peer)


# --- Random numbers ----------------------------------------------------------------------------------


def uniform(engine: Engine, on: Ring, shape: tuple[int, ...]) -> Residues:
    """Return shares of uniform numbers that nobody knows. Local; see `prss`."""
    sets, r = _uniform(engine.prss.streams(engine.step("uniform")), on, prod(shape))
    return _weighted(engine, on, sets, r).reshape(len(on), *shape)


def bounded(engine: Engine, on: Ring, shape: tuple[int, ...], bits: int) -> Residues:
    """Return shares of integers Σ r_A, each r_A uniform on 0 … 2^bits − 1, bits < 60. Local."""
    total = np.zeros((len(on), *shape), np.uint64)
    for held, stream in engine.prss.streams(engine.step("bounded")):
        words = _words(stream, shape) >> np.uint64(64 - bits)
        r = np.broadcast_to(words, total.shape)
        total = on.add(total, on.scale(r, at_point(engine.n, held.subset, engine.point, on)))
    return total


def _uniform(
    streams: Sequence[tuple[Holding, Stream]], on: Ring, size: int
) -> tuple[list[Holding], Residues]:
    """Return the sets and their next uniform r_A, of shape ``(primes, sets, size)``."""
    words = np.empty((len(streams), len(on), size, 2), np.uint64)
    for (_, stream), out in zip(streams, words, strict=True):
        stream.fill(out)
    numbers = np.ascontiguousarray(words.swapaxes(0, 1)).reshape(len(on), -1, 2)
    return [held for held, _ in streams], on.from_random(numbers).reshape(len(on), len(streams), size)


def _weighted(engine: Engine, on: Ring, sets: Sequence[Holding], r: Residues) -> Residues:
    """Return this party's shares of Σ r_A, of shape ``(primes, size)``."""
    factors = np.stack([at_point(engine.n, held.subset, engine.point, on) for held in sets], axis=1)
    return on.sum(on.mul(r, factors[:, :, np.newaxis]).swapaxes(1, 2))


def summed(
    engine: Engine,
    on: Ring,
    summands: Sequence[tuple[Holding, Residues]],
    read: Callable[[Residues], Residues],
) -> Residues:
    """Return shares of Σ f(r_A), where `read` makes f(r_A) of the words of r_A. Local."""
    numbers = read(np.concatenate([words for _, words in summands]))
    sets = [held for held, _ in summands]
    return _weighted(engine, on, sets, numbers.reshape(len(on), len(sets), numbers.shape[1] // len(sets)))


def _words(stream: Stream, shape: tuple[int, ...]) -> Residues:
    words = np.empty(shape, np.uint64)
    stream.fill(words)
    return words


# --- Products ----------------------------------------------------------------------------------------


def multiplied(
    engine: Engine, operation: str, on: Ring, pairs: Sequence[tuple[Residues, Residues]]
) -> list[Residues]:
    """Return shares of x·y of each pair, to be put in a `Round`: of degree 2t, and local.

    Where all but one may collude they are of degree n − 1, and take two rounds; see `beaver.ring_products`.
    """
    if engine.full:
        return ring_products(engine, operation, on, pairs)
    return [on.mul(x, y) for x, y in pairs]


def multiplied_matrices(engine: Engine, operation: str, on: Ring, x: Residues, y: Residues) -> Residues:
    """Return shares of x @ y, to be put in a `Round`; see `multiplied`."""
    return ring_matmul(engine, operation, on, x, y) if engine.full else on.matmul(x, y)


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
            pending.append((halves, stack[:, paired:]))
        made = multiplied(engine, operation, on, [halves for halves, _ in pending])
        joined = [step.reshare(on, one) for one in made]
        step.run()
        stacks = [
            np.concatenate([one.value, rest], axis=1) for one, (_, rest) in zip(joined, pending, strict=True)
        ]
    return [stack[:, 0] for stack in stacks]


def are_within(engine: Engine, numbers: Masked, above: int) -> bool:
    """Open whether all numbers |v| < 2^(above − 1), opened as `Round.mask` does with `above`.

    Then it is true. It is false if any is larger than (4C + 2) times that, C = C(n, t).

    Notes
    -----
    The ⌊v / 2^above + ½⌋ are shared with an error of 0, …, C. ∏ (v − e) over these e is 0 for all of them; a
    sum with public weights, unknown before everything was opened, and a secret factor, is 0 or uniform.

    **Leakage.** Nothing else. **Cost.** ⌈log2(C + 1)⌉ + 1 rounds.
    """
    beyond = numbers.shifted(engine, SMALL, above).reshape(1, -1)
    factors = [SMALL.shift(beyond, -error) for error in range(engine.prss.count + 1)]
    (vanishing,) = products(engine, "bound", SMALL, factors)
    seed = Seed(engine.party.transcript, engine.party.mesh.session.id)
    stream = seed.stream(engine.step("bound weights"))
    total = SMALL.mul(vanishing, SMALL.from_random(_words(stream, (*beyond.shape, 2))))
    combined = SMALL.sum(total[:, np.newaxis])
    step = Round(engine, "bound")
    pair = combined, uniform(engine, SMALL, (1,))
    opened = step.open(SMALL, multiplied(engine, "bound", SMALL, [pair])[0])
    step.run()
    return not opened.value.any()


# --- Coefficients ------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def weight(n: int, point: int, on: Ring) -> Residues:
    """Return the Lagrange coefficient that takes a share of degree below n to its part of the secret."""
    return interpolation(tuple(range(1, n + 1)), point, on, at=0)


@lru_cache(maxsize=4096)
def at_point(n: int, subset: Subset, point: int, on: Ring) -> Residues:
    """Return f_A at a party's point: 1 at 0, and 0 at all parties outside A; see `prss`."""
    return interpolation((0, *(j for j in range(1, n + 1) if j not in subset)), 0, on, at=point)


@lru_cache(maxsize=4096)
def interpolation(points: tuple[int, ...], one: int, on: Ring, at: int) -> Residues:
    """Return, at a point, the polynomial that is 1 at one of some points and 0 at the others."""
    value = prod((Fraction(at - j, one - j) for j in points if j != one), start=Fraction(1))
    return on.constant(value.numerator, value.denominator)
