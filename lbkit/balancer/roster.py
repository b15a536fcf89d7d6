"""The roster: which endpoints there are, where each stands, and which of them the picker has in its list.

No lock and no clock: the balancer calls it under its own lock and passes the time. What can be computed when the
membership or a standing changes is computed here, so that a pick sees a list of usable nodes. There are no timers:
`next_due` is the time of the next transition that time alone makes, and the balancer looks at it with every event.

Endpoints that are coming back (half-open) are not in the picker's list, for a scheduler that knows them as slow would
never try them; `take_trial` gives their trials out.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from random import Random

from lbkit.balancer.events import EndpointAdded, EndpointRemoved, Event, FailedOpen, StandingChanged
from lbkit.balancer.node import Node
from lbkit.breaker import Circuit, CircuitBreaker
from lbkit.core.endpoint import Snapshot
from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.health import HealthTracker, Standing
from lbkit.scheduler import Picker
from lbkit.scheduler.base import untried


class Roster:
    """The nodes of one balancer.

    Attributes:
        nodes: All, by id of the endpoint.
        ready: The picker's list: of the nodes that stand ready, those of the best tier.
        probing: Half-open nodes that have a trial to give.
        next_due: When a standing changes by itself, `inf` for never.
        news: Events to tell after unlock.
        version: Grows with every change of the set of endpoints.
    """

    __slots__ = (
        "_breaker", "_name", "_out", "_rng", "_told_fail_open", "news", "next_due", "nodes", "picker", "probing",
        "ready", "snapshot", "version",
    )  # fmt: skip

    def __init__(self, name: str, picker: Picker, breaker: CircuitBreaker, rng: Random) -> None:
        self._name = name
        self._breaker = breaker
        self._rng = rng
        self._out: list[Node] = []
        self._told_fail_open = False
        self.picker = picker
        self.nodes: dict[str, Node] = {}
        self.ready: list[Node] = []
        self.probing: list[Node] = []
        self.next_due = math.inf
        self.news: deque[Event] = deque()
        self.snapshot: Snapshot | None = None
        self.version = 0

    def apply(self, snapshot: Snapshot, now: float) -> None:
        """Make the roster what the snapshot says. A known address keeps all that was learned of it."""
        nodes: dict[str, Node] = {}
        for endpoint in snapshot.endpoints:
            node = self.nodes.get(endpoint.id)
            if node is None:
                node = Node(endpoint, HealthTracker(Circuit(self._breaker, self._rng)), now)
                self.news.append(EndpointAdded(self._name, endpoint.id))
            node.endpoint = endpoint
            node.weight = float(endpoint.weight)
            nodes[endpoint.id] = node
        gone = [identity for identity in self.nodes if identity not in nodes]
        self.news.extend(EndpointRemoved(self._name, identity) for identity in gone)
        if gone or len(nodes) != len(self.nodes):
            self.version += 1
        self.nodes = nodes
        self.snapshot = snapshot
        self.stand(nodes.values(), snapshot.source, now, relist=True)

    def drain(self, identity: str, *, draining: bool, now: float) -> None:
        """Take an endpoint out of use, or put it back.

        Raises:
            ConfigError: The cluster has no endpoint of that id; nothing changes.
        """
        node = self.nodes.get(identity)
        if node is None:
            raise ConfigError(f"{self._name} has no endpoint {identity!r}; it has {', '.join(self.nodes) or 'none'}")
        node.health.draining = draining
        self.stand((node,), "drain" if draining else "restore", now)

    def advance(self, now: float) -> None:
        """Make the transitions that are due."""
        self.stand([node for node in self._out if node.until <= now], "time", now)

    def succeed(self, now: float) -> None:
        """Replace every node by its successor, so that leases taken before no longer reach the roster."""
        self.nodes = {identity: node.successor() for identity, node in self.nodes.items()}
        self._relist(now)

    def stand(self, nodes: Iterable[Node], cause: str, now: float, *, relist: bool = False) -> None:
        """Judge the nodes anew; list them anew where a standing has changed, or in any case with `relist`."""
        for node in nodes:
            standing, until = node.health.judge(node.weight, now)
            relist |= standing is not node.standing or until != node.until
            node.until = until
            if standing is node.standing:
                continue
            if self.nodes.get(node.endpoint.id) is node:
                self.news.append(
                    StandingChanged(self._name, node.endpoint.id, node.standing, standing, cause, until - now)
                )
            node.standing = standing
            node.since = now
            node.cause = cause
            if standing is Standing.READY:
                node.forget()
        if relist:
            self._relist(now)

    def _relist(self, now: float) -> None:
        ready = [node for node in self.nodes.values() if node.standing is Standing.READY]
        best_tier = min((node.endpoint.priority for node in ready), default=0)
        for node in self.ready:
            node.listed = False
        self.ready = [node for node in ready if node.endpoint.priority == best_tier]
        for node in self.ready:
            node.listed = True
        self._out = [node for node in self.nodes.values() if node.standing is not Standing.READY]
        self._list_probing()
        self.next_due = min((node.until for node in self._out), default=math.inf)
        self._told_fail_open = False
        if self.ready:
            self.picker.rebuild(tuple(self.ready), now)

    def _list_probing(self) -> None:
        # A backup tier gets its trials when it is needed: while a better tier is ready, requests stay there.
        worst = self.ready[0].endpoint.priority if self.ready else math.inf
        self.probing = [
            node
            for node in self._out
            if node.standing is Standing.HALF_OPEN and node.health.circuit.permits and node.endpoint.priority <= worst
        ]
        self.probing.sort(key=lambda node: node.endpoint.priority)

    def take_trial(self, info: PickInfo) -> Node | None:
        """Use a trial of a half-open endpoint: one that the call has not tried yet, or any where none is ready."""
        for node in self.probing:
            if node.endpoint.id not in info.tried:
                break
        else:
            if self.ready or not self.probing:
                return None
            node = self.probing[0]
        node.health.circuit.take_permit()
        if not node.health.circuit.permits:
            self.probing.remove(node)
        return node

    def return_trial(self, node: Node) -> None:
        """Give a trial that came to no verdict out again."""
        if node.standing is Standing.HALF_OPEN and node not in self.probing:
            self._list_probing()

    def standby(self, tried: Sequence[str]) -> Node | None:
        """Return the least used untried node of the best tier behind the picker's, or None."""
        waiting = [
            node
            for node in self.nodes.values()
            if node.standing is Standing.READY and not node.listed and node.endpoint.id not in tried
        ]
        return min(waiting, key=lambda node: (node.endpoint.priority, node.in_flight), default=None)

    def last_resort(self, info: PickInfo) -> Node | None:
        """Return a node that is out for presumed trouble, or None without any.

        Of the untried ones, of those the best tier, of those the least used, ties at random.
        """
        usable = [node for node in self._out if node.standing.last_resort]
        if not usable:
            return None
        usable = list(untried(usable, info))  # type: ignore[arg-type]
        best = min((node.endpoint.priority, node.in_flight) for node in usable)
        usable = [node for node in usable if (node.endpoint.priority, node.in_flight) == best]
        node = usable[int(self._rng.random() * len(usable))]
        if not self._told_fail_open:
            self._told_fail_open = True
            self.news.append(FailedOpen(self._name, node.endpoint.id))
        return node

    def reasons(self) -> Counter[str]:
        """Count the nodes by standing."""
        return Counter(node.standing.value for node in self.nodes.values())
