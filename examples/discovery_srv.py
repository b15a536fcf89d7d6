"""DNS SRV: the records say host, port, priority and weight. The second priority stands by.

python discovery_srv.py dns+srv://_http._tcp.orders.internal

needs the extra: pip install 'lbkit-client[dns]'.
"""

import sys
from collections import Counter

import httpx

from lbkit import Cluster
from lbkit.httpx import BalancedTransport

if len(sys.argv) != 2:
    sys.exit("usage: python discovery_srv.py dns+srv://_SERVICE._tcp.NAME")

with Cluster("orders", sys.argv[1], scheduler="round_robin") as orders:
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        # The first request waits for DNS: at most `start_timeout`, 5 s.
        answers = Counter(client.get("/").extensions["lbkit"]["endpoint"] for _ in range(100))
    for one in sorted(orders.stats().endpoints, key=lambda one: (one.priority, -one.weight)):
        print(f"priority {one.priority}, weight {one.weight:g}: {answers[one.endpoint]} of 100 requests")
