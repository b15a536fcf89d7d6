"""A service that keeps itself registered in Consul while a block runs, and a client of it that sees it come and go.

python registration.py

talks to the agent of CONSUL_HTTP_ADDR, or 127.0.0.1:8500; a token of CONSUL_HTTP_TOKEN needs `service:write`.
"""

import time

import httpx
from _replicas import replicas

from lbkit import Cluster, Consul
from lbkit.discovery import TtlCheck, registration
from lbkit.httpx import BalancedTransport

SERVICE = "lbkit-example"


def until(cluster: Cluster, count: int) -> None:
    """Wait until the cluster has so many endpoints."""
    while len(cluster.stats().endpoints) != count:
        time.sleep(0.01)


with replicas(2) as (one, two):
    # An empty answer is believed at once here, so that the end is seen; by default the last good set is kept.
    orders = Cluster("orders", Consul(SERVICE, empty_grace=0.0))
    first = registration(
        SERVICE, one.port, address="127.0.0.1", meta={"zone": "eu-1"}, check=TtlCheck(10.0), drain_s=0.5, wait=True
    )
    with first:
        orders.wait_ready()
        until(orders, 1)
        with registration(SERVICE, two.port, address="127.0.0.1", drain_s=0.5, wait=True) as second:
            until(orders, 2)
            print("both are registered:", second.state.value)
            with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
                print("answers:", sorted({client.get("/").text for _ in range(200)}))

            second.maintenance(True, "a new disk")
            until(orders, 1)
            print("one is in maintenance")
            second.maintenance(False)
            until(orders, 2)
            print("it is back")
        until(orders, 1)
        print("its block has ended:", second.state.value)
    until(orders, 0)
    print("nobody is left")
    orders.close()
