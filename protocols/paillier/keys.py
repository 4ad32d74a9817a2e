"""Keys of Paillier's encryption, one pair a session; and what no honest peer's key looks like.

A ciphertext of m is (1 + n)^m·ρ modulo n², where ρ is a random n-th residue. Damgård, Jurik and Nielsen
[1]_, section 4.2, take ρ = h^r for a fixed n-th residue h = (−x²)^n, x random, of a modulus whose primes
are 3 modulo 4 and have gcd(p − 1, q − 1) = 2, so that the numbers of Jacobi symbol 1, among them −x², are
a cyclic group. An r of half the length of n suffices: powers of a random base modulo n with such exponents
cannot be told from those with long ones as long as n cannot be factored [2]_, nor can therefore their n-th
powers modulo n², which are one to one with them. And with long ones m is hidden as long as n-th residues
cannot be told from other numbers, which is Paillier's assumption: powers of another h would hide it wholly.
Libraries that do the same: HEU of SecretFlow (these primes, r of half the length), Google's Private Join and
Compute (safe primes, a long r).

That holds against all but the key's owner, who knows the factors. What is *returned to the owner* is
therefore rerandomised by an exponent that is 40 bits longer than n: the residue is then within 2^−40 of
uniform among the powers of h, whatever was computed, for whoever knows everything.

References
----------
.. [1] I. Damgård, M. Jurik and J. B. Nielsen, "A Generalization of Paillier's Public-Key System with
   Applications to Electronic Voting", International Journal of Information Security 9, 2010.
.. [2] O. Goldreich and V. Rosen, "On the Security of Modular Exponentiation with Application to the
   Construction of Pseudorandom Generators", Journal of Cryptology 16, 2003.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from protocols import codec
from protocols.errors import CodecError
from protocols.paillier.fixed_base import Powers
from protocols.paillier.library import gmpy2, on_all_cores, phe
from transport.base import Buffer

#: Bits of the modulus: 128-bit security (NIST SP 800-57 part 1, table 2).
BITS = 3072
#: Statistical parameter of what the owner of the key is sent.
SECURITY = 40
#: No prime factor of an honest modulus is below this.
SMALL = 1 << 16


class PublicKey:
    """A modulus and a random n-th residue.

    Parameters
    ----------
    n, h
        The modulus, and the residue modulo n².

    Attributes
    ----------
    n, square, h
        n, n² and h.
    nbytes
        Bytes of a ciphertext.
    """

    def __init__(self, n: int, h: int) -> None:
        mpz = gmpy2().mpz
        self.n, self.square, self.h = mpz(n), mpz(n) ** 2, mpz(h)
        self.nbytes = 2 * self.bits // 8
        self._of_h = Powers(self.h, self.square)

    @property
    def bits(self) -> int:
        """Bits of the modulus."""
        return int(self.n.bit_length())

    def residues(self, count: int, *, owner: bool = False) -> list[Any]:
        """Return random n-th residues, which hide from all but the key's owner, or, if said, from it too."""
        bits = self.bits + SECURITY if owner else -(-self.bits // 2)
        exponents = [secrets.randbits(bits) for _ in range(count)]
        powers = self._powers(bits, count)
        return on_all_cores(lambda part: [powers(exponent) for exponent in part], exponents)

    def encode(self) -> bytes:
        """Return the canonical encoding: n and h, little-endian, each of fixed width."""
        width = self.bits // 8
        return codec.encode(
            [int(self.n).to_bytes(width, "little"), int(self.h).to_bytes(2 * width, "little")]
        )

    def require_ciphertexts(self, numbers: Sequence[Any], peer: str) -> None:
        """Refuse numbers that are no units modulo n², or not canonical.

        Raises
        ------
        CodecError
            Such a number is among them.
        """
        product = gmpy2().mpz(1)
        for number in numbers:
            if not 0 < number < self.square:
                raise CodecError(f"site {peer} sent a ciphertext beyond its modulus", peer=peer)
            product = product * number % self.n
        if gmpy2().gcd(product, self.n) != 1:
            raise CodecError(f"site {peer} sent a ciphertext that is no unit", peer=peer)

    def _powers(self, bits: int, count: int) -> Callable[[int], Any]:
        """Return what makes powers of h, so many and with exponents of so many bits."""
        return self._of_h.table(bits, count).power

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self.n, self.h) == (other.n, other.h)

    def __hash__(self) -> int:
        return hash((self.n, self.h))

    def __repr__(self) -> str:
        return f"<PublicKey of {self.bits} bits>"


class PrivateKey(PublicKey):
    """A key with its factors: computes its powers modulo p² and q², four times as fast together.

    Parameters
    ----------
    p, q
        The primes.
    h
        As for `PublicKey`.
    """

    def __init__(self, p: int, q: int, h: int) -> None:
        super().__init__(p * q, h)
        library = phe()
        self._phe = library.PaillierPrivateKey(library.PaillierPublicKey(p * q), p, q)
        self._squares = gmpy2().mpz(p) ** 2, gmpy2().mpz(q) ** 2
        self._inverse = gmpy2().invert(self._squares[1], self._squares[0])
        self._halves = tuple(Powers(self.h % square, square) for square in self._squares)

    @property
    def public(self) -> PublicKey:
        """What peers may know of it."""
        return PublicKey(int(self.n), int(self.h))

    def decrypt(self, ciphertexts: Sequence[Any]) -> list[Any]:
        """Return plaintexts, in 0 … n − 1."""
        mpz, raw = gmpy2().mpz, self._phe.raw_decrypt
        return on_all_cores(lambda part: [mpz(raw(int(one))) for one in part], ciphertexts)

    def _powers(self, bits: int, count: int) -> Callable[[int], Any]:
        p2, q2 = self._squares
        first, second = (half.table(bits, count) for half in self._halves)

        def power(exponent: int) -> Any:
            a, b = first.power(exponent), second.power(exponent)
            return b + q2 * ((a - b) * self._inverse % p2)

        return power

    def __reduce__(self) -> Any:
        raise TypeError("a private key is secret and belongs to a session: it cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.bits} bits>"


def generate(bits: int = BITS) -> PrivateKey:
    """Return a fresh key. Fewer bits are for tests only: peers refuse it."""
    library = gmpy2()
    while True:
        p, q = (_prime(bits // 2) for _ in range(2))
        n = p * q
        if p != q and math.gcd(p - 1, q - 1) == 2 and math.gcd(n, (p - 1) * (q - 1)) == 1:
            x = secrets.randbelow(n - 2) + 2
            if math.gcd(x, n) == 1:
                return PrivateKey(p, q, int(library.powmod(-x * x % n, n, n * n)))


def decode(message: Buffer, peer: str, *, bits: int = BITS) -> PublicKey:
    """Return a peer's key.

    Raises
    ------
    CodecError
        It is no canonical encoding of a key of so many bits; or its modulus is even, prime, a power or has a
        small factor; or its residue is trivial or no unit. That n has two large prime factors only its owner
        knows.
    """
    parts = codec.decode(message, peer=peer)
    width = bits // 8
    if not (
        isinstance(parts, list)
        and [type(part) for part in parts] == [bytes, bytes]
        and [len(part) for part in parts] == [width, 2 * width]
    ):
        raise CodecError(f"site {peer} sent no Paillier key of {bits} bits", peer=peer)
    n, h = (int.from_bytes(part, "little") for part in parts)
    library = gmpy2()
    why = None
    if n.bit_length() != bits:
        why = f"its modulus has {n.bit_length()} bits where {bits} are due"
    elif n % 2 == 0:
        why = "its modulus is even"
    elif math.gcd(n, _primorial()) != 1:
        why = "its modulus has a small factor"
    elif library.is_prime(n) or library.is_power(n):
        why = "its modulus is a prime or a power"
    elif not 1 < h < n * n - 1 or math.gcd(h, n) != 1:
        why = "its residue is trivial or no unit"
    elif library.jacobi(h % n, n) != 1:
        why = "its residue has the wrong symbol"
    if why is not None:
        raise CodecError(f"site {peer} sent a Paillier key that is refused: {why}", peer=peer)
    return PublicKey(n, h)


def _prime(bits: int) -> int:
    """Return a random prime of so many bits, its two highest set, that is 3 modulo 4."""
    library = gmpy2()
    while True:
        candidate = secrets.randbits(bits) | 3 << (bits - 2) | 3
        if math.gcd(candidate, _primorial()) == 1 and library.is_prime(candidate, 40):
            return candidate


@lru_cache
def _primorial() -> int:
    return int(gmpy2().primorial(SMALL))
