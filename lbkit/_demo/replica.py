"""A replica of the demo: a small HTTP/1.1 server on loopback, one per process, which its parent can make slow.

    python -m lbkit._demo.replica r1 [--port 8001] [--service-ms 15]

It prints its port as one line and answers every request with a few bytes of JSON, after a service time that is spread
by a third around its mean. A line of text on stdin is a number by which the service time is multiplied from then on.
The end of stdin ends the process: so no replica outlives the demo, however that ends. A replica that is frozen cannot
notice; on Linux the kernel kills it instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import errno
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal that a process gets when its parent ends."""
BIND_PATIENCE_S = 2.0
"""A restarted replica waits this long for its old port, which the demo held for it meanwhile."""
MAX_BODY_BYTES = 1 << 20


class Replica:
    """Answers requests."""

    def __init__(self, name: str, service_s: float) -> None:
        self._service_s = service_s
        self._factor = 1.0
        body = f'{{"replica": "{name}"}}\n'.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer = head.encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection in turn until the client closes it."""
        # A client that breaks off or sends nonsense ends its own connection and nothing else.
        with contextlib.suppress(EOFError, OSError, ValueError, asyncio.LimitOverrunError):
            more = True
            while more:
                more = await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = int(headers.get(b"content-length", b"0"))
        if b"transfer-encoding" in headers or not 0 <= length <= MAX_BODY_BYTES:
            writer.write(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        await reader.readexactly(length)
        await asyncio.sleep(self._service_s * self._factor * random.uniform(0.67, 1.33))
        writer.write(self._answer)
        await writer.drain()
        return headers.get(b"connection", b"").lower() != b"close"

    async def obey(self) -> None:
        """Take the parent's factors from stdin until it ends."""
        commands = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(commands)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await commands.readline():
            self._factor = float(line)


async def live(name: str, port: int, service_s: float) -> None:
    """Serve until the parent is gone."""
    replica = Replica(name, service_s)
    server = await asyncio.start_server(replica.serve, sock=bind(port))
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the parent learns the port
    await replica.obey()


def bind(port: int) -> socket.socket:
    """Return a socket on loopback at `port`, or at a free port for 0."""
    end = time.monotonic() + BIND_PATIENCE_S
    while True:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return listener


def main(argv: Sequence[str] | None = None) -> None:
    """Run a replica until its stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m lbkit._demo.replica", description="A replica of the demo.")
    parser.add_argument("name", help="what it calls itself")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; a free one by default")
    parser.add_argument("--service-ms", type=float, default=15.0, help="mean time to an answer (default: 15)")
    options = parser.parse_args(argv)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncio.run(live(options.name, options.port, options.service_ms / 1000))


if __name__ == "__main__":
    main()
    os._exit(0)
