"""Peak EWMA: of two random nodes the one with the lower moving latency times requests in flight.

The average rises at once to a peak and decays slowly, so a node that has just been slow is avoided quickly and trusted
again with time: cost = latency * (in-flight + 1) / weight. A node without any answer yet costs nothing while it is
idle and very much while its first answer is out, so that it is probed by one request and not by all.

Source: Finagle, PeakEwma.scala (decay 10 s, penalty for the unknown). Where we differ: a failure is recorded as a
penalty, never as its own short duration (Linkerd's load-biaser, base penalty 5 s), or a node that refuses fast would
look fast; and reading a cost does not change it. It remembers one slow request as a slow node: with widely spread
request sizes ShortestExpectedDelay is far better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lbkit.core.outcome import Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.scheduler.base import Node, Picker, untried
from lbkit.scheduler.sampling import Sampler

UNKNOWN_COST_S = 1e6
"""The latency assumed of a node whose first answer is still out, in seconds: above any real one."""


@dataclass(frozen=True, slots=True)
class PeakEwma:
    """Compare two random nodes by peak-sensitive latency and requests in flight. By name: "peak_ewma".

    Args:
        decay_s: Time constant of forgetting, in seconds, above 0; 10 by default (Finagle, Linkerd).
        penalty_s: Least latency recorded for a failure, in seconds, above 0; 5 by default (Linkerd).

    Raises:
        ConfigError: A value is out of range.
    """

    decay_s: float = 10.0
    penalty_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.decay_s > 0 or not self.penalty_s > 0:
            raise ConfigError("PeakEwma: decay_s and penalty_s must be above 0 seconds")

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return _PeakEwmaPicker(self, rng)


class _PeakEwmaPicker:
    # node.estimate is the peak-sensitive average in seconds at time node.stamp; 0 means no answer yet.
    __slots__ = ("_config", "_rng", "_sampler")

    def __init__(self, config: PeakEwma, rng: Random) -> None:
        self._config = config
        self._rng = rng

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002
        self._sampler = Sampler(ready, self._rng)

    def pick(self, info: PickInfo, now: float) -> Node:
        sampler = self._sampler
        if info.tried:
            sampler = Sampler(untried(sampler.nodes, info), self._rng)
        one, other = sampler.draw_pair()
        if other is one:
            return one
        return one if self._cost(one, now) * other.weight <= self._cost(other, now) * one.weight else other

    def _cost(self, node: Node, now: float) -> float:
        if node.estimate == 0.0:
            return UNKNOWN_COST_S + node.in_flight if node.in_flight else 0.0
        return node.estimate * math.exp((node.stamp - now) / self._config.decay_s) * (node.in_flight + 1)

    def observe(self, node: Node, outcome: Outcome, latency_s: float, now: float) -> None:
        if outcome.result is not Result.OK:
            latency_s = max(latency_s, self._config.penalty_s, outcome.retry_after_s or 0.0)
        keep = math.exp((node.stamp - now) / self._config.decay_s) if node.estimate else 0.0
        average = node.estimate * keep + latency_s * (1.0 - keep)
        node.estimate = max(latency_s, average, 1e-9)
        node.stamp = now
