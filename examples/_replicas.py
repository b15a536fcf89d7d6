"""Replicas for the examples: small HTTP servers on loopback that can be slowed down, killed and started again.

    with replicas(2) as (one, two):
        ...

GET and POST answer with the replica's name; POST /v1/chat/completions streams server-sent events. As a program
(`python _replicas.py 2`) it prints the addresses and serves until its input ends.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Replica:
    """One server in a thread. `delay_s` and `status` change what it does; `requests` counts what came."""

    def __init__(
        self, name: str, *, host: str = "127.0.0.1", port: int = 0, delay_s: float = 0.0, status: int = 200
    ) -> None:
        self.name = name
        self.delay_s = delay_s
        self.status = status
        self.requests = 0
        self.host = host
        self.port = port
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server((self.host, self.port), _Handler)
        self._server.replica = self
        self.port = self._server.server_port
        self.address = f"{self.host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Stop listening and cut the open connections."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def replicas(count: int) -> Iterator[list[Replica]]:
    """Run some replicas, named r0, r1, ..."""
    running = [Replica(f"r{number}") for number in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.kill()


class _Server(ThreadingHTTPServer):
    replica: Replica
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request_thread(self, request, client_address) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        replica = self.server.replica
        replica.requests += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(replica.delay_s)
        if self.path == "/v1/chat/completions":
            self._stream(replica.name)
            return
        self._head(replica.status, "text/plain", str(len(replica.name)))
        self.wfile.write(replica.name.encode())

    do_POST = do_GET  # noqa: N815 - the name is http.server's

    def _stream(self, name: str) -> None:
        self._head(200, "text/event-stream", None)
        for word in ("hello ", "from ", name):
            event = {"choices": [{"delta": {"content": word}}]}
            self._chunk(f"data: {json.dumps(event)}\n\n".encode())
            time.sleep(0.05)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _head(self, status: int, kind: str, length: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", length)))
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    with replicas(int(sys.argv[1])) as some:
        print(*(one.address for one in some), flush=True)
        sys.stdin.read()
