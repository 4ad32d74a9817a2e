"""Products of different parties' numbers by Paillier's encryption: few bytes, much time.

The interface is that of `triples.source.Source`, which `oblivious.crossing` has too: in place of choosing by
its bits, a party offers its numbers encrypted, once for all, and every other answers with its own.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from protocols import codec
from protocols.errors import CodecError
from protocols.oblivious.numbers import Numbers, Shape
from protocols.paillier import keys, product
from protocols.paillier.product import Integers
from protocols.party import Party
from protocols.stripes import cut
from transport.base import Buffer

Words = NDArray[np.uint64]
#: Words of bits multiplied at a time: 6 MB of ciphertexts.
WORDS = 1 << 7


class Ciphering:
    """This party's key, and what it multiplies under it with all others.

    Parameters
    ----------
    party
        This party.
    label
        Names its steps; used once in a session.
    bits
        Bits of everybody's modulus; fewer than the default are for tests.

    Notes
    -----
    **Cost.** To create: one round, a key of 1.2 kB to each peer, and about a second.
    """

    def __init__(self, party: Party, label: str, *, bits: int = keys.BITS) -> None:
        self.party = party
        party.claim(label)
        self._key = keys.generate(bits)
        encoded = self._key.public.encode()
        received = party.mesh.exchange(label, dict.fromkeys(party.peers, encoded))
        self._keys = {peer: keys.decode(message, peer, bits=bits) for peer, message in received.items()}

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

        Parameters are those of `Source.products`.

        Notes
        -----
        **Leakage.** Nothing: see `paillier.product`. Sums over the integers are masked, then taken modulo.

        **Cost.** Two rounds. For a product of two numbers of 127 bits, a ciphertext of 768 bytes from one
        party and a tenth of one from the other; for matrices, a tenth of one for each number of x
        and each result.
        """
        terms = terms_of(on, shape)
        left = None if x is None else on.integers(x).reshape(shape.lanes, shape.rows, shape.terms)
        right = None if y is None else on.integers(y).reshape(shape.lanes, shape.terms, shape.columns)
        total = self._exchange(step, terms, shape, left, right, choosers, givers)
        return on.residues(total)

    def bits(self, step: str, x: Words, y: Words) -> Words:
        """Return this party's words of the sum, over all pairs, of x_i & y_j; see `Source.bits`."""
        out = np.empty_like(x)
        for part in cut(0, len(x), WORDS):
            one, other = (
                np.unpackbits(z[part].view(np.uint8), bitorder="little").astype(object).reshape(-1, 1, 1)
                for z in (x, y)
            )
            terms, shape = product.Shape(1, 1, 1, 1, 1), Shape(len(one), 1, 1, 1)
            total = self._exchange(f"{step}/{part.start}", terms, shape, one, other, (), ())
            found = np.packbits((total.ravel() % 2).astype(np.uint8), bitorder="little")
            out[part] = found.view(np.uint64)
        return out

    def _exchange(
        self,
        step: str,
        terms: product.Shape,
        shape: Shape,
        x: Integers | None,
        y: Integers | None,
        choosers: Collection[str],
        givers: Collection[str],
    ) -> Integers:
        """Offer, answer and finish with all peers that take part; return the sum of this party's shares."""
        party = self.party
        total = np.zeros((shape.lanes, shape.rows, shape.columns), object)
        offered = party.me in (choosers or [party.me]) and x is not None
        answering = party.me in (givers or [party.me]) and y is not None
        asked = [peer for peer in party.peers if offered and peer in (givers or [peer])]
        asking = [peer for peer in party.peers if answering and peer in (choosers or [peer])]
        single = _is_single(shape)
        if asked and x is not None:
            parts = (
                [product.offer_entries(self._key, x.ravel())]
                if single
                else [product.offer_matrix(self._key, terms, lane) for lane in x]
            )
            message = codec.encode(list(parts))
            for peer in asked:
                party.send(peer, step, message)
        for peer in asking:
            offers = _parts(party.recv(peer, step), 1 if single else shape.lanes, peer)
            answers = []
            for lane, offer in enumerate(offers):
                if single:
                    numbers = np.zeros(0, object) if y is None else y.ravel()
                    answer, share = product.answer_entries(self._keys[peer], terms, numbers, offer, peer)
                    total += share.reshape(total.shape)
                elif y is not None:
                    answer, share = product.answer_matrix(self._keys[peer], terms, y[lane], offer, peer)
                    total[lane] += share
                answers.append(answer)
            party.send(peer, step, codec.encode(answers))
        for peer in asked:
            for lane, answer in enumerate(_parts(party.recv(peer, step), 1 if single else shape.lanes, peer)):
                if single:
                    found = product.finish_entries(self._key, terms, shape.lanes, answer, peer)
                    total += found.reshape(total.shape)
                else:
                    total[lane] += product.finish_matrix(self._key, terms, answer, peer)
        party.mesh.traffic.rounds += 2 * bool(shape.units)
        return total


def terms_of(on: Numbers, shape: Shape) -> product.Shape:
    """Return one lane's product."""
    return product.Shape(shape.rows, shape.terms, shape.columns, on.bits, on.right_bits)


def work(on: Numbers, shape: Shape, bits: int = keys.BITS) -> product.Work:
    """Return the work of all lanes, for each pair of parties."""
    terms = terms_of(on, shape)
    if _is_single(shape):
        return product.Work.of_entries(terms, shape.lanes, bits)
    lane = product.Work.of(terms, bits)
    return product.Work(*(shape.lanes * its for its in (lane.offers, lane.answers, lane.multiplications)))


def _is_single(shape: Shape) -> bool:
    """Return whether lanes are products of two numbers, of which answers hold several."""
    return (shape.rows, shape.terms, shape.columns) == (1, 1, 1)


def _parts(message: Buffer, count: int, peer: str) -> list[bytes]:
    parts = codec.decode(message, peer=peer)
    if not isinstance(parts, list) or [type(part) for part in parts] != [bytes] * count:
        raise CodecError(f"site {peer} sent no {count} messages of ciphertexts", peer=peer)
    return parts
