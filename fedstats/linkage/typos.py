"""Typing errors: a character replaced, left out, one too many, or exchanged with the next."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, digits

import numpy as np

from fedstats.linkage.schema import Comparison


def mistyped(texts: Sequence[str], how: Comparison, rate: float, random: np.random.Generator) -> list[str]:
    """Return texts with errors.

    Parameters
    ----------
    texts
        As they are compared, in small letters and digits; "" stays as it is.
    how
        How they are compared: a date keeps its number of digits.
    rate
        With which probability a character is struck by an error. The four kinds are equally likely; in a
        date, a digit is replaced or exchanged.
    random
        Where errors come from.
    """
    return [_mistyped(text, how == "date", rate, random) for text in texts]


def _mistyped(text: str, keeps_length: bool, rate: float, random: np.random.Generator) -> str:
    struck = np.flatnonzero(random.random(len(text)) < rate)
    letters = list(text)
    # From the end, so that places before keep their numbers.
    for place in struck[::-1].tolist():
        letter = letters[place]
        kind = random.integers(2 if keeps_length else 4)
        if kind == 0:
            letters[place] = _another(letter, random)
        elif kind == 1:
            letters[place : place + 2] = letters[place : place + 2][::-1]
        elif kind == 2:
            del letters[place]
        else:
            letters.insert(place, _another(letter, random))
    return "".join(letters)


def _another(letter: str, random: np.random.Generator) -> str:
    """Return another character of the same sort."""
    among = [its for its in (digits if letter.isdigit() else ascii_lowercase) if its != letter]
    return among[random.integers(len(among))]
