"""A gRPC stream of raw bytes, the same to use whether this site dialled or was dialled."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio

from transport.frames import Frame

#: The RPCs of a mesh, both streams of raw bytes both ways: the link of a session, and the probe.
SERVICE, LINK, PROBE = "fedstats.Mesh", "Link", "Probe"


class StreamEnded(Exception):
    """The stream is over. The reason is gRPC's own text: addresses and TLS errors, never data."""


class Trouble(StrEnum):
    """Why a connection is not there, in a site's terms."""

    NONE = "it has not been reached yet"
    BROKEN = "the connection broke"
    IMPOSTOR = "whoever answers at its endpoint does not have the certificate that federation.toml pins"
    REFUSED = "it ended the connection; its federation.toml may pin another certificate for this site"
    SILENT = "its machine answers, but no analysis listens at its endpoint"
    UNKNOWN_HOST = "the host name of its endpoint is not known here"
    UNREACHABLE = "its endpoint cannot be reached from here"


def diagnose(reason: str) -> Trouble:
    """Tell what gRPC's text about a failed connection means."""
    for trouble, signs in _SIGNS.items():
        if any(sign in reason for sign in signs):
            return trouble
    return Trouble.UNREACHABLE


_SIGNS = {
    Trouble.IMPOSTOR: ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification"),
    Trouble.SILENT: ("Connection refused",),
    Trouble.REFUSED: ("Socket closed", "Connection reset", "Broken pipe", "handshake failed"),
    Trouble.UNKNOWN_HOST: ("DNS", "name resolution", "getaddrinfo", "not known"),
}


class Stream(ABC):
    """One connection with a peer, and how far its opening has come.

    Attributes
    ----------
    wake
        Set when there may be something to write.
    said_hello, said_join
        What has been written of the opening.
    heard_hello, heard_join
        What has been read and found good. After both joins the link's frames follow.
    pending_join
        The peer's join, while hellos of others are still missing.
    dismissed
        Nothing more is wanted of it: what was read late must not count.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.said_hello = False
        self.said_join = False
        self.heard_hello = False
        self.heard_join = False
        self.pending_join: Frame | None = None
        self.dismissed = False

    @abstractmethod
    async def read(self) -> bytes:
        """Return the next frame's bytes; raise `StreamEnded` when there is none."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Write one frame; returns when gRPC has room for the next. Raises `StreamEnded`."""

    @abstractmethod
    async def finish(self) -> None:
        """Say that nothing more will be written."""

    @abstractmethod
    def drop(self) -> None:
        """End the stream at once."""


class DialledStream(Stream):
    """A stream that this site opened.

    Parameters
    ----------
    call
        The call on the peer's channel.
    """

    def __init__(self, call: Any) -> None:
        super().__init__()
        self._call = call

    async def read(self) -> bytes:
        """See `Stream.read`."""
        try:
            data = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise StreamEnded(error.details() or error.code().name) from None
        if not isinstance(data, bytes):  # gRPC's end-of-file object
            raise StreamEnded(await self._call.details() or "the peer ended the stream")
        return data

    async def write(self, data: bytes) -> None:
        """See `Stream.write`."""
        try:
            await self._call.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise StreamEnded(await self._call.details() or "the peer ended the stream") from None

    async def finish(self) -> None:
        """See `Stream.finish`."""
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return

    def drop(self) -> None:
        """See `Stream.drop`."""
        self._call.cancel()


class AcceptedStream(Stream):
    """A stream that a peer opened; it ends when its handler returns.

    Parameters
    ----------
    context
        The servicer context.
    handler
        The task that serves it.
    """

    def __init__(self, context: Any, handler: asyncio.Task[Any]) -> None:
        super().__init__()
        self._context = context
        self._handler = handler

    async def read(self) -> bytes:
        """See `Stream.read`."""
        try:
            data = await self._context.read()
        except (grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise StreamEnded(str(error)) from None
        if not isinstance(data, bytes):  # gRPC's end-of-file object
            raise StreamEnded("the peer ended the stream")
        return data

    async def write(self, data: bytes) -> None:
        """See `Stream.write`."""
        try:
            await self._context.write(data)
        except (grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise StreamEnded(str(error)) from None

    async def finish(self) -> None:
        """Do nothing: the handler's return says it."""

    def drop(self) -> None:
        """See `Stream.drop`."""
        self._handler.cancel()
