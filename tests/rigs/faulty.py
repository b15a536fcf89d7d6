"""A raw TCP backend that misbehaves: it lives in the test process, with one thread for each connection.

    with FaultServer(mode="rst_mid_body") as server:
        ...                           # dial server.address
        server.mode = "ok"            # for requests that are read from now on
        # a request for /fault/<mode> gets that behaviour whatever the mode is

`fault_modes.py` has the behaviours. Modes of CONNECT_MODES act before a request and go by `mode` alone. With
accept_queue_full the listener has a queue of one, which is filled, so that the kernel drops every further SYN.
"""

import contextlib
import json
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import Self

import h11

from tests.rigs.fault_modes import (
    CONNECT_MODES,
    NOT_ACTED,
    REQUEST_MODES,
    Exchange,
    Pace,
    Seen,
    reset,
    reset_on_close,
    wait_for_peer_to_close,
)
from tests.rigs.ledger import Ledger
from tests.rigs.ports import free_port

BACKLOG = 512


class FaultServer:
    """A server with a mutable `mode`; a context manager that leaves no thread and no socket behind."""

    def __init__(
        self,
        mode: str = "ok",
        *,
        name: str = "faulty",
        host: str = "127.0.0.1",
        port: int | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port or free_port(host)
        self.ledger = ledger
        self.pace = Pace()
        self.connections = 0
        """Connections accepted so far."""
        self.requests: list[Seen] = []
        """Requests whose head was read, in order."""
        self._mode = "ok"
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._fillers: dict[int, socket.socket] = {}
        self._acceptor: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._first_mode = _known(mode)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def orders(self) -> list[str]:
        """X-Order-Id of every request seen that had one."""
        return [seen.order_id for seen in self.requests if seen.order_id]

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        before, self._mode = self._mode, _known(mode)
        if (mode == "accept_queue_full") != (before == "accept_queue_full"):
            self._stop_accepting()
            if mode == "accept_queue_full":
                self._fill_queue()
            else:
                self._start_accepting()

    def start(self) -> Self:
        self._listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.host, self.port))
        self._listener.setblocking(False)
        self._start_accepting()
        self.mode = self._first_mode
        return self

    def drop_connections(self) -> None:
        """Reset every open connection now, as a crash would."""
        for thread, sock in self._opened():
            with contextlib.suppress(OSError):
                reset_on_close(sock)
                sock.shutdown(socket.SHUT_RD)  # sends nothing, but wakes its thread from recv
            sock.close()
            thread.join(timeout=1)

    def close(self) -> None:
        if self._listener is None:
            return
        self._stopping.set()
        self._stop_accepting()
        self._listener.close()
        self._listener = None
        for thread, sock in self._opened():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in recv or send
            thread.join(timeout=10)
            if thread.is_alive():
                raise RuntimeError(f"{self.name}: a connection thread does not end")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_accepting(self) -> None:
        for filler in self._fillers.values():
            filler.close()
        self._listener.listen(BACKLOG)
        self._wake_read, self._wake_write = os.pipe()
        self._acceptor = threading.Thread(target=self._accept, name=f"{self.name}-accept")
        self._acceptor.start()

    def _stop_accepting(self) -> None:
        for filler in self._fillers.values():
            filler.close()
        if self._acceptor:
            os.write(self._wake_write, b"x")
            self._acceptor.join()
            self._acceptor = None
            os.close(self._wake_write)
            os.close(self._wake_read)

    def _fill_queue(self) -> None:
        self._listener.listen(0)  # Linux keeps one completed connection in such a queue, and drops SYNs after it
        self._fillers.clear()
        while True:
            filler = socket.socket(self._listener.family)
            filler.settimeout(0.2)
            try:
                filler.connect((self.host, self.port))
            except TimeoutError:
                filler.close()
                return
            self._fillers[filler.getsockname()[1]] = filler

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while self._wake_read not in [key.fd for key, _ in selector.select()]:
                try:
                    sock, peer = self._listener.accept()
                except OSError:
                    continue  # reset by the client before it was accepted
                if self._fillers.pop(peer[1], None):
                    sock.close()
                    continue
                sock.setblocking(True)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(sock,), name=f"{self.name}-connection")
                with self._lock:
                    self._open[thread] = sock
                thread.start()

    def _opened(self) -> list[tuple[threading.Thread, socket.socket]]:
        with self._lock:
            return list(self._open.items())

    def _serve(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, h11.RemoteProtocolError):
                self._converse(sock)
        finally:
            with self._lock:
                sock.close()
                del self._open[threading.current_thread()]

    def _converse(self, sock: socket.socket) -> None:
        if self._mode == "close_on_accept":
            return
        if self._mode == "rst_on_accept":
            reset(sock)
            return
        if self._mode == "stall_on_accept":
            wait_for_peer_to_close(sock)
            return
        unread, number, again = b"", 0, True
        while again and not self._stopping.is_set():
            number += 1
            reader = RequestReader(sock, unread)
            seen = reader.head()
            if seen is None:
                return
            self.requests.append(seen)
            # A mode of CONNECT_MODES concerns new connections; this one was there before, and stays well.
            mode = self._mode if self._mode in REQUEST_MODES else "ok"
            if by_path := seen.target.partition("?")[0].partition("/fault/")[2]:
                mode = by_path if by_path in REQUEST_MODES else "unknown_mode"
            if mode != "early_413_then_rst":
                unread = reader.rest()
            if self.ledger and seen.order_id and mode not in NOT_ACTED:
                self.ledger.record(seen.order_id, self.name)
            body = json.dumps({"name": self.name, "mode": mode}).encode()
            again = REQUEST_MODES[mode](Exchange(sock, seen, number, body, self.pace, self._stopping))


class RequestReader:
    """Reads one request from a socket; h11 understands it, so that framing is right for any body."""

    def __init__(self, sock: socket.socket, unread: bytes) -> None:
        self._sock = sock
        self._http = h11.Connection(h11.SERVER)
        if unread:
            self._http.receive_data(unread)

    def head(self) -> Seen | None:
        """The request's head; None when the client closed instead."""
        request = next(self._events())
        if not isinstance(request, h11.Request):
            return None
        order_id = dict(request.headers).get(b"x-order-id", b"")
        return Seen(request.method.decode(), request.target.decode(), order_id.decode())

    def rest(self) -> bytes:
        """Read the body to its end; returns what already came after it."""
        for event in self._events():
            if isinstance(event, h11.EndOfMessage):
                return self._http.trailing_data[0]
        raise ConnectionError("the client went away within its request")

    def _events(self) -> Iterator[object]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(self._sock.recv(65536))
                continue
            yield event
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return


def _known(mode: str) -> str:
    if mode not in REQUEST_MODES and mode not in CONNECT_MODES:
        raise ValueError(f"no fault mode {mode!r}; there are {', '.join([*REQUEST_MODES, *CONNECT_MODES])}")
    return mode
