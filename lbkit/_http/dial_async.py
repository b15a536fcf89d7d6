"""Dial override: the request keeps its logical URL, the connection goes to the endpoint's address.

httpcore dials through a network backend; each connection here has one of its own, which ignores the host it is told and
goes to its endpoint. So SNI, certificate names, Host, cookies, redirects and `response.url` are right by construction.
Under asyncio the stream is our own on a plain transport; under trio it is httpcore's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from typing import Any

import anyio

from lbkit._http.asyncio_stream import AsyncioStream, StreamTimeout
from lbkit._http.dial_sync import has_ended
from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit.core.endpoint import Endpoint

HAPPY_EYEBALLS_S = 0.25
"""Between two connection attempts to a name with several addresses (RFC 8305)."""


class BoundedAsyncioStream:
    """A stream on an asyncio transport with httpcore's interface, bounded by a line."""

    def __init__(self, stream: AsyncioStream, line: Line, library: Library) -> None:
        self._stream = stream
        self._line = line
        self._core = library.core

    async def receive(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within what is left of the line."""
        try:
            return await self._stream.read(max_bytes, self._line.left(timeout, reading=True))
        except StreamTimeout:
            raise self._core.ReadTimeout("the endpoint did not answer in time") from None
        except OSError as error:
            raise self._core.ReadError(str(error)) from error

    read = receive

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        """Write within what is left of the line."""
        if not data:
            return
        try:
            await self._stream.write(data, self._line.left(timeout))
        except StreamTimeout:
            raise self._core.WriteTimeout("the endpoint did not take the request in time") from None
        except OSError as error:
            raise self._core.WriteError(str(error)) from error

    write = send

    def push_back(self, data: bytes) -> None:
        """Have `data` read again, before anything else."""
        self._stream.push_back(data)

    async def aclose(self) -> None:
        """Close at once; it does not wait, so it cannot be cancelled half-way."""
        self._stream.close()

    def abort(self) -> None:
        """Close at once."""
        self._stream.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> BoundedAsyncioStream:
        """Put TLS on the connection, in place."""
        try:
            with anyio.fail_after(self._line.left(timeout)):
                await self._stream.start_tls(ssl_context, server_hostname)
        except TimeoutError:
            self._stream.close()
            raise self._core.ConnectTimeout("the TLS handshake did not end in time") from None
        except OSError as error:  # ssl.SSLError is one
            self._stream.close()
            raise self._core.ConnectError(str(error)) from error
        except BaseException:
            self._stream.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore and users of `network_stream` ask for."""
        if info == "is_readable":
            return self._stream.readable
        if info == "is_at_end":
            return self._stream.at_end
        return self._stream.extra({"client_addr": "sockname", "server_addr": "peername"}.get(info, info))


class BoundedTrioStream:
    """httpcore's trio stream, bounded by a line."""

    def __init__(self, stream: Any, line: Line) -> None:
        self._stream = stream
        self._line = line
        self._leading = b""

    async def receive(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within what is left of the line."""
        if self._leading:
            data, self._leading = self._leading[:max_bytes], self._leading[max_bytes:]
            return data
        return await self._stream.read(max_bytes, self._line.left(timeout, reading=True))  # type: ignore[no-any-return]

    read = receive

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        """Write within what is left of the line."""
        await self._stream.write(data, self._line.left(timeout))

    write = send

    def push_back(self, data: bytes) -> None:
        """Have `data` read again, before anything else."""
        self._leading = data + self._leading

    async def aclose(self) -> None:
        """Close at once; it does not wait, so it cannot be cancelled half-way."""
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._stream.get_extra_info("socket").close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> BoundedTrioStream:
        """Put TLS on the connection, in place."""
        try:
            self._stream = await self._stream.start_tls(ssl_context, server_hostname, self._line.left(timeout))
        except BaseException:
            self.abort()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream knows."""
        if info == "is_at_end":
            return has_ended(self._stream.get_extra_info("socket"))
        return self._stream.get_extra_info(info)


class AsyncDialer:
    """A network backend that goes to one endpoint, whatever host it is told.

    Attributes:
        stream: The connection, once it is made.
    """

    def __init__(self, library: Library, endpoint: Endpoint, line: Line, *, trio: bool) -> None:
        self._library = library
        self._endpoint = endpoint
        self._line = line
        self._trio = trio
        self.stream: BoundedAsyncioStream | BoundedTrioStream | None = None

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the logical host: not where we go
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> BoundedAsyncioStream | BoundedTrioStream:
        """Connect to the endpoint."""
        left = self._line.left(timeout)
        if self._trio:
            self.stream = await self._connect_trio(left, local_address, socket_options)
        else:
            self.stream = await self._connect_asyncio(left, local_address, socket_options)
        return self.stream

    async def dial(
        self, context: ssl.SSLContext | None, server_hostname: str, timeout: float | None, more: dict[str, Any]
    ) -> BoundedAsyncioStream | BoundedTrioStream:
        """Connect, with TLS where there is a context."""
        stream = await self.connect_tcp("", 0, timeout, more["local_address"], more["socket_options"])
        if context is not None:
            await stream.start_tls(context, server_hostname, timeout)
        return stream

    async def _connect_trio(
        self, left: float | None, local_address: str | None, options: Iterable[Any] | None
    ) -> BoundedTrioStream:
        backend = self._library.core.TrioBackend()
        endpoint = self._endpoint
        if endpoint.path:
            stream = await backend.connect_unix_socket(endpoint.path, left, list(options or ()))
        else:
            stream = await backend.connect_tcp(endpoint.host, endpoint.port, left, local_address, list(options or ()))
        return BoundedTrioStream(stream, self._line)

    async def _connect_asyncio(
        self, left: float | None, local_address: str | None, options: Iterable[Any] | None
    ) -> BoundedAsyncioStream:
        core = self._library.core
        endpoint = self._endpoint
        loop = asyncio.get_running_loop()
        stream: AsyncioStream
        try:
            with anyio.fail_after(left):
                if endpoint.path:
                    _, stream = await loop.create_unix_connection(AsyncioStream, endpoint.path)
                else:
                    _, stream = await loop.create_connection(
                        AsyncioStream,
                        endpoint.host,
                        endpoint.port,
                        local_addr=None if local_address is None else (local_address, 0),
                        happy_eyeballs_delay=None if _is_ip(endpoint.host) else HAPPY_EYEBALLS_S,
                    )
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:  # ours; the kernel's has a number
                raise core.ConnectTimeout("the endpoint did not accept the connection in time") from None
            raise core.ConnectError(str(error)) from error
        for option in options or ():
            stream.extra("socket").setsockopt(*option)
        return BoundedAsyncioStream(stream, self._line, self._library)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.stream is not None:
            self.stream.abort()

    def disown(self) -> None:
        """Close the socket and leave the event loop alone: it is the parent's, and so is what it waits for.

        A close by the loop would remove the socket from the parent's epoll set, which the child shares.
        """
        if self.stream is not None:
            sock = self.stream.get_extra_info("socket")
            sock = getattr(sock, "_sock", sock)  # asyncio's and trio's are wrappers
            if hasattr(sock, "close"):
                sock.close()

    def is_dead(self) -> bool:
        """Whether the peer has closed the connection."""
        return self.stream is not None and bool(self.stream.get_extra_info("is_at_end"))

    async def sleep(self, seconds: float) -> None:
        """Part of httpcore's interface; unused, for retries are lbkit's."""
        await anyio.sleep(seconds)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
