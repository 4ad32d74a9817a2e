"""Powers of one base: a table made once, and one product for each digit of the exponent [1]_.

References
----------
.. [1] E. F. Brickell, D. M. Gordon, K. S. McCurley and D. B. Wilson, "Fast Exponentiation with
   Precomputation", EUROCRYPT 1992.
"""

from __future__ import annotations

from typing import Any

from protocols.paillier.library import gmpy2


class FixedBase:
    """Powers of a base, for exponents of so many bits.

    Parameters
    ----------
    base, modulus
        The base, and what powers are taken modulo.
    bits
        Longest exponent.
    window
        Bits of a digit: the table has 2^window numbers a digit.
    """

    def __init__(self, base: Any, modulus: Any, bits: int, window: int) -> None:
        mpz = gmpy2().mpz
        self._modulus, self._window = mpz(modulus), window
        self._table = []
        step = mpz(base)
        for _ in range(-(-bits // window)):
            row = [mpz(1)]
            for _ in range(1, 1 << window):
                row.append(row[-1] * step % self._modulus)
            self._table.append(row)
            step = row[-1] * step % self._modulus

    def power(self, exponent: int) -> Any:
        """Return base^exponent. All digits cost a product, zeros too: time tells nothing of the exponent."""
        digits = exponent.to_bytes(-(-len(self._table) * self._window // 8) + 1, "little")
        packed, mask = int.from_bytes(digits, "little"), (1 << self._window) - 1
        result = gmpy2().mpz(1)
        for row in self._table:
            result = result * row[packed & mask] % self._modulus
            packed >>= self._window
        return result


class Powers:
    """Powers of a base, by tables that are made when they are needed.

    Parameters
    ----------
    base, modulus
        As for `FixedBase`.
    """

    def __init__(self, base: Any, modulus: Any) -> None:
        self._base, self._modulus = base, modulus
        self._tables: dict[int, tuple[int, FixedBase]] = {}

    def table(self, bits: int, count: int) -> FixedBase:
        """Return a table for exponents of so many bits, made for so many powers or more."""
        window = window_for(bits, count)
        if bits not in self._tables or self._tables[bits][0] < window:
            self._tables[bits] = window, FixedBase(self._base, self._modulus, bits, window)
        return self._tables[bits][1]


def window_for(bits: int, powers: int) -> int:
    """Return the window that makes a table and so many powers cheapest."""
    return min(range(2, 9), key=lambda w: -(-bits // w) * ((1 << w) + powers))
