"""Several signed numbers in one plaintext, side by side.

Slots v_i with −2^(b − 1) ≤ v_i < 2^(b − 1) make the integer Σ v_i·2^(b·i), which is taken modulo n. A
negative slot borrows from the one above; reading starts at the lowest and gives back what was borrowed.
Sums of packed plaintexts are packed sums, and products by a number are products slot by slot, as long as
every slot stays in its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protocols.errors import RangeError


@dataclass(frozen=True)
class Packing:
    """So many slots of so many bits, sign included."""

    slots: int
    bits: int

    @classmethod
    def of(cls, capacity: int, bits: int) -> Packing:
        """Return as many slots of a size as there is room for in plaintexts of a modulus of so many bits."""
        slots = (capacity - 2) // bits
        if slots < 1:
            raise ValueError(f"numbers of {bits} bits do not fit a plaintext below 2^{capacity}")
        return cls(slots, bits)

    def pack(self, numbers: Sequence[int], modulus: Any) -> Any:
        """Return the plaintext, in 0 … n − 1, of up to `slots` numbers.

        Raises
        ------
        RangeError
            A number is beyond its slot.
        """
        half = 1 << (self.bits - 1)
        if len(numbers) > self.slots or any(not -half <= number < half for number in numbers):
            raise RangeError("numbers do not fit their slots; nothing was sent")
        total = 0
        for number in reversed(numbers):
            total = (total << self.bits) + number
        return total % modulus

    def unpack(self, plaintext: Any, modulus: Any) -> list[int]:
        """Return the numbers of all slots.

        Raises
        ------
        RangeError
            The plaintext is none that slots within their ranges make.
        """
        rest = int(plaintext)
        if rest > modulus // 2:
            rest -= int(modulus)
        half, numbers = 1 << (self.bits - 1), []
        for _ in range(self.slots):
            number = ((rest + half) & ((1 << self.bits) - 1)) - half
            numbers.append(number)
            rest = (rest - number) >> self.bits
        if rest:
            raise RangeError("a plaintext has more than its slots: a number left its range")
        return numbers
