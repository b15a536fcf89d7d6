"""A blocking client over three replicas, one of which is killed: no call fails."""

from collections import Counter

import httpx
from _replicas import replicas

from lbkit import Cluster
from lbkit.httpx import BalancedTransport

with replicas(3) as running:
    orders = Cluster("orders", [one.address for one in running])
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        names = Counter(client.get("/v1/orders/42").raise_for_status().text for _ in range(300))
        print("all three run:", names.total(), "answers")

        killed = names.most_common(1)[0][0]
        running[int(killed[1:])].kill()
        names = Counter(client.get("/v1/orders/42").raise_for_status().text for _ in range(300))
        print(f"{killed} was killed: {names.total()} answers,", names[killed], "from it")

    print(orders.stats())
