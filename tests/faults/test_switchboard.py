"""A connection's end is noticed even when gRPC cancels the task that is clearing it away."""

from __future__ import annotations

import asyncio

from transport_helpers import SPEC, VERSION

from transport import loop
from transport.handshake import Handshake, make_terms
from transport.probe import Responder, probe_hello
from transport.stream import Stream, StreamEnded
from transport.switchboard import Switchboard


class EndedStream(Stream):
    """Reads the end, and takes its time to stop writing."""

    async def read(self) -> bytes:
        raise StreamEnded("over")

    async def write(self, data: bytes) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)

    async def finish(self) -> None:
        return

    def drop(self) -> None:
        return


def test_cancelled_while_clearing_away(loopback) -> None:
    federation = loopback("a", "b")
    manifest, keys = federation.manifest, federation.keys["a"]
    cards = {card.name: card for card in manifest.peers}
    terms = make_terms(VERSION, manifest.epoch, manifest.hash, SPEC, manifest.names)

    async def scenario() -> None:
        switchboard = Switchboard(
            Handshake(keys.identity, terms, cards),
            "a",
            cards,
            keys.credentials(keys.card.fingerprint),
            30.0,
            Responder(probe_hello(keys, manifest, VERSION), {"b": cards["b"]}),
            None,
        )
        switchboard._ready.set()
        line = switchboard.lines["b"]
        line.stream = stream = EndedStream()
        task = asyncio.create_task(switchboard._converse(line, stream))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert line.stream is None
        assert line.broken_since is not None
        await switchboard.shut()

    loop.run(scenario())
