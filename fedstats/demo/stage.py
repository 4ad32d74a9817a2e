"""Enrols the sites and runs the script at all of them, each a process of its own.

The steps are those of the tutorial in README.md, and the functions are those that the commands
call; only the telephone calls are missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fedstats.errors import DataError, translated
from fedstats.site import Site, create_site
from transport.card import Card
from transport.loopback import free_endpoints
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

#: Seconds that the other sites get to stop by themselves when one has failed.
GRACE = 10.0


class SiteFailed(Exception):
    """A site's process ended with an error; the message is what each site that failed printed."""


@dataclass(frozen=True)
class Output:
    """What a site's process printed."""

    stdout: str
    stderr: str


def enrol(folders: Mapping[str, Path]) -> Manifest:
    """Make every folder a site, and let all sign one federation.

    Parameters
    ----------
    folders
        Site's name → its folder.

    Returns
    -------
    Manifest
        Signed by all; a copy is in each folder.
    """
    endpoints = free_endpoints(len(folders))
    sites = [
        create_site(folder, name, endpoint=endpoint)
        for (name, folder), endpoint in zip(folders.items(), endpoints, strict=True)
    ]
    with translated():
        manifest = Manifest.create([Card.load(site.card) for site in sites], "demo")
        for site in sites:
            manifest = manifest.sign(SiteKeys.load(site.keys).identity)
        manifest.verify()
        for site in sites:
            manifest.save(site.federation)
    return manifest


def register(folder: Path, data: Mapping[str, str]) -> None:
    """Enter names of files under ``[data]`` in a site's `site.toml`, as its steward would."""
    path = folder / "site.toml"
    entries = "".join(f'{name} = "{file}"\n' for name, file in data.items())
    head, marker, tail = path.read_text(encoding="utf-8").partition("[data]\n")
    if not marker:
        raise DataError(f"{path} has no table [data]")
    path.write_text(head + marker + entries + tail, encoding="utf-8")
    Site.load(path)


def run_everywhere(
    script: Path, folders: Mapping[str, Path], arguments: Sequence[str] = ()
) -> dict[str, Output]:
    """Run ``fedstats run script --site site.toml`` in every folder at once, and wait for all.

    Raises
    ------
    SiteFailed
        A process failed. The others are given time to stop by themselves, and then stopped.
    """
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with ExitStack() as stack:
        processes = {}
        for site, folder in folders.items():
            # Files, not pipes: a full pipe would stop a site.
            outputs = [
                stack.enter_context((folder / name).open("w")) for name in ("stdout.txt", "stderr.txt")
            ]
            processes[site] = subprocess.Popen(  # noqa: S603  (our own interpreter and script)
                [
                    sys.executable,
                    *("-m", "fedstats", "run", os.path.relpath(script, folder), "--site", "site.toml"),
                    *arguments,
                ],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=outputs[0],
                stderr=outputs[1],
            )
        try:
            _wait(processes)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    outputs_of = {
        site: Output(*((folder / name).read_text() for name in ("stdout.txt", "stderr.txt")))
        for site, folder in folders.items()
    }
    failed = [site for site, process in processes.items() if process.returncode]
    if failed:
        raise SiteFailed(
            "\n".join(
                f"site {site} (exit code {processes[site].returncode}): {outputs_of[site].stderr.strip()}"
                for site in failed
            )
        )
    return outputs_of


def _wait(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, or until `GRACE` seconds after the first has failed."""
    deadline = float("inf")
    while any(process.poll() is None for process in processes.values()) and time.monotonic() < deadline:
        if deadline == float("inf") and any(process.poll() for process in processes.values()):
            deadline = time.monotonic() + GRACE
        time.sleep(0.05)
