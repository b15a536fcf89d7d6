"""Least requests: of a few random nodes, or of all, the one with the fewest requests in flight for its weight.

Two random choices (Mitzenmacher 2001) already avoid the worst of random assignment at constant cost, and many clients
that choose so do not herd onto one node as clients that all take the minimum do. Nodes are drawn by weight and compared
by in-flight over weight, the first draw winning a tie, as nginx's `random two least_conn` does; so an idle cluster is
shared by weight, which Envoy's way of comparing (in-flight + 1) over weight would not do.

What a client has in flight itself is little knowledge when there are many clients: see ShortestExpectedDelay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.scheduler.base import Node, Picker, untried
from lbkit.scheduler.least import LeastIndex
from lbkit.scheduler.sampling import Sampler


@dataclass(frozen=True, slots=True)
class LeastRequest:
    """Compare a few random nodes by requests in flight. By name: "least_request".

    Args:
        choices: How many are drawn, 2 to 10; 2 by default (Envoy's and gRPC's, gRFC A48). None compares all nodes.

    Raises:
        ConfigError: `choices` is out of range.
    """

    choices: int | None = 2

    def __post_init__(self) -> None:
        if self.choices is not None and not 2 <= self.choices <= 10:
            raise ConfigError(f"LeastRequest: choices must be from 2 to 10, or None for all, not {self.choices!r}")

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return LeastIndex(rng) if self.choices is None else _ChoicePicker(rng, self.choices)


class _ChoicePicker:
    __slots__ = ("_choices", "_rng", "_sampler")

    def __init__(self, rng: Random, choices: int) -> None:
        self._rng = rng
        self._choices = choices

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002
        self._sampler = Sampler(ready, self._rng)

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        sampler = self._sampler
        if info.tried:
            sampler = Sampler(untried(sampler.nodes, info), self._rng)
        best, other = sampler.draw_pair()
        # Cross-multiplied: no division, and no rounding where weights are whole numbers.
        if other.in_flight * best.weight < best.in_flight * other.weight:
            best = other
        for _ in range(self._choices - 2):
            other = sampler.draw()
            if other.in_flight * best.weight < best.in_flight * other.weight:
                best = other
        return best
