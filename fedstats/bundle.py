"""Result bundles: a result in a file, with all that is needed to say years later where it came from.

Canonical JSON (RFC 8785), signed by the identity key of the site that saved it: the table and its numbers as
they are, the analysis as all sites agreed on it, script, sites, versions, rules, what was revealed, and what
it cost. The bundles that different sites save of one result hold the same `result`, so that each vouches for
the others.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedstats._canonical import canonical, parse
from fedstats.errors import DataError
from transport.identity import verify
from transport.manifest import Manifest

if TYPE_CHECKING:
    from fedstats.results import Result

_FORMAT = 1
_DOMAIN = b"fedstats/bundle/1"
_KEYS = {"format", "time", "result", "leakage", "cost", "session", "versions"}
_LIBRARIES = ("fedstats", "numpy", "pandas", "scipy")
_EXACT = 2**53


def save(result: Result, path: Path) -> None:
    """Write a result's bundle; see `Result.save`."""
    origin = result.provenance
    records = None if origin is None else origin.records
    content = {
        "format": _FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "result": {
            "kind": type(result).__name__,
            "analysis": None if origin is None else origin.analysis,
            "call": None if origin is None else origin.call,
            "disclose": None if origin is None else origin.disclose,
            "sites": list(result.sites),
            "numbers": _numbers(result),
            "table": _table(result.to_frame()),
        },
        "leakage": [reveal.to_dict() for reveal in result.leakage],
        "cost": asdict(result.cost),
        "session": None if records is None else records.facts(),
        "versions": {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
    }
    signed = canonical(content)
    seal = None
    if records is not None:
        seal = {
            "site": records.identity.name,
            "key": records.identity.public.hex(),
            "signature": records.identity.sign(_DOMAIN, signed).hex(),
        }
        records.log("result.saved", file=path.name, digest=hashlib.sha256(signed).hexdigest())
    path.write_bytes(canonical({"content": content, "seal": seal}) + b"\n")


@dataclass(frozen=True)
class Bundle:
    """What `load` read and found to be as it was signed.

    Attributes
    ----------
    path
        The file.
    site
        Who signed it.
    key
        The public identity key that verified the signature.
    content
        What is signed.
    """

    path: Path
    site: str
    key: bytes
    content: Mapping[str, Any]

    def check_federation(self, manifest: Manifest) -> None:
        """Raise DataError unless the bundle belongs to a federation, and its site signed it.

        Parameters
        ----------
        manifest
            The federation's manifest of that epoch.
        """
        session = self.content["session"]
        if session["manifest"] != manifest.hash.hex():
            raise DataError(
                f"{self.path}: the session was one of federation {session['federation']}, epoch "
                f"{session['epoch']}, and the manifest given is that of {manifest.name}, epoch "
                f"{manifest.epoch}, or has other content: give the manifest of that epoch"
            )
        if manifest.card(self.site).identity != self.key:
            raise DataError(
                f"{self.path}: the key that signed it is not that of site {self.site} in the manifest: the "
                "bundle was not made by that site"
            )

    def to_frame(self) -> pd.DataFrame:
        """Return the table of the result."""
        table = self.content["result"]["table"]
        frame = pd.DataFrame({position: _values(its) for position, its in enumerate(table["columns"])})
        frame.columns = pd.Index([its["name"] for its in table["columns"]])
        levels = [pd.Index(_values(its), name=its["name"]) for its in table["index"]]
        return frame.set_index(levels)


def load(path: Path) -> Bundle:
    """Read a bundle and check its signature.

    Raises
    ------
    DataError
        It is not a bundle, was changed after it was signed, or nobody signed it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    try:
        whole = parse(data.removesuffix(b"\n"))
    except ValueError:
        whole = None
    match whole:
        case {"content": {"format": int(number)}} if number != _FORMAT:
            raise DataError(f"{path} has format {number}; this version of fedstats reads {_FORMAT}")
        case {"content": {"session": None}, "seal": None}:
            raise DataError(f"{path} was saved in a simulated session, and nobody vouches for it")
        case {
            "content": dict(content),
            "seal": {"site": str(site), "key": str(key), "signature": str(signature)},
        } if content.keys() == _KEYS and isinstance(content["session"], dict):
            try:
                public, sealed = bytes.fromhex(key), bytes.fromhex(signature)
            except ValueError:
                public = sealed = b""
            if verify(public, _DOMAIN, canonical(content), sealed):
                return Bundle(path, site, public, content)
            raise DataError(f"{path} was changed after site {site} signed it: ask that site for its copy")
    raise DataError(f"{path} is not a result bundle, or was changed: ask the site for its copy")


def check_same(bundles: Sequence[Bundle]) -> None:
    """Raise DataError unless bundles of several sites hold one result of one session."""
    first = bundles[0]
    for other in bundles[1:]:
        mine, its = ((b.content["result"], b.content["session"]["session"]) for b in (first, other))
        if canonical(mine[0]) != canonical(its[0]) or mine[1] != its[1]:
            raise DataError(
                f"{first.path} and {other.path} do not hold the same result of the same session: compare "
                "their tables"
            )


def _numbers(result: Result) -> dict[str, Any]:
    """Return the fields that are plain values; what a site alone knows is in none of them."""
    common = {"sites", "leakage", "cost", "provenance"}
    found = {rule.name: getattr(result, rule.name) for rule in fields(result) if rule.name not in common}
    return {name: _cell(value) for name, value in found.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    index = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    return {
        "index": [_column(its.name, its.to_series()) for its in index],
        "columns": [_column(name, frame.iloc[:, at]) for at, name in enumerate(frame.columns)],
    }


def _column(name: Any, values: pd.Series[Any]) -> dict[str, Any]:
    return {
        "name": None if name is None else str(name),
        "type": str(values.dtype),
        "values": [_cell(value) for value in values.tolist()],
    }


def _cell(value: Any) -> Any:
    """Return a value as JSON has it: missing ones as null, those that JSON has not as texts."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool() | str():
            return value
        case int():
            return value if abs(value) <= _EXACT else str(value)
        case float() if math.isfinite(value):
            return value
        case float() if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        case date():
            return value.isoformat()
    return None if pd.isna(value) is True else str(value)


def _values(column: Mapping[str, Any]) -> Any:
    values = column["values"]
    if column["type"].startswith("float"):
        return np.array([np.nan if value is None else float(value) for value in values], column["type"])
    return pd.array(values, dtype=column["type"]) if column["type"] != "object" else values
