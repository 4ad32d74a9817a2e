"""Every command of README's tutorial, run in order, at two sites on this machine.

What the test reads in the section "Tutorial: two machines":

- ```` ```console ````: lines ``site-a$ command`` are run in folder site-a, and so on, one after the other.
  The lines below a command must be among what it prints; ``…`` stands for anything.
- ```` ```console together ````: the same, all commands at once.
- ```` ```python analysis.py ````: a file that every site gets.
- ```` ```toml site.toml ````: what every site.toml has in place of everything from ``[data]`` on.

``scp FILE SITE:`` copies between the folders, and hosts in example.org are free ports of this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from transport.loopback import free_endpoints

README = Path(__file__).parents[2] / "README.md"
SECTION = "## Tutorial: two machines\n"
SCP = '#!/bin/sh\nexec cp "$1" "../${2%%:*}/"\n'


@dataclass
class Command:
    site: str
    text: str
    prints: list[str] = field(default_factory=list)


def section(text: str) -> str:
    _, found, rest = text.partition(SECTION)
    assert found, f"README.md has no section {SECTION.strip()!r}"
    return rest.partition("\n## ")[0]


def fences(text: str) -> Iterator[tuple[str, str]]:
    """Yield the info string and the content of each fenced block."""
    yield from re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[Command]:
    found: list[Command] = []
    for line in block.splitlines():
        if prompt := re.match(r"(site-\w)\$ (.*)", line):
            found.append(Command(prompt[1], prompt[2]))
        elif line.strip():
            found[-1].prints.append(line)
    return found


def squeezed(text: str) -> str:
    """Return text with every run of blanks as one."""
    return re.sub(r"[ \t]+", " ", text).strip()


class Sites:
    """The folders of the sites, and how commands are run in them."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folders = {name: folder / name for name in names}
        for site in self.folders.values():
            site.mkdir()
        tools = folder / "tools"
        tools.mkdir()
        (tools / "scp").write_text(SCP)
        (tools / "scp").chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = os.environ | {"PATH": path, "COLUMNS": "200"}
        self.endpoints = dict(zip(names, free_endpoints(len(names)), strict=True))

    def start(self, command: Command) -> subprocess.Popen[str]:
        text = re.sub(r"(site-\w)\.example\.org:\d+", lambda host: self.endpoints[host[1]], command.text)
        return subprocess.Popen(
            text,
            shell=True,
            cwd=self.folders[command.site],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, together: list[Command]) -> None:
        processes = [self.start(command) for command in together]
        for command, process in zip(together, processes, strict=True):
            printed, _ = process.communicate(timeout=90)
            assert process.returncode == 0, f"{command.site}$ {command.text}\n{printed}"
            for line in command.prints:
                pattern = re.escape(squeezed(line)).replace("…", ".*")
                assert re.search(pattern, squeezed(printed)), f"{line!r} is not in:\n{printed}"

    def write(self, name: str, content: str) -> None:
        for folder in self.folders.values():
            path = folder / name
            kept = path.read_text().partition("[data]")[0] if name == "site.toml" else ""
            path.write_text(kept + content)


def test_every_command_of_the_tutorial_runs(tmp_path):
    text = section(README.read_text(encoding="utf-8"))
    names = sorted(set(re.findall(r"^(site-\w)\$ ", text, flags=re.MULTILINE)))
    assert names == ["site-a", "site-b"]
    sites = Sites(tmp_path, names)
    ran = 0
    for info, block in fences(text):
        language, _, argument = info.partition(" ")
        if language == "console":
            wanted = commands(block)
            ran += len(wanted)
            for batch in [wanted] if argument == "together" else [[command] for command in wanted]:
                sites.run(batch)
        elif argument:
            sites.write(argument, block)
    assert ran >= 10
