"""What a `FaultServer` can do to a request: one function for each behaviour, and the tables that name them.

A behaviour gets an `Exchange` (a request that has been read, and the raw socket) and returns whether the connection may
carry another request. RST means: SO_LINGER with zero seconds, then close, so the kernel sends a reset instead of FIN.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Seen(NamedTuple):
    """One request that arrived: method, raw target, and X-Order-Id (empty if it had none)."""

    method: str
    target: str
    order_id: str


@dataclass
class Pace:
    """The figures of the slow behaviours; a test may change them at any time."""

    byte_s: float = 0.05
    """Between two bytes of slow_headers."""
    chunk_s: float = 0.05
    """Between two pieces of slow_body."""
    idle_close_s: float = 0.05
    """How long idle_close keeps the connection after its answer."""
    retry_after_s: int = 1
    """What retry_after_503 asks for."""


@dataclass
class Exchange:
    """One request in the hands of a behaviour."""

    sock: socket.socket
    seen: Seen
    number: int
    """1 for the first request of its connection."""
    body: bytes
    """What an ordinary answer carries: JSON."""
    pace: Pace
    stopping: threading.Event = field(repr=False)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, *headers: str, status: str = "200 OK") -> bytes:
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def answer(self, *headers: str, status: str = "200 OK") -> bytes:
        body = b"" if self.seen.method == "HEAD" else self.body
        return self.head(f"Content-Length: {len(self.body)}", *headers, status=status) + body

    def reset(self) -> bool:
        reset(self.sock)
        return False

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        self.stopping.wait(seconds)


def reset(sock: socket.socket) -> None:
    """Close with RST: what was sent has left already, whatever is unread is thrown away."""
    reset_on_close(sock)
    sock.close()


def reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_for_peer_to_close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def ok(exchange: Exchange) -> bool:
    exchange.send(exchange.answer())
    return True


def close_after_request(_: Exchange) -> bool:
    return False


def rst_after_request(exchange: Exchange) -> bool:
    return exchange.reset()


def rst_mid_headers(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    return exchange.reset()


def fin_mid_body(exchange: Exchange) -> bool:
    exchange.send(exchange.head("Content-Length: 1000") + b"half of it")
    return False


def rst_mid_body(exchange: Exchange) -> bool:
    fin_mid_body(exchange)
    return exchange.reset()


def fin_mid_chunked(exchange: Exchange) -> bool:
    exchange.send(exchange.head("Transfer-Encoding: chunked") + b"5\r\nwhole\r\n64\r\nnot all of")
    return False


def rst_mid_chunked(exchange: Exchange) -> bool:
    fin_mid_chunked(exchange)
    return exchange.reset()


def never_answer(exchange: Exchange) -> bool:
    wait_for_peer_to_close(exchange.sock)
    return False


def slow_headers(exchange: Exchange) -> bool:
    """One byte at a time: every read of the client succeeds, so only a total deadline ends it."""
    answer = exchange.answer()
    head = answer.index(b"\r\n\r\n") + 4
    for at in range(head):
        exchange.send(answer[at : at + 1])
        exchange.pause(exchange.pace.byte_s)
    exchange.send(answer[head:])
    return True


def slow_body(exchange: Exchange) -> bool:
    exchange.send(exchange.head("Content-Length: 10"))
    for _ in range(10):
        exchange.pause(exchange.pace.chunk_s)
        exchange.send(b"x")
    return True


def garbage(exchange: Exchange) -> bool:
    exchange.send(b"NONSENSE/9.9 what?\r\n\r\n")
    return False


def early_413_then_rst(exchange: Exchange) -> bool:
    """Answers as soon as the head is there, and resets without reading the body."""
    exchange.send(exchange.answer("Connection: close", status="413 Content Too Large"))
    return exchange.reset()


def retry_after_503(exchange: Exchange) -> bool:
    exchange.send(exchange.answer(f"Retry-After: {exchange.pace.retry_after_s}", status="503 Service Unavailable"))
    return True


def idle_close(exchange: Exchange) -> bool:
    """A server whose keep-alive time is short: a client finds its pooled connection closed."""
    exchange.send(exchange.answer())
    exchange.pause(exchange.pace.idle_close_s)
    return False


def rst_second(exchange: Exchange) -> bool:
    return exchange.reset() if exchange.number > 1 else ok(exchange)


def informational_103(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    return ok(exchange)


def connection_close(exchange: Exchange) -> bool:
    exchange.send(exchange.answer("Connection: close"))
    return False


def unknown_mode(exchange: Exchange) -> bool:
    """For a misspelt path."""
    exchange.send(exchange.answer(status="404 Not Found"))
    return True


REQUEST_MODES: dict[str, Callable[[Exchange], bool]] = {
    mode.__name__: mode
    for mode in (
        ok, close_after_request, rst_after_request, rst_mid_headers, fin_mid_body, rst_mid_body, fin_mid_chunked,
        rst_mid_chunked, never_answer, slow_headers, slow_body, garbage, early_413_then_rst, retry_after_503,
        idle_close, rst_second, informational_103, connection_close, unknown_mode,
    )
}  # fmt: skip
"""Behaviours that need a request; also by path: ``/fault/<mode>``."""

CONNECT_MODES = ("close_on_accept", "rst_on_accept", "stall_on_accept", "accept_queue_full")
"""Behaviours of the server before any request; stall_on_accept never says anything (a TLS handshake hangs).

What a client makes of rst_on_accept depends on when the reset reaches it: a failed connect, write or read.
"""

NOT_ACTED = ("early_413_then_rst", "retry_after_503", "unknown_mode")
"""Behaviours that refuse: the only ones that read a request and are certain not to have carried it out."""
