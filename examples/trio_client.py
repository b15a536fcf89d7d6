"""The same transport under trio: nothing to configure."""

import httpx
import trio
from _replicas import replicas

from lbkit import Cluster
from lbkit.httpx import AsyncBalancedTransport


async def main() -> None:
    with replicas(2) as running:
        orders = Cluster("orders", [one.address for one in running])
        names: list[str] = []

        async with httpx.AsyncClient(transport=AsyncBalancedTransport(orders), base_url="http://orders") as client:

            async def ask() -> None:
                names.append((await client.get("/v1/orders/42")).text)

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask)

        print("under trio,", len(names), "answers from", sorted(set(names)))


trio.run(main)
