"""Smooth weighted round robin, in exactly nginx's order, without nginx's scan.

nginx adds to every peer its weight at each pick, takes the peer with the largest sum (the first of equals) and lowers
it by the total of the weights; so 5,1,1 gives a a b a c a a instead of a a a a a b c. After t picks the sum of a node
is `credit + t * weight`, where `credit` changes only when the node itself is picked. Nodes of one weight therefore
never overtake each other by waiting: a heap per distinct weight has the next of that class on top, and a pick compares
one candidate per class. Equal weights cost O(log n), w distinct weights O(w + log n).

Source: nginx, ngx_http_upstream_round_robin.c. We differ in two points: the start is a random position in the cycle
(Envoy does the same), also where all nodes are new, so that many clients do not begin with the same node; and what
nginx calls a failing peer's effective weight is the circuit breaker's business here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from random import Random

from lbkit.core.pick import FIRST_TRY, PickInfo
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
    __slots__ = ("_classes", "_nodes", "_random_start", "_rng", "_total", "_turns")

    # Sums of integer weights stay exact in a double far beyond this; folding keeps them small.
    FOLD_AFTER = 1 << 20

    def __init__(self, rng: Random, *, random_start: bool) -> None:
        self._rng = rng
        self._random_start = random_start
        self._nodes: Sequence[Node] = ()
        self._classes: list[tuple[float, list[tuple[float, float, Node]]]] = []
        self._turns = 0
        self._total = 0.0

    def rebuild(self, ready: Sequence[Node], now: float) -> None:
        # Who stays keeps its place in the cycle, so that a change of membership neither restarts it nor causes a burst.
        # Credits are scaled to the new total, or in a smaller cluster one would be worth several picks, and counted
        # from their mean, so that a newcomer, who starts with none, is neither owed nor owes anything.
        known = {id(node) for node in self._nodes}
        staying = [node for node in ready if id(node) in known]
        self._fold()
        total = sum(node.weight for node in ready)
        scale = total / self._total if total != self._total and staying else 1.0
        mean = sum(node.cost for node in staying) / max(1, len(staying))
        for place, node in enumerate(ready):
            node.cost = (node.cost - mean) * scale if id(node) in known else 0.0
            node.estimate = place
        self._nodes = ready
        self._index()
        if self._random_start and not staying:
            for _ in range(int(self._rng.random() * len(ready))):
                self.pick(FIRST_TRY, now)

    def _fold(self) -> None:
        # With the weights that the turns were taken with: a weight that has changed since counts from now on.
        for weight, heap in self._classes:
            for _, _, node in heap:
                node.cost += self._turns * weight
        self._turns = 0

    def _index(self) -> None:
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
            self._fold()
            self._index()
        return best
