"""A registry that pushes: an async generator yields a complete set whenever there is a new one.

The registry here is a small TCP server that writes one line of JSON for each set.
"""

import asyncio
import json
import queue
import socketserver
import threading
import time
from collections.abc import AsyncIterator

import httpx
from _replicas import replicas

from lbkit import Callback, Cluster
from lbkit.httpx import BalancedTransport

news: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()


class Registry(socketserver.StreamRequestHandler):
    """The server."""

    def handle(self) -> None:
        """Write each set that is in the queue, until there is a None."""
        while (addresses := news.get()) is not None:
            self.wfile.write(json.dumps(addresses).encode() + b"\n")


with socketserver.TCPServer(("127.0.0.1", 0), Registry) as registry, replicas(3) as running:
    threading.Thread(target=registry.serve_forever, args=(0.01,), daemon=True).start()
    addresses = [one.address for one in running]

    async def from_registry() -> AsyncIterator[list[str]]:
        """Run in lbkit's own asyncio loop. If it ends or raises it is called again, and the last set stays in use."""
        reader, writer = await asyncio.open_connection("127.0.0.1", registry.server_address[1])
        try:
            async for line in reader:
                yield json.loads(line)
        finally:
            writer.close()

    news.put(addresses[:2])
    with (
        Cluster("orders", Callback(from_registry, name="registry"), scheduler="round_robin") as orders,
        httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client,
    ):

        def who_answers() -> list[str]:
            return sorted({client.get("/").text for _ in range(30)})

        print("the first set:", who_answers())

        news.put(addresses[1:])
        while orders.stats().endpoints[0].endpoint != addresses[1]:
            time.sleep(0.01)
        print("the second set:", who_answers())

        news.put(None)  # the registry closes the connection
        while orders.stats().sources[0].state == "live":
            time.sleep(0.01)
        print("the registry has gone:", who_answers())

        news.put(addresses)  # for the next connection, which comes by itself
        while len(orders.stats().endpoints) < 3:
            time.sleep(0.01)
        print("it is back:", who_answers())
        news.put(None)
    registry.shutdown()
