"""An asyncio client over three replicas, fifty requests at a time, while one replica is killed."""

import asyncio
from collections import Counter

import httpx
from _replicas import replicas

from lbkit import Cluster
from lbkit.httpx import AsyncBalancedTransport


async def main() -> None:
    with replicas(3) as running:
        orders = Cluster("orders", [one.address for one in running])
        async with httpx.AsyncClient(transport=AsyncBalancedTransport(orders), base_url="http://orders") as client:

            async def ask() -> str:
                response = await client.get("/v1/orders/42")
                return response.raise_for_status().text

            before = Counter(await asyncio.gather(*(ask() for _ in range(50))))
            print("three replicas answer:", sorted(before))

            running[0].kill()
            after = Counter(await asyncio.gather(*(ask() for _ in range(50))))
            print("one was killed, the others answer:", sorted(after), "failed calls:", 50 - after.total())

        print(orders.stats())


asyncio.run(main())
