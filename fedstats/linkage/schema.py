"""How patients are compared who need not be written alike: fields, weights, a threshold, blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeAlias, get_args

from fedstats.errors import DataError
from protocols.linkage.filters import FEWEST_BITS, LONGEST_KEY, MOST_BITS, MOST_HASHES

#: How a field is compared.
Comparison: TypeAlias = Literal["text", "date", "exact"]

#: How many bits a part of a field of weight 1 sets.
_HASHES = 8


@dataclass(frozen=True)
class Similar:
    """How patients are compared; made by `similar`, for `Federation.cohort` and `error_rates`.

    Attributes
    ----------
    fields
        Columns, and how each is compared.
    hashes
        How many bits a part of each field sets.
    threshold
        The least similarity of a link, in thousandths.
    block
        Columns that must agree; may be none.
    bits
        Length of a filter.
    key
        Goes into the hashes.
    """

    fields: tuple[tuple[str, Comparison], ...]
    hashes: tuple[int, ...]
    threshold: int
    block: tuple[str, ...]
    bits: int
    key: str

    @property
    def columns(self) -> list[str]:
        """All columns that patients are identified by."""
        names = [name for name, _ in self.fields]
        return [*names, *(name for name in self.block if name not in names)]


def similar(
    fields: Mapping[str, Comparison],
    *,
    threshold: float,
    weights: Mapping[str, float] | None = None,
    block: str | Sequence[str] = (),
    bits: int = 1024,
    key: str = "",
) -> Similar:
    """Say how patients are compared who need not be written alike, as for ``on=`` of `Federation.cohort`.

    Each patient's fields become a filter of bits, of which similar ones have many in common
    (`protocols.linkage.filters`); two patients are linked if each is the other's most similar one, and their
    similarity, Dice's coefficient of the filters, is the threshold at least. That is found on shares: no site
    sees a filter, nor who is linked.

    Parameters
    ----------
    fields
        Columns, of the same names at every site that has a table, and how each is compared:

        - ``"text"``: by pairs of neighbouring letters or digits, its ends included. A wrong letter costs two
          or three pairs, so does a letter too many. For names, places, insurance numbers. Case, accents,
          blanks and punctuation do not count, nor do leading zeros.
        - ``"date"``: by the digits of year, month and day, each at its place. A wrong digit costs one of
          eight. Dates, or texts or numbers as 1990-01-31 or 19900131.
        - ``"exact"``: as a whole. For a sex, or a blood group. Truth values are 1 and 0, whether a site has
          them as such, in words, or as numbers.

        A value that is missing has no parts, and makes its row less like any other.
    threshold
        The least similarity of a link, above 0 and at most 1, taken to three decimals. `error_rates` tells
        what a threshold does.
    weights
        Of fields, 1 by default: a part of a field of weight 2 sets twice as many bits.
    block
        Columns that must agree, as with exact linkage, for rows to be compared at all, such as a year of
        birth. Not every pair is then compared; patients whose block has an error are not found.
    bits
        Length of a filter, a power of two. Less is faster, and parts of fields collide more often.
    key
        Goes into the hashes. As filters are never shown it need not be secret; with another key, other parts
        of fields collide.

    Raises
    ------
    DataError
        Something cannot be used; says what and why.

    Examples
    --------
    >>> import fedstats as fs
    >>> on = fs.linkage.similar({"given": "text", "family": "text", "born": "date"}, threshold=0.8)
    >>> on.columns
    ['given', 'family', 'born']
    """
    if not isinstance(block, str | Sequence):
        raise DataError("block names a column, or several")
    blocks = (block,) if isinstance(block, str) else tuple(block)
    if not isinstance(fields, Mapping) or not fields:
        raise DataError('fields maps the columns that are compared to how, as in {"name": "text"}')
    if not all(isinstance(name, str) and name for name in (*fields, *blocks)):
        raise DataError("fields and block name columns")
    if unknown := [name for name, its in fields.items() if its not in get_args(Comparison)]:
        raise DataError(
            f"field {unknown[0]!r} is compared as {fields[unknown[0]]!r}: use "
            + ", ".join(map(repr, get_args(Comparison)))
        )
    if len(set(blocks)) < len(blocks):
        raise DataError("block names a column twice")
    if not isinstance(threshold, Real) or not 0 < threshold <= 1 or round(1000 * threshold) < 1:
        raise DataError("threshold is above 0 and at most 1, as Dice's coefficients are")
    if not isinstance(weights or {}, Mapping):
        raise DataError('weights maps fields to numbers, as in {"born": 1.5}')
    if stray := [name for name in weights or {} if name not in fields]:
        raise DataError(f"weights has {stray[0]!r}, which is no field")
    if type(bits) is not int or not FEWEST_BITS <= bits <= MOST_BITS or bits & (bits - 1):
        raise DataError(f"bits is a power of two from {FEWEST_BITS} to {MOST_BITS}")
    if not isinstance(key, str) or len(key.encode()) > LONGEST_KEY:
        raise DataError(f"key is a text of at most {LONGEST_KEY} bytes")
    hashes = tuple(_hashes(name, (weights or {}).get(name, 1.0)) for name in fields)
    return Similar(tuple(fields.items()), hashes, round(1000 * threshold), blocks, bits, key)


def _hashes(name: str, weight: float) -> int:
    """Return how many bits a part of a field of a weight sets."""
    if (
        not isinstance(weight, Real)
        or not math.isfinite(weight)
        or not 1 <= round(_HASHES * weight) <= MOST_HASHES
    ):
        raise DataError(
            f"the weight of field {name!r} is not between {1 / _HASHES:g} and {MOST_HASHES / _HASHES:g}"
        )
    return round(_HASHES * weight)
