"""One site as a process of its own, for tests that kill, stop or mislead it.

``python peer_process.py FOLDER NAME PROGRAM [SECONDS]``; prints a line when something has happened.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from transport.errors import TransportError  # noqa: E402
from transport.grpc_mesh import connect  # noqa: E402
from transport.manifest import Manifest  # noqa: E402
from transport.sitekeys import SiteKeys  # noqa: E402


def main() -> None:
    folder, name, program = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    timeout = float(sys.argv[4]) if len(sys.argv) > 4 else 3.0

    def say(what: str) -> None:
        print(what, flush=True)

    say("started")
    try:
        mesh = connect(
            SiteKeys.load(folder / name),
            Manifest.load(folder / "federation.toml"),
            bytes(range(32)),
            package_version="0.1.0",
            timeout=timeout,
            on_progress=lambda peer, event: say(f"{peer} {event}"),
        )
    except TransportError as error:
        say(f"{type(error).__name__} {error.peer}: {error}")
        return
    say("joined")
    if program == "leave":
        mesh.channel(mesh.peers[0]).recv("leave")
    elif program == "idle":
        time.sleep(60)
    elif program == "flood":
        channel = mesh.channel(mesh.peers[0])
        say("flooding")
        while True:
            channel.send("flood", bytes(1 << 20))
    elif program == "echo":
        while True:
            mesh.exchange("echo", dict.fromkeys(mesh.peers, b"echo"))


if __name__ == "__main__":
    main()
