"""The node with the least `cost * (in_flight + 1)`: a scan for few nodes, a lazy heap for many.

The heap holds at least one entry per node that is not above the node's present score; an entry that is too low is
renewed when it reaches the top. A score that rises (a request begins) therefore costs nothing until then, and one that
falls (a request ends, an estimate improves) pushes a new entry and leaves the old one behind. When more entries lie
behind than there are nodes, the heap is built anew: O(log n) a request, amortised, from 20 nodes to 10,000.
A node that leaves leaves its entries behind as well, and one that joins pushes one: O(log n) a change.
Ties are broken at random, each of equals with the same chance. In the heap an entry carries the number of the pick plus
a random one up to the number of nodes: who has just been picked comes after most of its equals, so that requests one at
a time visit all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from random import Random

from lbkit.core.pick import PickInfo
from lbkit.scheduler.base import Node, untried

SCAN_LIMIT = 20
"""Up to this many nodes a scan is no slower than the heap (tests/benchmarks/bench_memory.py)."""


class LeastIndex:
    """Picks by `node.cost * (node.in_flight + 1)`; by itself, with cost 1 / weight, it is least connections."""

    # node.scratch is the score of the node's lowest heap entry, None for a node that has left: no entry equals that.
    __slots__ = ("_heap", "_random", "_turn", "nodes")

    def __init__(self, rng: Random) -> None:
        self._random = rng.random
        self.nodes: Sequence[Node] = ()
        self._heap: list[tuple[float, float, Node]] | None = None
        self._turn = 0

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002
        """Take the ready nodes; sets `cost` to 1 / weight."""
        for node in ready:
            node.cost = 1.0 / node.weight
        self.reindex(ready)

    def reindex(self, ready: Sequence[Node]) -> None:
        """Take the ready nodes with their costs as they are."""
        self.nodes = ready
        self._heap = None
        if len(ready) > SCAN_LIMIT:
            heap = []
            for node in ready:
                node.scratch = node.cost * (node.in_flight + 1)
                heap.append((node.scratch, self._turn + self._random() * len(ready), node))
            heapify(heap)
            self._heap = heap

    def joined(self, node: Node, now: float) -> None:  # noqa: ARG002
        """Take one more node, which is in the list already; sets its `cost` to 1 / weight."""
        node.cost = 1.0 / node.weight
        self.insert(node)

    def insert(self, node: Node) -> None:
        """Take one more node, which is in the list already, with its cost as it is."""
        if self._heap is None:
            if len(self.nodes) > SCAN_LIMIT:
                self.reindex(self.nodes)
            return
        node.scratch = math.inf
        self.released(node)

    def left(self, node: Node) -> None:
        """Let go of a node, which is no longer in the list."""
        node.scratch = None
        if self._heap is None:
            return
        if len(self.nodes) <= SCAN_LIMIT:
            self._heap = None
        elif len(self._heap) > 2 * len(self.nodes):
            self.reindex(self.nodes)

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        """Return the node with the least score."""
        if info.tried:
            return self._scan(untried(self.nodes, info))
        heap = self._heap
        if heap is None:
            return self._scan(self.nodes)
        while True:
            score, _, node = heap[0]
            if score != node.scratch:
                heappop(heap)  # left behind by a lower entry of the same node, or one that was renewed
                continue
            present = node.cost * (node.in_flight + 1)
            if present <= score:
                if heap[1][0] == score or heap[2][0] == score:
                    self._turn += 1
                    heapreplace(heap, (score, self._turn + self._random() * len(self.nodes), node))
                return node
            node.scratch = present
            heapreplace(heap, (present, self._turn + self._random() * len(self.nodes), node))

    def _scan(self, nodes: Sequence[Node]) -> Node:
        best = nodes[0]
        least = math.inf
        equals: list[Node] | None = None
        for node in nodes:
            score = node.cost * (node.in_flight + 1)
            if score < least:
                best, least, equals = node, score, None
            elif score == least:
                if equals is None:
                    equals = [best, node]
                else:
                    equals.append(node)
        return best if equals is None else equals[int(self._random() * len(equals))]

    def released(self, node: Node) -> None:
        """Hear that the node's score may have fallen."""
        heap = self._heap
        if heap is None:
            return
        score = node.cost * (node.in_flight + 1)
        if score < node.scratch:
            node.scratch = score
            heappush(heap, (score, self._turn + self._random() * len(self.nodes), node))
            if len(heap) > 2 * len(self.nodes):
                self.reindex(self.nodes)
