"""Consul: the instances whose checks pass, followed by blocking queries, so that a change is seen at once.

python discovery_consul.py 'consul://orders?tag=v2'

asks the agent of CONSUL_HTTP_ADDR, or 127.0.0.1:8500. A token comes from CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE.
"""

import asyncio
import sys
from collections import Counter

import httpx

from lbkit import Cluster
from lbkit.httpx import AsyncBalancedTransport


async def main(target: str) -> None:
    async with Cluster("orders", target) as orders:
        await orders.async_wait_ready()
        async with httpx.AsyncClient(transport=AsyncBalancedTransport(orders), base_url="http://orders") as client:
            responses = await asyncio.gather(*(client.get("/") for _ in range(100)))
        answers = Counter(response.extensions["lbkit"]["endpoint"] for response in responses)
        stats = orders.stats()
        for one in stats.endpoints:
            print(f"zone {one.zone or '-'}, weight {one.weight:g}: {answers[one.endpoint]} of 100 requests")
        print(*stats.sources)


if len(sys.argv) != 2:
    sys.exit("usage: python discovery_consul.py consul://SERVICE")
asyncio.run(main(sys.argv[1]))
