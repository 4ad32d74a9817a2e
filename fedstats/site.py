"""`site.toml`: what one site says of itself, in one file that its steward keeps.

::

    name = "lyon"                      # as in the peer card
    keys = "keys"                      # folder of the identity key and TLS certificates
    federation = "federation.toml"     # signed by every site
    listen = "0.0.0.0:7710"            # optional, where it differs from the endpoint others dial
    timeout = 120                      # optional, seconds to wait for any one message

    [data]                             # names that scripts use → this site's files
    patients = "patients.parquet"

    [policy]                           # this site's own rules, see fedstats.policy
    min_rows = 20
    approval = "approve"               # scripts wait for `fedstats approve`

    [consent]                          # rows that no analysis sees, see fedstats.consent
    withdrawn = "withdrawn.txt"

    [budget]                           # rho that differentially private releases may take of a data set
    patients = 0.5

Beside it a site keeps its audit log (`audit.jsonl`), its steward's approvals (`approvals.json`), what was
spent of its privacy budget (`budget.sqlite`) and, where the rule `min_difference` asks for it, which rows
were analysed before (`rowsets.sqlite`).

Paths are relative to the file's own folder. Whatever the file says that is not understood is an
error: a misspelt rule must not be a rule that does not apply.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomli_w

from fedstats._toml import place
from fedstats.consent import Consent
from fedstats.errors import DataError, PolicyError, translated
from fedstats.policy import SitePolicy, as_toml
from transport.card import split_endpoint
from transport.certificate import DEFAULT_DAYS
from transport.errors import IdentityError
from transport.identity import check_name
from transport.sitekeys import SiteKeys

_KINDS: Mapping[str, tuple[type, ...]] = {"a text": (str,), "a number": (int, float), "a table": (dict,)}
_SCHEMA = {
    "name": "a text",
    "keys": "a text",
    "federation": "a text",
    "listen": "a text",
    "timeout": "a number",
    "data": "a table",
    "policy": "a table",
    "consent": "a table",
    "budget": "a table",
}
_REQUIRED = ("name", "keys", "federation")


@dataclass(frozen=True)
class Site:
    """The content of a `site.toml`, with all paths resolved.

    Attributes
    ----------
    path
        The file itself.
    name
        The site's name.
    keys
        Folder of its identity key and certificates.
    federation
        The federation's manifest.
    listen
        ``host:port`` at which it accepts connections, where that is not simply its endpoint's port.
    timeout
        Seconds to wait for any one message; None for what the manifest says.
    data
        Registered name → file.
    policy
        Its own rules.
    consent
        Where it is written whose rows may be used; None if all may.
    budget
        Registered name → ρ that may be spent of it in all, see `fedstats.ledger`.
    """

    path: Path
    name: str
    keys: Path
    federation: Path
    listen: str | None = None
    timeout: float | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    policy: SitePolicy = field(default_factory=SitePolicy)
    consent: Consent | None = None
    budget: Mapping[str, Fraction] = field(default_factory=dict)

    @property
    def card(self) -> Path:
        """Where `create_site` and `fedstats rotate` put the card that goes to the other sites."""
        return self.path.with_name(f"{self.name}.card.toml")

    @property
    def audit(self) -> Path:
        """Its audit log."""
        return self.path.with_name("audit.jsonl")

    @property
    def approvals(self) -> Path:
        """What its steward has approved."""
        return self.path.with_name("approvals.json")

    @property
    def row_sets(self) -> Path:
        """Which of its rows were analysed before."""
        return self.path.with_name("rowsets.sqlite")

    @property
    def ledger(self) -> Path:
        """What was spent of its privacy budget."""
        return self.path.with_name("budget.sqlite")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Site:
        """Read a `site.toml`.

        Raises
        ------
        DataError, PolicyError
            Naming the file, the line, the key and the remedy.
        """
        file = Path(path).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"cannot read {file} ({error.strerror}): make a site with `fedstats init NAME`, "
                "or say where its site.toml is"
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not text in UTF-8: save it as such") from error
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{file} is not valid TOML: {error}") from error
        _check(table, text, file)

        folder = file.resolve().parent
        return cls(
            path=file.resolve(),
            name=table["name"],
            keys=_resolve(folder, table["keys"]),
            federation=_resolve(folder, table["federation"]),
            listen=table.get("listen"),
            timeout=table.get("timeout"),
            data={name: _resolve(folder, value) for name, value in table.get("data", {}).items()},
            policy=SitePolicy.from_table(table.get("policy", {}), str(file), text),
            consent=Consent.from_table(table["consent"], folder, str(file), text)
            if "consent" in table
            else None,
            budget={name: Fraction(str(rho)) for name, rho in table.get("budget", {}).items()},
        )


def create_site(
    directory: Path, name: str, *, endpoint: str | None, listen: str | None = None, days: float = DEFAULT_DAYS
) -> Site:
    """Enrol a site: its keys, its `site.toml`, and the card to send to the others.

    Parameters
    ----------
    directory
        The site's folder; created if need be.
    name
        The site's name.
    endpoint
        ``host:port`` at which the others reach it; None at a site that can only dial out.
    listen
        ``host:port`` to accept connections at, where that differs.
    days
        Days for which its certificate is valid.

    Raises
    ------
    DataError
        One of the files is there already. Nothing is overwritten.
    TransportError
        The name or an address is malformed.
    """
    path = directory / "site.toml"
    with translated():
        check_name(name)
        if listen is not None:
            split_endpoint(listen, owner=name)
        for existing in (path, directory / "keys", directory / f"{name}.card.toml"):
            if existing.exists():
                raise DataError(
                    f"{existing} exists, and nothing is overwritten: choose another --directory, or renew "
                    "the certificate with `fedstats rotate`"
                )
        keys = SiteKeys.create(directory / "keys", name, endpoint, days=days)
    keys.card.save(directory / f"{name}.card.toml")
    path.write_text(_template(name, listen), encoding="utf-8")
    return Site.load(path)


def _template(name: str, listen: str | None) -> str:
    head = {"name": name, "keys": "keys", "federation": "federation.toml"}
    if listen is not None:
        head["listen"] = listen
    rules = "".join(f"{rule} = {as_toml(value)}\n" for rule, value in asdict(SitePolicy()).items())
    return (
        f"# Site {name}. Paths are relative to this file's folder.\n"
        + tomli_w.dumps(head)
        + "\n# Names that scripts may use for this site's files:\n"
        + '[data]\n# patients = "patients.parquet"\n'
        + "\n# This site's own rules on what may leave it; fedstats.policy.SitePolicy explains each.\n"
        + "[policy]\n"
        + rules
        + "\n# Rows that no analysis sees, see fedstats.consent:\n"
        + '# [consent]\n# withdrawn = "withdrawn.txt"\n'
        + "\n# Privacy budgets: the rho that releases with noise may take of registered data, in all:\n"
        + "# [budget]\n# patients = 0.5\n"
    )


def _resolve(folder: Path, path: str) -> Path:
    return folder / Path(path).expanduser()


def _check(table: Mapping[str, Any], text: str, file: Path) -> None:
    """Refuse keys that are unknown, missing, or of the wrong kind."""
    for key, value in table.items():
        where = place(file, text, key)
        if key not in _SCHEMA:
            raise DataError(f"{where}: unknown key {key!r}; a site.toml has {', '.join(_SCHEMA)}")
        if not isinstance(value, _KINDS[_SCHEMA[key]]) or isinstance(value, bool):
            raise DataError(f"{where}: {key!r} must be {_SCHEMA[key]}")
    for key in _REQUIRED:
        if key not in table:
            raise DataError(f"{file}: the key {key!r} is missing; a site.toml needs {', '.join(_REQUIRED)}")
    for name, value in table.get("data", {}).items():
        if not isinstance(value, str):
            where = place(file, text, name, "data")
            raise DataError(f"{where}: {name!r} in [data] must be the path of a file, as a text")
    for name, rho in table.get("budget", {}).items():
        where = place(file, text, name, "budget")
        if type(rho) not in (int, float) or not 0 <= rho < float("inf"):
            raise PolicyError(f"{where}: {name!r} in [budget] must be a number, the rho that may be spent")
        if name not in table.get("data", {}):
            raise PolicyError(f"{where}: [budget] names {name!r}, and [data] registers nothing of that name")
    if "timeout" in table and not 0 < table["timeout"] < float("inf"):
        raise DataError(f"{place(file, text, 'timeout')}: 'timeout' must be a positive number of seconds")
    try:
        check_name(table["name"])
        if "listen" in table:
            split_endpoint(table["listen"], owner=table["name"])
    except IdentityError as error:
        raise DataError(f"{file}: {error}") from error
