"""Helpers of the tests that run `fedstats run` at several sites, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str


class Running:
    """A site's process; its folder holds `site.toml`."""

    def __init__(self, folder: Path, script: Path, arguments: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedstats", "run", str(script), "--site", "site.toml", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line: str) -> None:
        """Wait until the process prints `line`."""
        assert self.process.stdout is not None
        for printed in self.process.stdout:
            if printed.rstrip("\n") == line:
                return
        raise AssertionError(f"the process ended before it printed {line!r}: {self.end().stderr}")

    def end(self, timeout: float = 60) -> Ended:
        """Wait for the end."""
        stdout, stderr = self.process.communicate(timeout=timeout)
        return Ended(self.process.returncode, stdout, stderr)


@contextmanager
def running(scripts: dict[Path, Path]) -> Iterator[dict[str, Running]]:
    """Run a script in each folder; whatever still runs in the end is killed."""
    processes = {folder.name: Running(folder, script) for folder, script in scripts.items()}
    try:
        yield processes
    finally:
        for started in processes.values():
            started.process.kill()
            started.process.communicate()
