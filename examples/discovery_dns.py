"""DNS: every address of a name is a replica, for as long as the name has it.

python discovery_dns.py dns://orders.internal:8080

needs the extra: pip install 'lbkit-client[dns]'. Any HTTP service behind a name with several addresses will do.
"""

import sys
from collections import Counter

import httpx

from lbkit import Cluster
from lbkit.httpx import BalancedTransport

if len(sys.argv) != 2:
    sys.exit("usage: python discovery_dns.py dns://NAME:PORT")

with Cluster("orders", sys.argv[1], scheduler="round_robin") as orders:
    orders.wait_ready()  # not needed, but here a name that does not exist is told before the first request
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        answers = Counter(client.get("/").extensions["lbkit"]["endpoint"] for _ in range(100))
    for endpoint, count in sorted(answers.items()):
        print(f"{endpoint} answered {count} times")
    for source in orders.stats().sources:
        print(source)
