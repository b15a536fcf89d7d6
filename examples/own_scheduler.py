"""A scheduler of your own: the nearest zone first, the least busy of it, another zone only when ours is all busy."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import httpx
from _replicas import replicas

from lbkit import Cluster, Endpoint
from lbkit.core.pick import PickInfo
from lbkit.httpx import BalancedTransport
from lbkit.scheduler import Node, Picker
from lbkit.scheduler.base import untried


@dataclass(frozen=True)
class NearestZone:
    """The config: what users write. It may be shared by many clusters, so it is frozen and has no state."""

    zone: str
    busy_at: int = 10

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return _NearestZonePicker(self, rng)


class _NearestZonePicker:
    """The picker: one per cluster, called under its lock. It never waits and does no input or output."""

    def __init__(self, config: NearestZone, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._near: list[Node] = []
        self._far: list[Node] = []

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002 - part of the protocol
        self._near = [node for node in ready if node.endpoint.zone == self._config.zone]
        self._far = [node for node in ready if node.endpoint.zone != self._config.zone]

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        room = [node for node in self._near if node.in_flight < self._config.busy_at]
        nodes = untried(room or [*self._near, *self._far], info)
        return min(nodes, key=lambda node: (node.in_flight / node.weight, self._rng.random()))


with replicas(3) as (one, two, far):
    orders = Cluster(
        "orders",
        [
            Endpoint.parse(one.address, zone="eu-1"),
            Endpoint.parse(two.address, zone="eu-1"),
            Endpoint.parse(far.address, zone="eu-2"),
        ],
        scheduler=NearestZone("eu-1", busy_at=4),
    )
    with httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client:
        quiet = Counter(client.get("/").text for _ in range(100))
        print("quiet:", sorted(quiet))

        for one_replica in (one, two, far):
            one_replica.delay_s = 0.02
        with ThreadPoolExecutor(16) as threads:
            busy = Counter(threads.map(lambda _: client.get("/").text, range(200)))
        print("busy:", sorted(busy))
