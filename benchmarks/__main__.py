"""Run every benchmark, or those whose names contain a word, and print one table.

    python -m benchmarks [WORD …]

Each benchmark measures fedstats and a peer in turn, on the same machine in the same minutes. What it
found stands in pytest-benchmark's `extra_info`: `rounds` and `bytes` (sent by one site, exact), and where
there is a peer, `peer` (its name), `peer_seconds` (median) and `ratio` (our median over the peer's). Of
computations on shares, `offline` are the seconds for what knows no input, part of the whole, and `wide_area`
an estimate: the whole, 20 ms a round, and the bytes at 100 Mbit/s.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).parent
#: What `extra_info` must hold; anything else is printed below the table.
STANDARD = ("rounds", "bytes", "offline", "wide_area", "peer", "peer_seconds", "ratio")


def run(words: list[str]) -> tuple[int, dict[str, Any]]:
    """Run pytest on the benchmarks, and return its exit code and pytest-benchmark's report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", *map(str, sorted(HERE.glob("bench_*.py"))), "--no-header"]
        command += ["--benchmark-disable-gc", f"--benchmark-json={report}", "--benchmark-quiet"]
        code = subprocess.run([*command, "-k", " or ".join(words)], cwd=HERE.parent, check=False).returncode
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    return code, json.loads(text or '{"benchmarks": []}')


def table(benchmarks: list[dict[str, Any]]) -> Table:
    """Lay out the figures of all benchmarks."""
    grid = Table(title="fedstats beside its peers, medians", title_justify="left")
    grid.add_column("benchmark")
    for heading in ("seconds", "of them offline", "rounds", "MB sent a site", "20 ms, 100 Mbit/s"):
        grid.add_column(heading, justify="right")
    grid.add_column("peer")
    for heading in ("seconds", "ratio"):
        grid.add_column(heading, justify="right")
    for benchmark in benchmarks:
        found = benchmark["extra_info"]
        if "rounds" not in found:  # it failed; pytest has said why
            continue
        grid.add_row(
            escape(benchmark["name"].removeprefix("test_").replace("_", " ")),
            f"{benchmark['stats']['median']:.3g}",
            f"{found['offline']:.3g}" if "offline" in found else "–",
            str(found["rounds"]),
            f"{found['bytes'] / 1e6:,.2f}",
            f"{found['wide_area']:.3g}" if "wide_area" in found else "–",
            found.get("peer", "–"),
            f"{found['peer_seconds']:.3g}" if "peer_seconds" in found else "–",
            f"{found['ratio']:.2g}" if "ratio" in found else "–",
        )
    return grid


def main() -> int:
    """Run, print, and return pytest's exit code."""
    code, report = run(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(report["benchmarks"]))
    for benchmark in report["benchmarks"]:
        others = {key: value for key, value in benchmark["extra_info"].items() if key not in STANDARD}
        if others:
            console.print(
                f"{benchmark['name']}: " + ", ".join(f"{key} {value}" for key, value in others.items())
            )
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
