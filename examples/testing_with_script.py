"""How to test code that goes through lbkit: scripted faults and a clock that is moved by hand. No network, no sleep."""

import random

import httpx

from lbkit import CircuitBreaker, Cluster
from lbkit.httpx import BalancedTransport
from lbkit.testing import ManualClock, Reply, Script, refused


def fetch_order(client: httpx.Client, number: int) -> str:
    """The code under test."""
    return client.get(f"/v1/orders/{number}").raise_for_status().text


clock = ManualClock()
script = Script(
    {
        "a:80": [refused(), Reply(content=b"tea")],  # refuses once, then answers for ever
        "b:80": [Reply(content=b"tea")],
    }
)
orders = Cluster(
    "orders",
    ["a:80", "b:80"],
    scheduler="first",
    breaker=CircuitBreaker(failures=1, open_s=1.0),
    clock=clock,
    rng=random.Random(1),
)

with httpx.Client(transport=BalancedTransport(orders, inner=script.httpx()), base_url="http://orders") as client:
    assert fetch_order(client, 42) == "tea"
    print("asked:", script.log)
    assert script.log == ["a:80", "b:80"]
    assert [one.state for one in orders.stats().endpoints] == ["open", "ready"]

    clock.advance(2.0)  # past the open time: the next call is a's trial
    assert fetch_order(client, 42) == "tea"
    print("asked:", script.log)
    assert script.log == ["a:80", "b:80", "a:80"]
    assert [one.state for one in orders.stats().endpoints] == ["ready", "ready"]
