"""What is tried again, what is not, and what a deadline bounds.

The first replica of the list takes requests and does not answer in time. `scheduler="first"` makes every call begin
there, so that the run is the same each time.
"""

import time

import httpx
from _replicas import replicas

from lbkit import CircuitBreaker, Cluster, RetryPolicy
from lbkit.httpx import BalancedTransport

with replicas(2) as (slow, good):
    slow.delay_s = 0.5
    orders = Cluster(
        "orders",
        [slow.address, good.address],
        scheduler="first",
        breaker=CircuitBreaker(failures=100),  # so that the slow one stays in use here
        retry=RetryPolicy(per_try_timeout=0.1, deadline=1.0),
    )
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        response = client.get("/v1/orders/42")
        print("GET may run twice:", response.text, "answered at attempt", response.extensions["lbkit"]["attempt"])

        try:
            client.post("/v1/orders", json={"sku": "tea"})
        except httpx.ReadTimeout as error:
            print("POST may not:", type(error).__name__, *error.__notes__)

        response = client.post("/v1/orders", json={"sku": "tea"}, headers={"Idempotency-Key": "7f3a"})
        print("POST with an Idempotency-Key may:", response.text)

        response = client.post("/v1/search", json={"q": "tea"}, extensions={"lbkit": {"replayable": True}})
        print("POST that you say may run twice:", response.text)

        good.delay_s = 0.5
        began = time.monotonic()
        try:
            client.get("/v1/orders/42", extensions={"lbkit": {"deadline": 0.15}})
        except httpx.TimeoutException:
            print(f"a deadline of 0.15 s covers all attempts: over after {time.monotonic() - began:.2f} s")
