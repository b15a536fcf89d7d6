"""What a cluster tells: events as they happen, log records with fields, and its numbers as a table and as JSON."""

import json
import logging

import httpx
from _replicas import replicas

from lbkit import CircuitBreaker, Cluster
from lbkit.events import Event, RetryScheduled, StandingChanged
from lbkit.httpx import BalancedTransport


class Fields(logging.Formatter):
    """A formatter that shows what lbkit puts beside the text."""

    def format(self, record: logging.LogRecord) -> str:
        """Show the fields."""
        fields = {name: value for name, value in vars(record).items() if name.startswith("lbkit_")}
        return f"log: {record.levelname} {record.name} {json.dumps(fields, default=str)}"


def listen(event: Event) -> None:
    """Listeners run in the thread of the call: be quick, and hand on what takes time."""
    match event:
        case StandingChanged(endpoint=endpoint, before=before, after=after, cause=cause):
            print(f"event: {endpoint} {before.value} -> {after.value} ({cause})")
        case RetryScheduled(endpoint=endpoint, cause=cause, attempt=attempt):
            print(f"event: attempt {attempt} failed at {endpoint} ({cause}), trying again")


handler = logging.StreamHandler()
handler.setFormatter(Fields())
logging.getLogger("lbkit").addHandler(handler)

with replicas(2) as (one, two):
    orders = Cluster(
        "orders", [one.address, two.address], scheduler="round_robin", breaker=CircuitBreaker(failures=1, open_s=0.05)
    )
    stop = orders.subscribe(listen)
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        one.kill()
        for _ in range(50):
            client.get("/")
        one.start()
        while any(endpoint.state != "ready" for endpoint in orders.stats().endpoints):
            client.get("/")
    stop()

    stats = orders.stats()
    print(stats)
    print("failures in JSON:", json.loads(stats.to_json())["failures"])
