"""When nodes are due: a heap of the times at which standings change by themselves.

An entry whose node has left, or is due at another time by now, is left behind and dropped when it comes first, or when
such entries are the most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from lbkit.balancer.node import Node


class Dues:
    """The times at which the nodes in `out`, which others keep, may change their standing."""

    __slots__ = ("_count", "_heap", "_out")

    def __init__(self, out: Mapping[Node, None]) -> None:
        self._out = out
        self._count = 0  # breaks ties: first come, first served
        self._heap: list[tuple[float, int, Node]] = []
        self._fill()

    def _fill(self) -> None:
        self._heap = [(node.until, place, node) for place, node in enumerate(self._out) if node.until < math.inf]
        self._count = len(self._out)
        heapify(self._heap)

    def put(self, node: Node) -> None:
        """Remember when `node`, which is among those that are out, is due."""
        if node.until < math.inf:
            self._count += 1
            heappush(self._heap, (node.until, self._count, node))
            if len(self._heap) > 2 * len(self._out) + 8:
                self._fill()

    def first(self) -> float:
        """Return when the first is due, `inf` where none is."""
        heap = self._heap
        while heap:
            until, _, node = heap[0]
            if until == node.until and node in self._out:
                return until
            heappop(heap)
        return math.inf

    def take(self, now: float) -> list[Node]:
        """Return the nodes that are due, the first first, and forget when they are."""
        due: dict[Node, None] = {}
        while self.first() <= now:
            due[heappop(self._heap)[2]] = None
        return list(due)
