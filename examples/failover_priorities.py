"""Priority tiers: the standby gets nothing while a replica of the first tier is usable, and everything when none is."""

from collections import Counter

import httpx
from _replicas import replicas

from lbkit import CircuitBreaker, Cluster, Endpoint
from lbkit.httpx import BalancedTransport

with replicas(3) as (near1, near2, standby):
    orders = Cluster(
        "orders",
        [
            Endpoint.parse(near1.address),
            Endpoint.parse(near2.address),
            Endpoint.parse(standby.address, priority=1),
        ],
        breaker=CircuitBreaker(open_s=0.2),  # short, for a short example
    )
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:

        def who_answers() -> list[str]:
            return sorted(Counter(client.get("/").text for _ in range(100)))

        print("all well:", who_answers())
        near1.kill()
        near2.kill()
        print("the first tier is gone:", who_answers())

        near1.start()
        names = who_answers()
        while "r0" not in names:  # its circuit gives it a trial after 0.2 s, and then it takes everything again
            names = who_answers()
        print("one is back:", who_answers())
