"""The HTTP/2 replica process: real TLS, real streams, and the ways in which HTTP/2 servers refuse, leave and break.

    python -m tests.rigs.h2server_process --name a --port 8443 --tls CERT KEY [--mode M] [--ledger FILE] [--delay-ms N]

A request for ``/fault/<mode>`` gets that mode; any other gets the mode in force. ``?ms=N`` delays one answer.

    mode              what happens                                                          acted?
    ok                JSON with Content-Length: name, method, authority, path, ...          yes
    slow              the same, 300 ms later                                                yes
    stall             nothing, ever                                                         yes
    goaway_graceful   GOAWAY naming the highest stream seen; all of them are still answered yes
    rst_internal      RST_STREAM INTERNAL_ERROR                                             yes
    rst_in_body       head, part of the body, RST_STREAM CANCEL                             yes
    refused_stream    RST_STREAM REFUSED_STREAM                                             no
    calm              RST_STREAM ENHANCE_YOUR_CALM                                          no
    goaway_below      GOAWAY naming the stream before this one; earlier ones are finished   no
    goaway_zero       GOAWAY naming stream 0, and close                                     no

The first stream of a connection has none before it, so goaway_below answers it like ok (goaway_zero is that case).
goaway_zero says that nothing at all was processed: true on a fresh connection, a lie if others are in flight.
An acted-on request with X-Order-Id is in the ledger before anything is sent. After a GOAWAY, streams above the named
one are ignored, and the connection closes soon after the last answer. SIGTERM does goaway_graceful to all, then exits.

A parent process controls it by JSON lines on stdin, answered on stdout; when stdin ends, so does the process.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import ssl
import sys
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

REFUSALS = ("refused_stream", "calm", "goaway_below", "goaway_zero")
LINGER_S = 0.3
"""How long a connection stays open after the last answer, in seconds."""
MODES = ("ok", "slow", "stall", "goaway_graceful", "rst_internal", "rst_in_body", *REFUSALS)


@dataclass
class Request:
    """One stream's request, as far as it has arrived."""

    headers: dict[str, str]
    mode: str
    query: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    task: "asyncio.Task[None] | None" = None


class Server:
    """What the connections share: the mode, the figures, the counters, and the ledger."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.name: str = args.name
        self.mode: str = args.mode
        self.delay_ms: float = args.delay_ms
        self.connections = 0
        self.requests: list[tuple[int, str, str, str]] = []
        self.open: set[Connection] = set()
        self.leaving = asyncio.Event()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._ledger = os.open(args.ledger, flags, 0o600) if args.ledger else None

    async def run(self, args: argparse.Namespace) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.leaving.set)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        context.set_alpn_protocols(["h2"])
        listener = await loop.create_server(
            lambda: Connection(self),
            args.host,
            args.port,
            ssl=context,
            ssl_shutdown_timeout=0.5,  # an idle client does not answer close_notify: do not wait the usual 30 s
            backlog=512,
            reuse_address=True,
        )
        await self.leaving.wait()
        listener.close()
        for connection in list(self.open):
            connection.goaway(connection.highest)
        while self.open:
            await asyncio.sleep(0.005)

    def record(self, order_id: str) -> None:
        if self._ledger is not None:
            os.write(self._ledger, f"{order_id}\t{self.name}\n".encode())

    def control(self, changes: dict[str, object]) -> dict[str, object]:
        for key in ("mode", "delay_ms"):
            if key in changes:
                setattr(self, key, changes[key])
        shown = ("name", "mode", "delay_ms", "connections", "requests")
        in_flight = sum(connection.in_flight for connection in self.open)
        return {key: getattr(self, key) for key in shown} | {"pid": os.getpid(), "in_flight": in_flight}


class Connection(asyncio.Protocol):
    """One HTTP/2 connection with all its streams."""

    def __init__(self, server: Server) -> None:
        self.highest = 0
        self._server = server
        self._last: int | None = None  # the stream a GOAWAY has named
        self._requests: dict[int, Request] = {}
        self._window = asyncio.Event()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.open.add(self)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._server.open.discard(self)
        for request in self._requests.values():
            if request.task:
                request.task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._transport.close()
            return
        for event in events:
            self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event.stream_id, dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._requests:
                self._requests[event.stream_id].body += event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._requests:
            request = self._requests[event.stream_id]
            request.task = asyncio.create_task(self._process(event.stream_id, request))
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self._requests:
            request = self._requests[event.stream_id]
            if request.task:
                request.task.cancel()
            else:
                self._done(event.stream_id)
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self._window.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._transport.close()

    def _begin(self, stream: int, headers: dict[str, str]) -> None:
        if self._last is not None and stream > self._last:
            return
        below, self.highest = self.highest, stream
        self._server.connections += not below
        url = urlsplit(headers[":path"])
        mode = url.path.partition("/fault/")[2] or self._server.mode
        order = headers.get("x-order-id", "")
        self._server.requests.append((stream, headers[":method"], headers[":path"], order))
        if mode == "refused_stream":
            self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        elif mode == "calm":
            self._h2.reset_stream(stream, ErrorCodes.ENHANCE_YOUR_CALM)
        elif mode == "goaway_zero":
            self._requests.clear()
            self.goaway(0)
        elif mode == "goaway_below" and below:
            self.goaway(below)
        else:
            self._requests[stream] = Request(headers, mode, dict(parse_qsl(url.query)))

    async def _process(self, stream: int, request: Request) -> None:
        try:
            if order := request.headers.get("x-order-id"):
                self._server.record(order)
            if request.mode == "goaway_graceful":
                self.goaway(self.highest)
            if request.mode == "stall":
                await asyncio.Event().wait()
            wait_ms = float(request.query.get("ms", 300 if request.mode == "slow" else 0))
            await asyncio.sleep((self._server.delay_ms + wait_ms) / 1000)
            if request.mode == "rst_internal":
                self._h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            else:
                await self._answer(stream, request)
        except h2.exceptions.ProtocolError:
            pass  # the client has closed the stream or the connection meanwhile
        finally:
            self._done(stream)

    async def _answer(self, stream: int, request: Request) -> None:
        known = {name: request.headers.get(f":{name}", "") for name in ("method", "authority", "path")}
        digest = {"length": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()}
        who = {"name": self._server.name, "pid": os.getpid(), "stream": stream, "mode": request.mode}
        body = json.dumps(who | known | digest).encode()
        status = "200" if request.mode in MODES else "404"
        head = [(":status", status), ("content-type", "application/json"), ("content-length", str(len(body)))]
        self._h2.send_headers(stream, head, end_stream=known["method"] == "HEAD")
        if known["method"] == "HEAD":
            return
        if request.mode == "rst_in_body":
            await self._send(stream, body[:10])
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)
            return
        await self._send(stream, body)
        self._h2.end_stream(stream)

    async def _send(self, stream: int, data: bytes) -> None:
        while data:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._window.clear()
                self._flush()
                await self._window.wait()
                continue
            self._h2.send_data(stream, data[:room])
            data = data[room:]

    def goaway(self, last: int) -> None:
        """Send GOAWAY, and close when the streams up to `last` are answered."""
        # Written as a bare frame: h2 itself would end the connection, and refuse to answer what is still in flight.
        self._flush()
        self._last = last if self._last is None else min(last, self._last)
        self._transport.write(GoAwayFrame(0, last_stream_id=self._last, error_code=0).serialize())
        self._close_if_drained()

    def _done(self, stream: int) -> None:
        self._requests.pop(stream, None)
        self._flush()
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._last is not None and not self._requests:
            # As nginx does: a socket that is closed with unread bytes is reset, which takes the last answers with it.
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._transport.write(data)


async def obey_parent(server: Server) -> None:
    """Carry out what the parent writes to stdin, one JSON line each, until there is no parent."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        changes = json.loads(line)
        print(json.dumps(server.control(changes) | {"number": changes["number"]}), flush=True)
    os._exit(1)


async def main(args: argparse.Namespace) -> None:
    server = Server(args)
    obeying = asyncio.create_task(obey_parent(server)) if args.parent_pid else None
    await server.run(args)
    if obeying:
        obeying.cancel()


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="an HTTP/2 server for tests")
    parser.add_argument("--name", default="h2")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERTFILE", "KEYFILE"), required=True)
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--ledger")
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--parent-pid", type=int, default=0, help="be controlled by stdin, and end with it")
    return parser.parse_args(argv)


if __name__ == "__main__":
    asyncio.run(main(arguments(sys.argv[1:])))
