"""How a script joins the other sites: from `site.toml` to a `Federation`."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path

from fedstats._progress import roll_call, somebody_watches
from fedstats.errors import DataError, PolicyError, translated
from fedstats.federation import Federation
from fedstats.policy import FederationPolicy
from fedstats.records import Records, Script
from fedstats.site import Site
from transport.base import DEFAULT_TIMEOUT
from transport.grpc_mesh import connect
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

#: Environment variable by which `fedstats run` tells the script its `site.toml`.
SITE_VARIABLE = "FEDSTATS_SITE"
#: What stands for the script's hash where there is no script: a notebook, an interactive shell.
INTERACTIVE = hashlib.sha256(b"fedstats: interactive session").digest()

_log = logging.getLogger("fedstats.session")


def join(site: str | os.PathLike[str] | None = None, *, timeout: float | None = None) -> Federation:
    """Join the session of the federation, waiting for every other site to come.

    Parameters
    ----------
    site
        This site's `site.toml`. Left out, it is the one that ``fedstats run --site`` was given.
    timeout
        Seconds to wait for the other sites, and later for any one message. By default what
        `site.toml` or the federation's manifest says, or else 120.

    Returns
    -------
    Federation
        To be used in a ``with`` block.

    Raises
    ------
    DataError, PolicyError
        `site.toml` cannot be used: file, key and remedy are named. Or the site's steward does not let the
        script run, or its audit log is not as the other sites have countersigned it.
    TransportError
        A key, certificate or manifest is not in order; a site did not come in time; or a site runs
        another script, another version of fedstats, or holds another manifest. The site is named.

    Notes
    -----
    Every site must run the same script: the sites compare its SHA-256 before anything else, over
    the file's exact bytes. Modules that the script imports are not covered. In a notebook or an
    interactive shell there is no script, and the sites agree only on being interactive: each step
    still carries its name, so sites that call different analyses stop at the first.

    The session is written to the site's audit log, see `fedstats.audit`.

    **Leakage.** Every site learns that this one takes part, with which script and which version, and how
    many entries its audit log has.

    Examples
    --------
    >>> import fedstats as fs
    >>> with fs.join("site.toml") as fed:  # doctest: +SKIP
    ...     print(fs.describe(fed.cohort("patients")))
    """
    config = Site.load(_site_file(site))
    with translated():
        keys = SiteKeys.load(config.keys)
        manifest = Manifest.load(config.federation)
        manifest.verify()
    if keys.name != config.name:
        raise DataError(
            f"{config.path}: 'name' is {config.name!r}, and the keys in {config.keys} are those of site "
            f"{keys.name!r}: correct the name, or point 'keys' at this site's folder"
        )
    shared = FederationPolicy.from_table(
        manifest.policy, str(config.federation), config.federation.read_text(encoding="utf-8")
    )
    records = Records(config, keys.identity, manifest, Script(_script_name(), script_hash()))
    _warn_of_refusal(records)
    seconds = timeout or config.timeout or manifest.timeout or DEFAULT_TIMEOUT
    others = [name for name in manifest.names if name != config.name]
    with roll_call(others, seconds) as on_progress, translated():
        mesh = connect(
            keys,
            manifest,
            records.script.sha256,
            package_version=version("fedstats"),
            timeout=seconds,
            listen=config.listen,
            on_progress=on_progress,
        )
    federation = Federation(
        mesh,
        policy=config.policy,
        shared=shared,
        data=config.data,
        show_progress=somebody_watches(),
        records=records,
        consent=config.consent,
    )
    try:
        records.begin(federation.party)
    except BaseException as error:
        federation.fail(error)
        raise
    return federation


def _warn_of_refusal(records: Records) -> None:
    """Say at once that the steward does not let the script run.

    It is raised when the other sites are there, so that they are told and do not wait in vain.
    """
    try:
        records.check_approval()
    except PolicyError as error:
        _log.warning("%s; this site waits for the others to tell them", error)


def _script_name() -> str | None:
    script = getattr(sys.modules["__main__"], "__file__", None)
    return None if script is None else Path(script).name


def script_hash() -> bytes:
    """Return the SHA-256 of the running script, or `INTERACTIVE` where there is none."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        _log.warning("interactive session: the sites do not compare scripts, only the steps as they come")
        return INTERACTIVE
    return hashlib.sha256(Path(script).read_bytes()).digest()


def _site_file(site: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if site is not None:
        return site
    try:
        return os.environ[SITE_VARIABLE]
    except KeyError:
        raise DataError(
            "this script does not say which site it runs at: start it with "
            "`fedstats run script.py --site site.toml`, or write fs.join('site.toml')"
        ) from None
