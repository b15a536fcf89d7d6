"""Weighted random draws, shared by the schedulers that toss a coin.

A draw is `int(random() * n)`: `randrange` and `sample` cost five times as much. With unequal weights it is a binary
search in the running sums, so it stays O(log n).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from lbkit.scheduler.base import Node


class Sampler:
    """Draws nodes in proportion to their weights."""

    __slots__ = ("_bounds", "_random", "_total", "nodes")

    def __init__(self, nodes: Sequence[Node], rng: Random) -> None:
        self.nodes = nodes
        self._random = rng.random
        first = nodes[0].weight
        equal = all(node.weight == first for node in nodes)
        self._bounds = None if equal else list(accumulate(node.weight for node in nodes))
        self._total = 0.0 if self._bounds is None else self._bounds[-1]

    def draw(self) -> Node:
        """Draw one node."""
        nodes = self.nodes
        if self._bounds is None:
            return nodes[int(self._random() * len(nodes))]
        # random() < 1, but the product may round up to the total: hence the bound on the index.
        return nodes[min(bisect_right(self._bounds, self._random() * self._total), len(nodes) - 1)]

    def draw_pair(self) -> tuple[Node, Node]:
        """Draw two different nodes; the same one twice only where there is one, or weights leave no other chance."""
        nodes = self.nodes
        count = len(nodes)
        if count == 1:
            return nodes[0], nodes[0]
        if self._bounds is None:
            # Without replacement: the second index skips the first, so all pairs are equally likely.
            first = int(self._random() * count)
            second = int(self._random() * (count - 1))
            if second >= first:
                second += 1
            return nodes[first], nodes[second]
        one = self.draw()
        for _ in range(3):
            other = self.draw()
            if other is not one:
                return one, other
        return one, one
