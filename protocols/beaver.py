"""Products of shares by triples (Beaver [1]_): where all but one of the parties may collude.

With summands of random a, b and c = a·b, the parties open d = x − a and e = y − b, which are uniform, and
each has its summand of x·y = d·e + d·b + a·e + c. A sharing of degree n − 1 is a sum in other words: party
i's summand is its share times its Lagrange coefficient, and back.

References
----------
.. [1] D. Beaver, "Efficient Multiparty Protocols Using Circuit Randomization", CRYPTO 1991.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from protocols import codec, field
from protocols.bitslice import Words
from protocols.crt import Residues, Ring
from protocols.engine import Engine
from protocols.errors import CodecError
from protocols.field import P
from protocols.mersenne import Elements
from protocols.oblivious.numbers import FIELD, Primes, Shape
from protocols.stripes import broadcast
from protocols.triples.pool import products


def multiply(engine: Engine, x: Elements, y: Elements) -> Elements:
    """Return shares of x·y, entry by entry, of shape ``(size, 2)``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** One round, two elements an entry to each peer; and a triple an entry.
    """
    a, b, c = engine.triples.elements(engine.step, len(x)).use()
    d, e = _opened(engine, "multiply", summands(engine, x), a, summands(engine, y), b)
    ours = field.add(c, field.add(field.mul(d, b), field.mul(a, e)))
    return shares(engine, field.add(ours, field.mul(d, e)) if engine.party.index == 0 else ours)


def matmul(engine: Engine, x: Elements, y: Elements) -> Elements:
    """Return shares of x @ y, by the rules of `numpy.matmul`.

    **Leakage.** Nothing. **Cost.** One round, and a triple of matrices: two more, at the price of one product
    for each entry of the smaller side.
    """
    left = x if x.ndim > 2 else x[np.newaxis]
    right = y if y.ndim > 2 else y[:, np.newaxis]
    stack = np.broadcast_shapes(left.shape[:-3], right.shape[:-3])
    left, right = (
        np.ascontiguousarray(np.broadcast_to(z, (*stack, *z.shape[-3:]))).reshape(-1, *z.shape[-3:])
        for z in (left, right)
    )
    lanes, rows, terms, columns = len(left), left.shape[1], left.shape[2], right.shape[2]
    a, b, c = engine.triples.matrices(engine.step, FIELD, Shape(lanes, rows, terms, columns)).use()
    d, e = _opened(engine, "matmul", summands(engine, left), a, summands(engine, right), b)
    ours = field.add(c, field.add(field.matmul(d, b), field.matmul(a, e)))
    product = shares(engine, field.add(ours, field.matmul(d, e)) if engine.party.index == 0 else ours)
    shape = *stack, *[rows][: x.ndim > 2], *[columns][: y.ndim > 2], 2
    reshaped: Elements = product.reshape(shape)
    return reshaped


def inner(engine: Engine, x: Elements, y: Elements) -> Elements:
    """Return shares of inner products over the last axis of values; the others broadcast.

    As `multiply`, of all the products.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    left, right = (np.ascontiguousarray(np.broadcast_to(z, shape)) for z in (x, y))
    terms = multiply(engine, left.reshape(-1, 2), right.reshape(-1, 2)).reshape(left.shape)
    total: Elements = field.sum(terms, terms.ndim - 2)
    return total


def conjoin(engine: Engine, x: Words, y: Words) -> Words:
    """Return this party's pieces of x & y, of its pieces of both.

    **Leakage.** Nothing. **Cost.** One round, two bits a bit to each peer; and a triple a bit.
    """
    shape, size = x.shape, x.size
    if not size:
        return x.copy()
    a, b, c = engine.triples.words(engine.step, size).use()
    step, party = engine.step("and"), engine.party
    total = np.concatenate([x.reshape(-1) ^ a, y.reshape(-1) ^ b])
    for peer, message in party.mesh.broadcast(step, codec.encode(total)).items():
        words = codec.decode(message, peer=peer)
        if not (isinstance(words, np.ndarray) and words.dtype == np.uint64 and words.shape == (2 * size,)):
            raise CodecError(f"site {peer} sent no bits at step {step!r}", peer=peer)
        total = total ^ words
    party.absorb(step, total.data)
    d, e = total[:size], total[size:]
    ours: Words = c ^ (d & b) ^ (a & e)
    if party.index == 0:
        ours ^= d & e
    return ours.reshape(shape)


# --- Long integers -----------------------------------------------------------------------------------


def ring_products(
    engine: Engine, operation: str, on: Ring, pairs: Sequence[tuple[Residues, Residues]]
) -> list[Residues]:
    """Return shares of x·y of each pair, entry by entry; the axes of the values broadcast.

    They come from the source directly, without triples, which would have to be made for them as well. A
    single number times many chooses once for all of them.

    **Leakage.** Nothing; see `Source.products`. **Cost.** Two rounds.
    """
    if len(pairs) == 1:
        few, many = sorted(pairs[0], key=np.size)
        if few.size == len(on) < many.size:
            return [_scaled(engine, operation, on, few, many)]
    spread = [np.broadcast_arrays(x, y) for x, y in pairs]
    sizes = [prod(x.shape[1:]) for x, _ in spread]
    left, right = (
        np.concatenate([np.ascontiguousarray(both[k]).reshape(len(on), -1) for both in spread], axis=1)
        for k in range(2)
    )
    size = sum(sizes)
    shape = Shape(len(on) * size, 1, 1, 1)
    out = _ring(engine, operation, on, shape, left, right, np.repeat(_primes(on), size)[:, np.newaxis])
    parts = np.split(out.reshape(len(on), size), np.cumsum(sizes)[:-1], axis=1)
    return [part.reshape(x.shape) for part, (x, _) in zip(parts, spread, strict=True)]


def ring_matmul(engine: Engine, operation: str, on: Ring, x: Residues, y: Residues) -> Residues:
    """Return shares of x @ y, of shapes ``(primes, …, r, k)`` and ``(primes, …, k, c)``, of equal stacks.

    As `ring_products`, at the price of the smaller outer side.
    """
    stack, (rows, terms), columns = x.shape[1:-2], x.shape[-2:], y.shape[-1]
    lanes = len(on) * prod(stack)
    shape = Shape(lanes, rows, terms, columns)
    primes = np.repeat(np.repeat(_primes(on), prod(stack))[:, np.newaxis], columns, axis=1)
    out = _ring(engine, operation, on, shape, x, y, primes)
    return out.reshape(len(on), *stack, rows, columns)


def _ring(
    engine: Engine, operation: str, on: Ring, shape: Shape, x: Residues, y: Residues, primes: Residues
) -> Residues:
    from protocols.wide import weight  # which builds on products

    scale = weight(engine.n, engine.point, on)
    left = np.ascontiguousarray(on.scale(x, scale)).reshape(shape.lanes, shape.rows, shape.terms)
    right = np.ascontiguousarray(on.scale(y, scale)).reshape(shape.lanes, shape.terms, shape.columns)
    numbers = Primes(np.ascontiguousarray(primes))
    crossed = products(engine.triples.source, engine.step(operation), numbers, shape, left, right)
    ours = numbers.add(crossed, numbers.matmul(left, right))
    return on.scale(ours.reshape(len(on), -1), on.inverses(scale))


def _primes(on: Ring) -> Residues:
    return np.array(on.primes, np.uint64)


def _scaled(engine: Engine, operation: str, on: Ring, factor: Residues, x: Residues) -> Residues:
    """Return shares of a single number times many, at the price of the single one."""
    row = x.reshape(len(on), 1, -1)
    return ring_matmul(engine, operation, on, factor.reshape(len(on), 1, 1), row).reshape(x.shape)


# --- Sums and shares ---------------------------------------------------------------------------------


def summands(engine: Engine, shared: Elements) -> Elements:
    """Return this party's summand of shared elements, of degree n − 1. Local."""
    return field.mul(shared, field.from_ints(np.array(engine.weight, object)))


def shares(engine: Engine, parts: Elements) -> Elements:
    """Return shares, of degree n − 1, of the sum of what all parties have. Local."""
    inverse = pow(engine.weight, -1, P)
    return field.mul(parts, field.from_ints(np.array(inverse, object)))


def _opened(
    engine: Engine, operation: str, x: Elements, a: Elements, y: Elements, b: Elements
) -> tuple[Elements, Elements]:
    """Return x − a and y − b of all parties' summands."""
    step = engine.step(operation)
    hidden = [field.sub(x, a), field.sub(y, b)]
    ours = np.concatenate([part.reshape(-1, 2) for part in hidden])
    opened = field.empty(len(ours))
    for stripe, parts in broadcast(engine.party, step, len(ours), lambda stripe: ours[stripe]):
        total = parts[0]
        for part in parts[1:]:
            total = field.add(total, part)
        opened[stripe] = total
        engine.party.absorb(step, np.ascontiguousarray(total).data)
    size = x.size // 2
    return opened[:size].reshape(x.shape), opened[size:].reshape(y.shape)
