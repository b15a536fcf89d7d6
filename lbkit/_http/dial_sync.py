"""Dialling for the sync transports. See `dial_async` for the idea; here the streams are httpcore's own sockets."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit.core.endpoint import Endpoint


class SyncStream:
    """httpcore's socket stream, bounded by a line."""

    def __init__(self, stream: Any, line: Line, library: Library) -> None:
        self._stream = stream
        self._line = line
        self._library = library

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read within what is left of the line."""
        left = self._line.left(timeout, reading=True)
        if left == 0:  # a socket takes 0 for "do not block"
            raise self._library.core.ReadTimeout("the endpoint did not answer in time")
        data: bytes = self._stream.read(max_bytes, left)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write within what is left of the line."""
        left = self._line.left(timeout)
        if left == 0:
            raise self._library.core.WriteTimeout("the endpoint did not take the request in time")
        self._stream.write(buffer, left)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncStream:
        """Put TLS on the connection, in place."""
        left = self._line.left(timeout)
        if left == 0:
            self.close()
            raise self._library.core.ConnectTimeout("the TLS handshake did not end in time")
        self._stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what the socket stream knows."""
        return self._stream.get_extra_info(info)


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
        left = self._line.left(timeout)
        if left == 0:
            raise core.ConnectTimeout("the endpoint did not accept the connection in time")
        endpoint = self._endpoint
        options = list(socket_options or ())
        if endpoint.path:
            stream = core.SyncBackend().connect_unix_socket(endpoint.path, left, options)
        else:
            stream = core.SyncBackend().connect_tcp(endpoint.host, endpoint.port, left, local_address, options)
        self.stream = SyncStream(stream, self._line, self._library)
        return self.stream

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.stream is not None:
            self.stream.close()

    def is_dead(self) -> bool:
        """Not known without reading."""
        return False

    def speaks_http2(self) -> bool:
        """Whether HTTP/2 was agreed on in the handshake."""
        tls = None if self.stream is None else self.stream.get_extra_info("ssl_object")
        return tls is not None and tls.selected_alpn_protocol() == "h2"

    def sleep(self, seconds: float) -> None:
        """Part of httpcore's interface; unused, for retries are lbkit's."""
        time.sleep(seconds)
