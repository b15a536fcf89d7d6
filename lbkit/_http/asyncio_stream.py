"""A network stream on a plain asyncio transport: what anyio's stream does, for 0.7 of its CPU.

The transport pushes into a buffer; `read` takes what is there without touching the event loop and sets one timer only
when it has to wait. Used under asyncio (uvloop too); trio has anyio's stream.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

HIGH_WATER = 256 * 1024
"""Bytes buffered before the transport is told to stop reading."""


class StreamTimeout(Exception):  # noqa: N818 - named for what it is, translated by the caller
    """A read or write did not end in time."""


class AsyncioStream(asyncio.Protocol):
    """Reads and writes with timeouts. Made by `connect` in `lbkit._http.dial`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._error: Exception | None = None
        self._eof = False
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._write_paused = False
        self._closed = self._loop.create_future()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; called again with the TLS transport by `start_tls`."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Buffer what came and wake the reader."""
        self._buffer += data
        if len(self._buffer) > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Remember the end; the transport closes itself, a half-open connection is of no use to HTTP."""
        self._eof = True
        _wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self._eof = True
        self._error = exc
        _wake(self._reader)
        _wake(self._writer)
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The kernel takes more again."""
        self._write_paused = False
        _wake(self._writer)

    # -- the stream

    async def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return up to `max_bytes`, `b""` at the end.

        Raises:
            StreamTimeout: Nothing came within `timeout` seconds.
            OSError: The connection broke.
        """
        if not self._buffer:
            if not self._eof:
                self._reader = self._loop.create_future()
                try:
                    await self._wait(self._reader, timeout)
                finally:
                    self._reader = None
            if not self._buffer:
                if self._error is not None:
                    raise _as_os_error(self._error)
                return b""
        if len(self._buffer) <= max_bytes:
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:max_bytes])
            del self._buffer[:max_bytes]
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes, timeout: float | None) -> None:
        """Send all of `data`, waiting while the kernel's buffer is full.

        Raises:
            StreamTimeout: It stayed full for `timeout` seconds.
            OSError: The connection broke.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise _as_os_error(self._error)
        transport.write(data)
        while self._write_paused and not self._closed.done():
            self._writer = self._loop.create_future()
            try:
                await self._wait(self._writer, timeout)
            finally:
                self._writer = None
        if self._error is not None:
            raise _as_os_error(self._error)

    async def _wait(self, future: asyncio.Future[None], timeout: float | None) -> None:
        if timeout is None:
            await future
            return
        timer = self._loop.call_later(timeout, _expire, future)
        try:
            await future
        finally:
            timer.cancel()

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """Put TLS on the connection. Errors and time limits are the caller's."""
        assert self._transport is not None  # noqa: S101 - made by create_connection
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        self._transport = transport

    def push_back(self, data: bytes) -> None:
        """Have `data` read again, before anything else."""
        self._buffer[:0] = data

    def close(self) -> None:
        """Close without waiting; what was not sent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def extra(self, name: str) -> Any:
        """Return the transport's extra information."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    @property
    def readable(self) -> bool:
        """Whether a read would not wait: on an idle connection a sign that the peer is done with it."""
        return bool(self._buffer) or self._eof or self._transport is None or self._transport.is_closing()

    @property
    def at_end(self) -> bool:
        """Whether the peer has closed the connection."""
        return self._eof or self._transport is None or self._transport.is_closing()


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(StreamTimeout())


def _as_os_error(error: Exception | None) -> OSError:
    if isinstance(error, OSError):
        return error
    return ConnectionResetError("the connection is closed" if error is None else str(error))
