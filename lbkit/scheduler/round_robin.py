"""Smooth weighted round robin, in exactly nginx's order, without nginx's scan.

nginx adds to every peer its weight at each pick, takes the peer with the largest sum (the first of equals) and lowers
it by the total of the weights; so 5,1,1 gives a a b a c a a instead of a a a a a b c. After t picks the sum of a node is
`credit + t * weight`, where `credit` changes only when the node itself is picked. Nodes of one weight therefore never
overtake each other by waiting: a heap per distinct weight has the next of that class on top, and a pick compares one
candidate per class. Equal weights cost O(log n), w distinct weights O(w + log n).

Source: nginx, ngx_http_upstream_round_robin.c. We differ in two points: the start is a random position in the cycle
(Envoy does the same), so that many clients do not begin with the same node; and what nginx calls a failing peer's
effective weight is the circuit breaker's business here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from random import Random

from lbkit.core.pick import PickInfo
from lbkit.scheduler.base import Node, Picker, untried


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """Take the nodes in turn, weights interleaved smoothly. By name: "round_robin".

    Args:
        random_start: Begin at a random place of the cycle (the default), or always at the first node.
    """

    random_start: bool = True

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return _RoundRobinPicker(rng, random_start=self.random_start)


class _RoundRobinPicker:
    # node.cost is the node's credit, node.estimate its place in the list.
    __slots__ = ("_classes", "_nodes", "_rng", "_start", "_total", "_turns")

    # Sums of integer weights stay exact in a double far beyond this; folding keeps them small.
    FOLD_AFTER = 1 << 20

    def __init__(self, rng: Random, *, random_start: bool) -> None:
        self._rng = rng
        self._start = random_start
        self._nodes: Sequence[Node] = ()
        self._turns = 0

    def rebuild(self, ready: Sequence[Node], now: float) -> None:
        # Who stays keeps its credit, so that a change of membership neither restarts the cycle nor causes a burst.
        staying = {id(node) for node in self._nodes}
        for place, node in enumerate(ready):
            node.cost = node.cost + self._turns * node.weight if id(node) in staying else 0.0
            node.estimate = place
        self._nodes = ready
        self._index()
        if self._start:
            self._start = False
            for _ in range(int(self._rng.random() * len(ready))):
                self.pick(PickInfo(), now)

    def _index(self) -> None:
        self._turns = 0
        self._total = sum(node.weight for node in self._nodes)
        by_weight: dict[float, list[tuple[float, float, Node]]] = {}
        for node in self._nodes:
            by_weight.setdefault(node.weight, []).append((-node.cost, node.estimate, node))
        self._classes = list(by_weight.items())
        for _, heap in self._classes:
            heapify(heap)

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        turns = self._turns = self._turns + 1
        if info.tried:
            # A retry takes the best of the untried; its heap entry is renewed when it comes to the top.
            node = max(untried(self._nodes, info), key=lambda node: (node.cost + turns * node.weight, -node.estimate))
            node.cost -= self._total
            return node
        best: Node | None = None
        best_sum = 0.0
        for weight, heap in self._classes:
            credit, _, node = heap[0]
            while node.cost != -credit:  # picked as a retry since the entry was made
                heapreplace(heap, (-node.cost, node.estimate, node))
                credit, _, node = heap[0]
            current = node.cost + turns * weight
            if best is None or current > best_sum or (current == best_sum and node.estimate < best.estimate):
                best, best_sum, best_heap = node, current, heap
        assert best is not None  # noqa: S101 - rebuild is never called with an empty list
        best.cost -= self._total
        heapreplace(best_heap, (-best.cost, best.estimate, best))
        if turns >= self.FOLD_AFTER:
            for node in self._nodes:
                node.cost += turns * node.weight
            self._index()
        return best
