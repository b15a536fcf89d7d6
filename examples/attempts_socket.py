"""Anything that is not HTTP: raw sockets, with the same loop in blocking and in async code.

One endpoint of the three refuses connections. A connection that was refused has done nothing, so the loop goes on with
another endpoint, whatever the protocol.
"""

import asyncio
import socket
import socketserver
import threading

from lbkit import Cluster


class Echo(socketserver.StreamRequestHandler):
    """Answers a line with the same line in capitals."""

    def handle(self) -> None:
        """Answer one line."""
        self.wfile.write(self.rfile.readline().upper())


def shout(cluster: Cluster, line: bytes) -> bytes:
    for attempt in cluster.attempts(replayable=True, deadline=2.0):
        with (
            attempt as endpoint,
            socket.create_connection((endpoint.host, endpoint.port), attempt.remaining()) as sock,
        ):
            sock.sendall(line)
            return sock.makefile("rb").readline()
    raise AssertionError("the loop either returns or raises")


async def ashout(cluster: Cluster, line: bytes) -> bytes:
    async for attempt in cluster.attempts(replayable=True, deadline=2.0):
        with attempt as endpoint:
            async with asyncio.timeout(attempt.remaining()):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                try:
                    writer.write(line)
                    return await reader.readline()
                finally:
                    writer.close()
                    await writer.wait_closed()
    raise AssertionError("the loop either returns or raises")


servers = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) for _ in range(2)]
for server in servers:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as unused:  # closed again at once: nobody listens there
    nobody = unused.getsockname()[1]

ports = [nobody, *(server.server_address[1] for server in servers)]
echo = Cluster("echo", [f"127.0.0.1:{port}" for port in ports], scheduler="least_connections")

print("blocking:", {shout(echo, b"hello\n") for _ in range(20)})
print("async:", {asyncio.run(ashout(echo, b"hello\n")) for _ in range(20)})
print(echo.stats())

for server in servers:
    server.shutdown()
    server.server_close()
