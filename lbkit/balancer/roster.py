"""The roster: which endpoints there are, where each stands, and which of them the picker has in its list.

No lock and no clock: the balancer calls it under its own lock and passes the time. What can be computed when the
membership or a standing changes is computed here, so that a pick sees a list of usable nodes. There are no timers:
`next_due` is the time of the next transition that time alone makes, and the balancer looks at it with every event.

A request waits while a change is made. So, where the picker can take single nodes in and out, a change costs what it
changes and not what there is: nodes move between lists in which each is found at once. Everything is listed anew when
another tier takes over, when much changes together, and for pickers that must see all nodes in their order.

Endpoints that are coming back (half-open) are not in the picker's list, for a scheduler that knows them as slow would
never try them; `take_trial` gives their trials out.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from random import Random

from lbkit.balancer.comparison import Comparison
from lbkit.balancer.dues import Dues
from lbkit.balancer.events import EndpointAdded, EndpointRemoved, Event, FailedOpen, StandingChanged
from lbkit.balancer.node import Node
from lbkit.balancer.plan import Plan
from lbkit.breaker import Circuit, CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.health import HealthTracker, Standing
from lbkit.scheduler import Picker
from lbkit.scheduler.base import Updates, untried

MUCH_RATIO = 0.5
"""From this share of the nodes on, all are listed anew: moving them singly costs two thirds of that, and as much at
twice this share (tests/benchmarks/bench_apply.py)."""


class Roster:
    """The nodes of one balancer.

    Attributes:
        nodes: All, by id of the endpoint. Replaced with every membership, never changed in place.
        ready: The picker's list: of the nodes that stand ready, those of the best tier.
        probing: Half-open nodes that have a trial to give, the best tier first.
        next_due: When there is something to do that time alone brings, `inf` for never.
        comparison: Compares the nodes with each other; None where there is no outlier detection.
        news: Events to tell after unlock.
        version: Grows with every change of the set of endpoints.
    """

    # _out has the nodes that do not stand ready; _tier is the tier of those in `ready`, inf without any. _places says
    # where in `ready` each node is, for a picker that `Updates`: the list is then in no order.
    __slots__ = (
        "_breaker", "_dues", "_name", "_out", "_places", "_rng", "_tier", "_told_fail_open", "_updates",
        "comparison", "news", "next_due", "nodes", "picker", "probing", "ready", "snapshot", "version",
    )  # fmt: skip

    def __init__(
        self, name: str, picker: Picker, breaker: CircuitBreaker, rng: Random, comparison: Comparison | None = None
    ) -> None:
        self._name = name
        self._breaker = breaker
        self._rng = rng
        self._out: dict[Node, None] = {}
        self._dues = Dues(self._out)
        self._tier = math.inf
        self._places: dict[Node, int] = {}
        self._told_fail_open = False
        self._updates = picker if isinstance(picker, Updates) else None
        self.picker = picker
        self.comparison = comparison
        self.nodes: dict[str, Node] = {}
        self.ready: list[Node] = []
        self.probing: dict[Node, None] = {}
        self.next_due = math.inf
        self.news: deque[Event] = deque()
        self.snapshot: Snapshot | None = None
        self.version = 0

    def plan(self, snapshot: Snapshot, now: float) -> Plan:
        """Compare the roster with a snapshot. Needs no lock, but one plan must be applied before the next is made."""

        def make(endpoint: Endpoint) -> Node:
            sibling = self.comparison.sibling(endpoint) if self.comparison is not None else None
            return Node(endpoint, HealthTracker(Circuit(self._breaker, self._rng), sibling), now, sibling)

        return Plan.of(snapshot, self.nodes, self.snapshot, make)

    def apply(self, plan: Plan, now: float) -> None:
        """Make the roster what the plan says. A known address keeps all that was learned of it."""
        self.news.extend(EndpointAdded(self._name, node.endpoint.id) for node in plan.fresh)
        self.news.extend(EndpointRemoved(self._name, node.endpoint.id) for node in plan.gone)
        if self.comparison is not None:
            self.comparison.replace(plan.gone, plan.fresh, now)
        self.nodes = plan.nodes
        self.snapshot = plan.snapshot
        if plan.fresh or plan.gone:
            self.version += 1  # after the nodes: who reads it without the lock, and then them, never has the old ones
        singly = self._updates is not None and not self._is_much(len(plan.touched) + len(plan.gone))
        if singly:
            for node in plan.gone:
                self._unlist(node)
            for node, _ in plan.changed:
                self._unlist(node)
        for node, endpoint in plan.changed:
            node.endpoint = endpoint
            node.weight = float(endpoint.weight)
        for node in plan.touched:
            self._judge(node, plan.snapshot.source, now)
        if singly:
            self._list([node for node in plan.touched if self._has(node)], now)
        else:
            self._list_all(now)
        self.advance(now)

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
        self.stand(self._dues.take(now), "time", now)
        if self.comparison is not None:
            self.comparison.detector.advance(now)
            self.stand_compared(now)

    def first_return(self) -> float:
        """Return when the first of those that are out may come back by time alone, `inf` for never."""
        return self._dues.first()

    def _first_due(self) -> float:
        first = self._dues.first()
        return first if self.comparison is None else min(first, self.comparison.detector.due)

    def succeed(self, now: float) -> None:
        """Replace every node by its successor, so that leases taken before no longer reach the roster."""
        self.nodes = {identity: node.successor() for identity, node in self.nodes.items()}
        self._list_all(now)

    def stand(self, nodes: Iterable[Node], cause: str, now: float) -> None:
        """Judge the nodes anew, and list those anew whose standing has changed."""
        self._stand(((node, cause) for node in nodes), now)

    def stand_compared(self, now: float) -> None:
        """Judge those anew that were ejected or have come back."""
        if self.comparison is not None:
            self._stand(self.comparison.moved(self.nodes), now)
            self.next_due = self._first_due()  # also where something stronger keeps out who was ejected

    def _stand(self, nodes: Iterable[tuple[Node, str]], now: float) -> None:
        moved = [node for node, cause in nodes if self._judge(node, cause, now) and self._has(node)]
        if moved:
            self._list(moved, now)

    def _has(self, node: Node) -> bool:
        return self.nodes.get(node.endpoint.id) is node

    def _judge(self, node: Node, cause: str, now: float) -> bool:
        standing, until = node.health.judge(node.weight, now)
        if standing is node.standing and until == node.until:
            return False
        node.until = until
        if standing is not node.standing:
            if self._has(node):
                change = (node.standing, standing, cause, until - now)
                self.news.append(StandingChanged(self._name, node.endpoint.id, *change))
            node.standing = standing
            node.since = now
            node.cause = cause
            if standing is Standing.READY:
                node.forget()
        return True

    # -- the lists

    def _is_much(self, count: int) -> bool:
        return count >= MUCH_RATIO * len(self.nodes)

    def _list(self, nodes: Sequence[Node], now: float) -> None:
        self._told_fail_open = False
        if self._is_much(len(nodes)):
            self._list_all(now)
            return
        done = True
        for node in nodes:
            done &= self._unlist(node) and self._enlist(node, now)
        if done and (self.ready or self._tier == math.inf):
            self.next_due = self._first_due()
        else:
            self._list_all(now)

    def _unlist(self, node: Node) -> bool:
        """Take a node out of the list that has it, if any; False where all must be listed anew."""
        if node.listed:
            if self._updates is None:
                return False
            node.listed = False
            place = self._places.pop(node)
            last = self.ready.pop()
            if last is not node:
                self.ready[place] = last
                self._places[last] = place
            self._updates.left(node)
        elif node in self._out:
            del self._out[node]
            self.probing.pop(node, None)
        return True

    def _enlist(self, node: Node, now: float) -> bool:
        """Put a node that is in no list where it belongs; False where all must be listed anew."""
        if node.standing is not Standing.READY:
            self._out[node] = None
            self._dues.put(node)
            self._offer_trials(node)
        elif node.endpoint.priority < self._tier or self._updates is None:
            return False
        elif node.endpoint.priority == self._tier:
            node.listed = True
            self._places[node] = len(self.ready)
            self.ready.append(node)
            self._updates.joined(node, now)
        return True

    def _list_all(self, now: float) -> None:
        for node in self.ready:
            node.listed = False
        ready = [node for node in self.nodes.values() if node.standing is Standing.READY]
        tiers = {node.endpoint.priority for node in ready}
        self._tier = min(tiers, default=math.inf)
        self.ready = ready if len(tiers) <= 1 else [node for node in ready if node.endpoint.priority == self._tier]
        for node in self.ready:
            node.listed = True
        self._out = dict.fromkeys(node for node in self.nodes.values() if node.standing is not Standing.READY)
        self._dues = Dues(self._out)
        self.next_due = self._first_due()
        self.probing = {}
        for node in self._out:
            self._offer_trials(node)
        self._told_fail_open = False
        if self._updates is not None:
            self._places = {node: place for place, node in enumerate(self.ready)}
        if self.ready:
            self.picker.rebuild(tuple(self.ready) if self._updates is None else self.ready, now)

    def _offer_trials(self, node: Node) -> None:
        # A backup tier gets its trials when it is needed: while a better tier is ready, requests stay there.
        if node.standing is not Standing.HALF_OPEN or not node.health.circuit.permits:
            return
        if node.endpoint.priority > self._tier:
            return
        last = next(reversed(self.probing), node)
        self.probing[node] = None
        if last.endpoint.priority > node.endpoint.priority:
            self.probing = dict.fromkeys(sorted(self.probing, key=lambda node: node.endpoint.priority))

    def take_trial(self, info: PickInfo, now: float) -> tuple[Node, int] | None:
        """Use a trial of a half-open endpoint: one that the call has not tried yet, or any where none is ready.

        Returns the node and the ticket for the trial's result.
        """
        for node in self.probing:
            if node.endpoint.id not in info.tried:
                break
        else:
            if self.ready or not self.probing:
                return None
            node = next(iter(self.probing))
        ticket = node.health.circuit.take_permit(now)
        if not node.health.circuit.permits:
            del self.probing[node]
        self._date(node)
        return node, ticket

    def return_trial(self, node: Node) -> None:
        """Take note that a trial has ended without a verdict; it may be given out again."""
        if node.standing is Standing.HALF_OPEN and node in self._out:
            self._date(node)
            if node not in self.probing:
                self._offer_trials(node)

    def _date(self, node: Node) -> None:
        # A trial that is out holds up the next one for a limited time: it begins and ends with the oldest of them.
        node.until = node.health.circuit.due
        self._dues.put(node)
        self.next_due = self._first_due()

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
