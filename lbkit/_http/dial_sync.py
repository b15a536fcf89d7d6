"""Dialling for the sync transports: see `dial_async` for the idea. Here a stream is a plain socket with timeouts."""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from typing import Any

from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit.core.endpoint import Endpoint

TCP_ESTABLISHED = 1
"""The first byte of Linux's tcp_info is the state."""


def has_ended(sock: Any) -> bool:
    """Whether the peer has closed a TCP connection, asked of the kernel without reading: on Linux; False elsewhere.

    To be readable is no sign of it over HTTP/2, where a server may send frames at any time.
    """
    if not hasattr(socket, "TCP_INFO") or sys.platform != "linux":
        return False
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return bool(sock.fileno() < 0)  # closed here; a unix socket has no such option
    return state != TCP_ESTABLISHED


class SyncStream:
    """A socket with httpcore's interface, bounded by a line.

    `receive` and `send` are for the shared flow; they block and never suspend.
    """

    def __init__(self, sock: socket.socket, line: Line, library: Library) -> None:
        self._line = line
        self._core = library.core
        self._leading = b""
        self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def _within(self, left: float | None) -> None:
        if left != self._timeout:
            self._timeout = left
            self._socket.settimeout(left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within what is left of the line."""
        if self._leading:
            data, self._leading = self._leading[:max_bytes], self._leading[max_bytes:]
            return data
        left = self._line.left(timeout, reading=True)
        if left == 0:  # a socket takes 0 for "do not block"
            raise self._core.ReadTimeout("the endpoint did not answer in time")
        try:
            self._within(left)
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise self._core.ReadTimeout("the endpoint did not answer in time") from error
        except OSError as error:
            raise self._core.ReadError(str(error)) from error

    def write(self, buffer: bytes | memoryview, timeout: float | None = None) -> None:
        """Write within what is left of the line."""
        try:
            while buffer:
                left = self._line.left(timeout)
                if left == 0:
                    raise TimeoutError  # noqa: TRY301
                self._within(left)
                sent = self._socket.send(buffer)
                if sent == len(buffer):
                    return
                buffer = memoryview(buffer)[sent:]
        except TimeoutError as error:
            raise self._core.WriteTimeout("the endpoint did not take the request in time") from error
        except OSError as error:
            raise self._core.WriteError(str(error)) from error

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read, blocking."""
        return self.read(max_bytes, timeout)

    async def send(self, data: bytes, timeout: float | None) -> None:
        """Write, blocking."""
        self.write(data, timeout)

    def push_back(self, data: bytes) -> None:
        """Have `data` read again, before anything else."""
        self._leading = data + self._leading

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    abort = close

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncStream:
        """Put TLS on the connection, in place."""
        left = self._line.left(timeout)
        try:
            if left == 0:
                raise TimeoutError  # noqa: TRY301
            self._within(left)
            self._take(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise self._core.ConnectTimeout("the TLS handshake did not end in time") from error
        except OSError as error:  # ssl.SSLError is one
            self.close()
            raise self._core.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore and users of `network_stream` ask for."""
        match info:
            case "is_readable":
                return self._socket.fileno() < 0 or bool(self._poll.poll(0))
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "socket":
                return self._socket
        return None


class SyncDialer:
    """A network backend that goes to one endpoint, whatever host it is told.

    Attributes:
        stream: The connection, once it is made.
    """

    def __init__(self, library: Library, endpoint: Endpoint, line: Line) -> None:
        self._library = library
        self._endpoint = endpoint
        self._line = line
        self.stream: SyncStream | None = None

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the logical host: not where we go
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> SyncStream:
        """Connect to the endpoint."""
        core = self._library.core
        try:
            sock = self._connect(self._line.left(timeout), local_address)
        except TimeoutError as error:
            raise core.ConnectTimeout("the endpoint did not accept the connection in time") from error
        except OSError as error:
            raise core.ConnectError(str(error)) from error
        for option in socket_options or ():
            sock.setsockopt(*option)
        self.stream = SyncStream(sock, self._line, self._library)
        return self.stream

    def _connect(self, left: float | None, local_address: str | None) -> socket.socket:
        if left == 0:
            raise TimeoutError
        endpoint = self._endpoint
        if endpoint.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(left)
                sock.connect(endpoint.path)
            except BaseException:
                sock.close()
                raise
            return sock
        source = None if local_address is None else (local_address, 0)
        sock = self._connect_tcp(left, source)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _connect_tcp(self, left: float | None, source: tuple[str, int] | None) -> socket.socket:
        """Connect to the first address of the endpoint that answers; all of them share the time.

        `socket.create_connection` gives each of them all of it, which would outlive a deadline.
        """
        end = None if left is None else time.monotonic() + left
        error: OSError = OSError(f"{self._endpoint.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                if end is not None:
                    left = end - time.monotonic()
                    if left <= 0:
                        raise TimeoutError  # noqa: TRY301
                    sock.settimeout(left)
                if source is not None:
                    sock.bind(source)
                sock.connect(address)
            except OSError as failed:
                sock.close()
                error = failed
                if isinstance(failed, TimeoutError) and end is not None and time.monotonic() >= end:
                    break
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise error

    async def dial(
        self, context: ssl.SSLContext | None, server_hostname: str, timeout: float | None, more: dict[str, Any]
    ) -> SyncStream:
        """Connect, with TLS where there is a context; blocking."""
        stream = self.connect_tcp("", 0, timeout, more["local_address"], more["socket_options"])
        if context is not None:
            stream.start_tls(context, server_hostname, timeout)
        return stream

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.stream is not None:
            self.stream.close()

    disown = close

    def is_dead(self) -> bool:
        """Whether the peer has closed the connection."""
        return self.stream is not None and has_ended(self.stream.get_extra_info("socket"))

    def sleep(self, seconds: float) -> None:
        """Part of httpcore's interface; unused, for retries are lbkit's."""
        time.sleep(seconds)
