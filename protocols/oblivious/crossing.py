"""Products of one party's numbers with another's, as shares, by oblivious transfer: Gilboa's [1]_.

Party i has x_i and y_i. Every pair computes shares of x_i·y_j + x_j·y_i: each is the chooser for its x and
gives its y. With what it computes by itself, each party then has a share of (Σ x_i)·(Σ y_i). Numbers may be
matrices: one bit of the left one then chooses for a whole row of the right one.

References
----------
.. [1] N. Gilboa, "Two Party RSA Key Generation", CRYPTO 1999, section 4.1.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from protocols import codec
from protocols.errors import CodecError
from protocols.mersenne import kernel
from protocols.oblivious import base, punctured
from protocols.oblivious.extension import BLOCKS, DEPTH, Chooser, ChosenFrom
from protocols.oblivious.hashing import hashes
from protocols.oblivious.numbers import Numbers, Shape
from protocols.party import Party
from protocols.stripes import cut
from transport.base import Buffer

Words = NDArray[np.uint64]

#: Hashes computed for a message, one or two mebibytes of them.
BATCH = 1 << 17
#: Most of them for one number of the chooser: both may send so much before either receives.
WIDEST = 1 << 18


class Crossing:
    """This party's transfers with all others.

    Parameters
    ----------
    party
        This party.
    label
        Names its steps; used once in a session.
    entropy
        As for `engine.Engine`.

    Notes
    -----
    **Cost.** To create: three rounds, and 128 transfers on the curve with each peer in each direction:
    12 kB and 0.1 s a peer.
    """

    def __init__(
        self, party: Party, label: str, entropy: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self.party = party
        self._choosers: dict[str, Chooser] = {}
        self._chosen: dict[str, ChosenFrom] = {}
        #: Hashes used up, with each peer as chooser and as the other.
        self._used = {(peer, chooses): 0 for peer in party.peers for chooses in (True, False)}
        self._set_up(label, entropy)

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
        """Return this party's share of the sum, over all pairs of different parties, of x_i @ y_j.

        Parameters
        ----------
        step
            The step's name, fresh.
        on, shape
            What is multiplied, and how many.
        x, y
            This party's numbers; one may be None if this party does not choose, or does not give.
        choosers, givers
            Those whose x counts, and those whose y does; all by default.

        Notes
        -----
        **Leakage.** Nothing, to passive parties: what the chooser sends is pseudorandom, and so is, to the
        chooser, what it is sent, but for its share.

        **Cost.** Two rounds; more if there are thousands of columns. For every number of x and each
        of its bits, 4 bytes from the chooser, and one number for each column from the giver.
        """
        me, peers = self.party.me, self.party.peers
        widest = max(1, 2 * WIDEST // (on.bits * on.words))
        if shape.columns > widest:
            parts = [
                self.products(
                    f"{step}/{part.start}",
                    on.part(part),
                    Shape(shape.lanes, shape.rows, shape.terms, part.stop - part.start),
                    x,
                    None if y is None else np.ascontiguousarray(y[:, :, part]),
                    choosers,
                    givers,
                )
                for part in cut(0, shape.columns, widest)
            ]
            return np.concatenate(parts, axis=2)
        takes = [peer for peer in peers if me in (choosers or [me]) and peer in (givers or [peer])]
        gives = [peer for peer in peers if me in (givers or [me]) and peer in (choosers or [peer])]
        out = on.zeros((shape.lanes, shape.rows, shape.columns))
        blocks = -(-shape.columns * on.words // 2)  # of a hash, for each transfer
        size = max(1, BATCH // (on.bits * blocks))
        units = cut(0, shape.units, size)

        def choose(part: slice) -> dict[str, tuple[Words, NDArray[np.uint8]]]:
            if not takes:
                return {}
            bits = on.choices(_given(x), part.start, part.stop)
            padded = np.zeros(-(-bits.size // 64) * 64, np.uint8)
            padded[: bits.size] = bits.reshape(-1)
            r = np.packbits(padded, bitorder="little").view(np.uint64)
            rows = {}
            for peer in takes:
                message, t = self._choosers[peer].choose(r)
                self.party.send(peer, step, message)
                rows[peer] = t[: bits.size], bits
            return rows

        def receive(part: slice) -> dict[str, Words]:
            count = (part.stop - part.start) * on.bits
            words = -(-count // 64)
            return {
                peer: self._chosen[peer].follow(self.party.recv(peer, step), words, peer)[:count]
                for peer in gives
            }

        def give(part: slice, rows: dict[str, Words]) -> None:
            for peer, q in rows.items():
                pads = self._pads(peer, False, q, blocks)
                others = self._pads(peer, False, q ^ self._chosen[peer].s, blocks, advance=True)
                form = (part.stop - part.start, on.bits, blocks, 2)
                corrections = on.give(
                    out, _given(y), shape, part.start, pads.reshape(form), others.reshape(form)
                )
                self.party.send(peer, step, codec.encode(corrections))

        def take(part: slice, rows: dict[str, tuple[Words, NDArray[np.uint8]]]) -> None:
            units = part.stop - part.start
            for peer, (t, bits) in rows.items():
                corrections = codec.decode(self.party.recv(peer, step), peer=peer)
                if not on.correct(corrections, units, shape.columns):
                    raise CodecError(f"site {peer} sent no corrections at step {step!r}", peer=peer)
                pads = self._pads(peer, True, t, blocks, advance=True)
                form = (units, on.bits, blocks, 2)
                on.take(out, shape, part.start, bits, pads.reshape(form), corrections)

        chosen, followed = (choose(units[0]), receive(units[0])) if units else ({}, {})
        for number, part in enumerate(units):
            following = units[number + 1] if number + 1 < len(units) else None
            # The next choices are on their way while these are answered.
            next_chosen = choose(following) if following else {}
            give(part, followed)
            next_followed = receive(following) if following else {}
            take(part, chosen)
            chosen, followed = next_chosen, next_followed
        self.party.mesh.traffic.rounds += 2 * bool(units)
        return out

    def bits(self, step: str, x: Words, y: Words) -> Words:
        """Return this party's words of the sum, over all pairs, of x_i & y_j, 64 bits a word.

        As `products`; for each bit, 4 bytes and a bit.
        """
        party, out = self.party, np.zeros_like(x)
        for part in cut(0, len(x), BATCH // 64):
            rows = {}
            for peer in party.peers:
                message, rows[peer] = self._choosers[peer].choose(x[part])
                party.send(peer, step, message)
            for peer in party.peers:
                q = self._chosen[peer].follow(party.recv(peer, step), len(x[part]), peer)
                pad = _low_bits(self._pads(peer, False, q, 1))
                other = _low_bits(self._pads(peer, False, q ^ self._chosen[peer].s, 1, advance=True))
                party.send(peer, step, codec.encode(pad ^ other ^ y[part]))
                out[part] ^= pad
            for peer in party.peers:
                correction = codec.decode(party.recv(peer, step), peer=peer)
                if not (isinstance(correction, np.ndarray) and correction.dtype == np.uint64) or (
                    correction.shape != x[part].shape
                ):
                    raise CodecError(f"site {peer} sent no corrections at step {step!r}", peer=peer)
                pad = _low_bits(self._pads(peer, True, rows[peer], 1, advance=True))
                out[part] ^= pad ^ (correction & x[part])
        party.mesh.traffic.rounds += 2 * bool(len(x))
        return out

    def _pads(self, peer: str, chooses: bool, rows: Words, blocks: int, *, advance: bool = False) -> Words:
        """Return hashes, whose numbers are used up if said so: both secrets of a transfer have the same."""
        first = self._used[peer, chooses]
        if advance:
            self._used[peer, chooses] += len(rows) * blocks
        return hashes(rows, first, blocks)

    def _set_up(self, label: str, entropy: Callable[[int], bytes]) -> None:
        """Make seeds with every peer: the chooser of products is the sender of the transfers on the curve."""
        party, session = self.party, self.party.mesh.session.id
        party.claim(label)

        def context(sender: str, receiver: str) -> bytes:
            return codec.encode([session, label, sender, receiver])

        trees, senders, receivers, hidden, wanted = {}, {}, {}, {}, {}
        for peer in party.peers:
            trees[peer] = [punctured.grow(entropy(punctured.SEED), DEPTH) for _ in range(BLOCKS)]
            senders[peer] = base.Sender(entropy, context(party.me, peer))
            hidden[peer] = [entropy(1)[0] % (1 << DEPTH) for _ in range(BLOCKS)]
            wanted[peer] = [
                1 - (b >> (DEPTH - 1 - level) & 1) for b in hidden[peer] for level in range(DEPTH)
            ]
            receivers[peer] = base.Receiver(entropy, context(peer, party.me), wanted[peer])
        points = self._exchange(f"{label}/1", {peer: sender.message for peer, sender in senders.items()})
        answers, kept = {}, {}
        for peer, receiver in receivers.items():
            answers[peer], kept[peer] = receiver.receive(points[peer], peer)
        points = self._exchange(f"{label}/2", answers)
        sums = {}
        for peer, sender in senders.items():
            keys = sender.keys(points[peer], BLOCKS * DEPTH, peer)
            levels = [level for _, levels in trees[peer] for level in levels]
            sums[peer] = b"".join(
                _xor(one, key)
                for both, pair in zip(levels, keys, strict=True)
                for one, key in zip(both, pair, strict=True)
            )
            self._choosers[peer] = Chooser([leaves for leaves, _ in trees[peer]], session)
        for peer, message in self._exchange(f"{label}/3", sums).items():
            if len(message) != 2 * punctured.SEED * BLOCKS * DEPTH:
                raise CodecError(f"site {peer} sent no seeds at step {label!r}", peer=peer)
            known = [
                _opened(message, key, place, choice)
                for place, (key, choice) in enumerate(zip(kept[peer], wanted[peer], strict=True))
            ]
            seeds = [
                punctured.regrow(number, known[DEPTH * block : DEPTH * (block + 1)])
                for block, number in enumerate(hidden[peer])
            ]
            self._chosen[peer] = ChosenFrom(seeds, hidden[peer], session)

    def _exchange(self, step: str, messages: dict[str, bytes]) -> dict[str, bytes]:
        received = self.party.mesh.exchange(step, dict(messages))
        return {peer: bytes(message) for peer, message in received.items()}


def _given(numbers: Words | None) -> Words:
    if numbers is None:
        raise ValueError("a party that chooses or gives has numbers")
    return numbers


def _opened(message: Buffer, key: bytes, number: int, choice: int) -> bytes:
    start = (2 * number + choice) * punctured.SEED
    return _xor(bytes(message[start : start + punctured.SEED]), key)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _low_bits(pads: Words) -> Words:
    """Return the lowest bits of pads of one hash each, 64 a word."""
    out = np.empty(len(pads) // 64, np.uint64)
    _gather(out, pads)
    return out


@kernel
def _gather(out: Words, pads: Words) -> None:
    for word in range(len(out)):
        total = np.uint64(0)
        for bit in range(64):
            total |= (pads[64 * word + bit, 0, 0] & np.uint64(1)) << np.uint64(bit)
        out[word] = total
