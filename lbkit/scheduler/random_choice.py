"""Random: each request to a node drawn in proportion to the weights.

No state and no order: many clients never act in step. It has no defence against a slow node (the field's comparisons
put its tail far behind any that looks at load), so it is here for affinity-free fan-out and as a yardstick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random as Rng

from lbkit.core.pick import PickInfo
from lbkit.scheduler.base import Node, Picker, untried
from lbkit.scheduler.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Random:
    """Draw in proportion to the weights. By name: "random"."""

    def build(self, rng: Rng) -> Picker:
        """Make the picker."""
        return _RandomPicker(rng)


class _RandomPicker:
    __slots__ = ("_rng", "_sampler")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002
        self._sampler = Sampler(ready, self._rng)

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        if info.tried:
            return Sampler(untried(self._sampler.nodes, info), self._rng).draw()
        return self._sampler.draw()
