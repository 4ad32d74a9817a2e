"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def number(value: object, digits: int = 6) -> str:
    """Return a cell's text: floats to significant digits, what is missing as a dash."""
    if value is pd.NA or value != value:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def frame_lines(frame: pd.DataFrame, digits: int = 6) -> list[str]:
    """Return the lines of a data frame: labels left, numbers right, a rule below the header."""
    labels = [" ".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in frame.index]
    columns = [[str(name), *(number(value, digits) for value in frame[name].tolist())] for name in frame]
    widths = [max(map(len, column)) for column in columns]
    first = max(map(len, labels), default=0)
    lines = [
        "  ".join([label.ljust(first), *(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))])
        for label, *cells in zip(["", *labels], *columns, strict=True)
    ]
    return [lines[0], "─" * len(lines[0]), *lines[1:]]


def pair_lines(pairs: Sequence[tuple[str, object]], digits: int = 6) -> list[str]:
    """Return names with their values, in two columns of pairs."""
    cells = [(name, number(value, digits)) for name, value in pairs]
    half = (len(cells) + 1) // 2
    blocks = []
    for block in (cells[:half], cells[half:]):
        names = max((len(name) for name, _ in block), default=0)
        values = max((len(value) for _, value in block), default=0)
        blocks.append([f"{name.ljust(names)}  {value.rjust(values)}" for name, value in block])
    left, right = blocks
    right += [""] * (len(left) - len(right))
    return [f"{a}    {b}".rstrip() for a, b in zip(left, right, strict=True)]
