"""A TCP relay on loopback that cuts its connections after random numbers of bytes."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class CuttingProxy:
    """Relay `public` to `target`; once armed, cut `cuts` connections, then leave them alone."""

    def __init__(self, public: str, target: str, cuts: int, chance: random.Random) -> None:
        self.made = 0
        self._cuts = cuts
        self._chance = chance
        self._mean: int | None = None
        self._lock = threading.Lock()
        self._target = _address(target)
        self._open: set[socket.socket] = set()
        self._left = 0
        self._server = socket.create_server(_address(public))
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, mean: int = 1_000_000) -> None:
        """Begin cutting, after `mean` bytes on average; more often cut early than late."""
        with self._lock:
            self._mean = mean
            self._draw()

    def stop(self) -> None:
        """Close everything."""
        self._server.close()
        with self._lock:
            for one in list(self._open):
                _reset(one)

    def cut_now(self) -> None:
        """Cut every open connection."""
        with self._lock:
            for one in list(self._open):
                _reset(one)

    def _draw(self) -> None:
        self._left = int(self._chance.expovariate(1 / (self._mean or 1)))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for one, two in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(one, two), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                allowed = self._allow(len(data))
                sink.sendall(data[:allowed])
                if allowed < len(data):
                    break
        except OSError:
            pass
        with self._lock:
            self._open -= {source, sink}
        _reset(source)
        _reset(sink)

    def _allow(self, count: int) -> int:
        """Return how many of `count` bytes may pass; fewer means that the connection is to be cut."""
        with self._lock:
            if self._mean is None or self.made >= self._cuts:
                return count
            if count <= self._left:
                self._left -= count
                return count
            allowed = self._left
            self.made += 1
            self._draw()
            return allowed


@contextmanager
def cutting(proxies: Sequence[CuttingProxy], mean: int = 1_000_000) -> Iterator[None]:
    """Let proxies cut within the block, and close them after it."""
    for proxy in proxies:
        proxy.arm(mean)
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.stop()


def _address(endpoint: str) -> tuple[str, int]:
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)


def _reset(one: socket.socket) -> None:
    """Close with a TCP reset, as a broken network does; wakes whoever reads from it."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
