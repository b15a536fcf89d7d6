"""The replica process: a real HTTP/1.1 server, one per process, whose behaviour a test can change while it runs.

    python -m tests.rigs.replica_process --name a --port 8001 [--host ::1] [--unix PATH] [--tls CERT KEY]
                                        [--ledger FILE] [--delay-ms N] [--linger-ms N]

    GET  /                                 small JSON: name, pid
    GET  /slow?ms=N                        the same, N ms later
    GET  /status/CODE?retry_after=S        that status; Retry-After if asked for
    GET  /stream?chunks=N&interval_ms=M    chunked body
    GET  /sse?n=N&interval_ms=M            text/event-stream
    GET  /bytes?n=N                        body of N bytes with Content-Length
    GET  /headers                          what arrived: method, raw target, headers as pairs
    GET  /redirect?to=URL                  302
    GET  /set-cookie                       a cookie called "replica"
    any  /orders                           writes X-Order-Id to the ledger, then 201 (?status=500: acts, then fails)
    any  /_control                         JSON in: delay_ms, status, retry_after, lame_duck; out: state, counters

An order is written down before the delay: a replica killed meanwhile has acted without answering, which is the case
a client must survive. A status set by /_control answers everything else without acting.

SIGTERM (or lame_duck) is a polite end: stop accepting; every open connection may still bring a request within the
linger time and is answered with ``Connection: close``; then exit. It imports nothing of the other rigs, so that it
starts fast and from anywhere.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import h11

Headers = list[tuple[str, str]]


class Replica:
    """What the connections share: the behaviour in force, the counters, and the way out."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.name: str = args.name
        self.delay_ms: float = args.delay_ms
        self.status = 0
        self.retry_after: float | None = None
        self.requests = self.connections = self.in_flight = 0
        self.leaving = asyncio.Event()
        self.lingered = False
        self._linger_s = args.linger_ms / 1000
        self._tasks: dict[asyncio.Task[None], Connection] = {}
        self._tls: ssl.SSLContext | None = None
        if args.tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*args.tls)
            self._tls.set_alpn_protocols(["http/1.1"])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._ledger = os.open(args.ledger, flags, 0o600) if args.ledger else None

    async def run(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.leaving.set)
        accepting = asyncio.create_task(self._accept(listener))
        await self.leaving.wait()
        accepting.cancel()
        # Connections the kernel completed but nobody accepted would be reset when the listener closes: take them first.
        with contextlib.suppress(BlockingIOError):
            while True:
                self._adopt(listener.accept()[0])
        listener.close()
        await asyncio.sleep(self._linger_s)
        self.lingered = True
        for task, connection in self._tasks.items():
            if not connection.busy:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            self._adopt(sock)

    def _adopt(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        connection = Connection(self)
        task = asyncio.create_task(connection.serve(sock, self._tls))
        self._tasks[task] = connection
        task.add_done_callback(self._tasks.pop)

    def record(self, order_id: str) -> None:
        if self._ledger is not None:
            os.write(self._ledger, f"{order_id}\t{self.name}\n".encode())

    def control(self, changes: dict[str, object]) -> dict[str, object]:
        known = ("delay_ms", "status", "retry_after")
        for key in known:
            if key in changes:
                setattr(self, key, changes[key])
        if changes.get("lame_duck"):
            self.leaving.set()
        shown = ("name", *known, "requests", "connections", "in_flight")
        return {key: getattr(self, key) for key in shown} | {"pid": os.getpid(), "lame_duck": self.leaving.is_set()}


class Connection:
    """One client connection: requests in turn, until either side wants to close."""

    def __init__(self, replica: Replica) -> None:
        self.busy = False
        self._replica = replica
        self._http = h11.Connection(h11.SERVER)
        self._counted = False

    async def serve(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        # A peer that breaks off, speaks nonsense or fails the handshake ends its own connection, nothing else.
        with contextlib.suppress(OSError, h11.ProtocolError, asyncio.CancelledError):
            # An idle TLS client does not answer close_notify: do not wait the usual 30 s for it.
            patience = {"ssl_shutdown_timeout": 0.5} if tls else {}
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls, **patience)
            self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
            try:
                while await self._exchange() and not self._replica.lingered:
                    self._http.start_next_cycle()
            finally:
                self._writer.close()
                await self._writer.wait_closed()

    async def _exchange(self) -> bool:
        """Read one request and answer it; whether another may follow."""
        request = await self._event()
        if not isinstance(request, h11.Request):
            return False
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        url = urlsplit(request.target.decode())
        if url.path == "/_control":
            await self._answer(request, self._replica.control(json.loads(body or b"{}")))
        else:
            self._replica.requests += 1
            self._replica.connections += not self._counted
            self._counted = True
            self._replica.in_flight += 1
            try:
                await self._route(request, url.path, dict(parse_qsl(url.query)), bytes(body))
            finally:
                self._replica.in_flight -= 1
        self.busy = False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
            data = await self._reader.read(65536)
            self.busy = bool(data)
            self._http.receive_data(data)
        return event

    async def _route(self, request: h11.Request, path: str, query: dict[str, str], body: bytes) -> None:
        replica, me = self._replica, {"name": self._replica.name, "pid": os.getpid()}
        if replica.status:
            await asyncio.sleep(replica.delay_ms / 1000)
            await self._answer(request, me, replica.status, retry_after(replica.retry_after))
            return
        order = dict(request.headers).get(b"x-order-id", b"").decode()
        if path == "/orders" and order:
            replica.record(order)
        await asyncio.sleep((replica.delay_ms + float(query.get("ms", 0))) / 1000)
        interval_s = float(query.get("interval_ms", 0)) / 1000
        if path in ("/", "/slow"):
            await self._answer(request, me)
        elif path.startswith("/status/"):
            await self._answer(request, me, int(path.rpartition("/")[2]), retry_after(query.get("retry_after")))
        elif path == "/stream":
            await self._stream(request, "text/plain", ticks("chunk {}\n", int(query.get("chunks", 3)), interval_s))
        elif path == "/sse":
            await self._stream(request, "text/event-stream", ticks("data: {}\n\n", int(query.get("n", 3)), interval_s))
        elif path == "/bytes":
            await self._answer(request, b"x" * int(query.get("n", 1000)))
        elif path == "/headers":
            pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw_items()]
            what = {"method": request.method.decode(), "target": request.target.decode(), "headers": pairs}
            await self._answer(request, me | what)
        elif path == "/redirect":
            await self._answer(request, me, 302, [("Location", query.get("to", "/"))])
        elif path == "/set-cookie":
            await self._answer(request, me, 200, [("Set-Cookie", f"replica={replica.name}; Path=/")])
        elif path == "/orders" and order:
            digest = {"order": order, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            await self._answer(request, me | digest, int(query.get("status", 201)))
        else:
            await self._answer(request, me, 400 if path == "/orders" else 404)

    async def _answer(
        self, request: h11.Request, content: object, status: int = 200, headers: Headers | None = None
    ) -> None:
        binary = isinstance(content, bytes)
        body = content if binary else json.dumps(content).encode()
        kind = "application/octet-stream" if binary else "application/json"
        head: Headers = [("Content-Type", kind), *(headers or []), *self._farewell()]
        if status not in (204, 304):
            head.append(("Content-Length", str(len(body))))
        data = h11.Response(status_code=status, headers=head)
        if request.method != b"HEAD" and status not in (204, 304):
            await self._send(data, h11.Data(data=body), h11.EndOfMessage())
        else:
            await self._send(data, h11.EndOfMessage())

    async def _stream(self, request: h11.Request, kind: str, parts: AsyncIterator[bytes]) -> None:
        await self._send(h11.Response(status_code=200, headers=[("Content-Type", kind), *self._farewell()]))
        if request.method != b"HEAD":
            async for part in parts:
                await self._send(h11.Data(data=part))
        await self._send(h11.EndOfMessage())

    def _farewell(self) -> Headers:
        return [("Connection", "close")] if self._replica.leaving.is_set() else []

    async def _send(self, *events: object) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()


async def ticks(text: str, count: int, interval_s: float) -> AsyncIterator[bytes]:
    for number in range(count):
        if number:
            await asyncio.sleep(interval_s)
        yield text.format(number).encode()


def retry_after(seconds: object) -> Headers:
    return [] if seconds is None else [("Retry-After", str(seconds))]


def listen(args: argparse.Namespace) -> socket.socket:
    if args.unix:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(args.unix)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(args.unix)
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in args.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((args.host, args.port))
    listener.listen(512)
    listener.setblocking(False)
    return listener


async def main(args: argparse.Namespace) -> None:
    orphaned = asyncio.create_task(exit_when_orphaned(args.parent_pid))
    await Replica(args).run(listen(args))
    orphaned.cancel()


async def exit_when_orphaned(parent_pid: int) -> None:
    """A test process that was killed cannot clean up: notice it, and go."""
    while not parent_pid or os.getppid() == parent_pid:
        await asyncio.sleep(1)
    os._exit(1)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="an HTTP/1.1 replica for tests")
    parser.add_argument("--name", default="replica")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix")
    parser.add_argument("--tls", nargs=2, metavar=("CERTFILE", "KEYFILE"))
    parser.add_argument("--ledger")
    parser.add_argument("--delay-ms", type=float, default=float(os.environ.get("REPLICA_DELAY_MS", "0")))
    parser.add_argument("--linger-ms", type=float, default=100.0)
    parser.add_argument("--parent-pid", type=int, default=0, help="exit when this process is gone")
    return parser.parse_args(argv)


if __name__ == "__main__":
    asyncio.run(main(arguments(sys.argv[1:])))
