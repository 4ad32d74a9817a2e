"""Where in a TOML file a key stands, for errors: the standard library's parser does not tell."""

from __future__ import annotations

import re


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
