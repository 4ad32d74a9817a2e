"""Where in a TOML file a key stands, for errors: the standard library's parser does not tell."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection


def place(file: object, text: str, key: str, table: str | None = None) -> str:
    """Return the file with the line at which a key stands, as far as a glance can tell."""
    present = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            present = header[1].strip("\"'")
            if table is None and present.split(".")[0] == key:
                return f"{file}, line {number}"
        elif present == table and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[.=]""", line):
            return f"{file}, line {number}"
    return str(file)


def unknown(table: str, noun: str, key: str, known: Collection[str]) -> str:
    """Return what an error says of a key that a table does not know: what may have been meant, and all."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}? T" if near else "t"
    return f"[{table}] knows no {noun} {key!r}; {hint}he {noun}s are {', '.join(known)}"
