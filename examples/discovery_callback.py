"""A function of your own says where the replicas are. It is called again and again."""

import time

import httpx
from _replicas import replicas

from lbkit import Callback, Cluster, DiscoveryError, Endpoint
from lbkit.httpx import BalancedTransport

with replicas(3) as running:
    inventory: dict[str, list[tuple[str, float]]] = {"orders": [(one.address, 1.0) for one in running[:2]]}

    def from_inventory() -> list[Endpoint]:
        """Stand in for a query to a database. It runs in a thread, so it may block."""
        rows = inventory.get("orders")
        if rows is None:
            raise DiscoveryError("the inventory knows no orders")  # its text is shown; of others only the type
        return [Endpoint.parse(address, weight=weight) for address, weight in rows]

    with (
        Cluster("orders", Callback(from_inventory, every=0.05), scheduler="round_robin") as orders,
        httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client,
    ):

        def who_answers() -> list[str]:
            return sorted({client.get("/").text for _ in range(30)})

        print("two are known:", who_answers())

        inventory["orders"].append((running[2].address, 1.0))
        while len(orders.stats().endpoints) < 3:
            time.sleep(0.01)
        print("a third was added:", who_answers())

        del inventory["orders"]
        while orders.stats().sources[0].state == "live":
            time.sleep(0.01)
        print("the inventory fails:", who_answers())
        source = orders.stats().sources[0]
        print(f"{source.state}: {source.problem}")
