"""Shortest expected delay: learned service time times requests in flight, over all nodes. The default for requests.

LVS's *sed* sends to the least (in-flight + 1) / weight; here the rate of each node is learned as well. A node's
estimate is the mean of the logarithm of its latencies, which one very slow request moves only a little, relative to the
mean of all; so it tells slow nodes from slow requests, where peak EWMA cannot. Every node is compared, because what a
single client has in flight is too sparse for two random draws to tell much apart.

The formula, with x the latency of an answer at time t, m the mean of ln x over all good answers, and d, s a node's own
estimate, relative to that mean, and the time of its last answer:

    a = min(0.95, exp(-(t - s) / decay))         a new answer has at least a twentieth of the weight
    d = a d + (1 - a) (ln x - m)                 starting from d = 0: the unknown is average
    e = d exp(-(t - s) / (3 decay))              an old opinion fades, so that a slow node is tried again
    cost = exp(gamma e) charge / weight
    score = cost (in-flight + 1)                 the least wins, ties at random

In simulations its p99 latency was within 1.0 to 2.5 times that of one central queue, where two random choices reached
1.1 to 20 and round robin 1.4 to hundreds of times (tests/simulation, tests/benchmarks/sim_table.py). Costs are cached,
and one node's is renewed at each pick: an error of the fading, never of the in-flight count. That d is relative is what
makes caching right: the noise of m is then in no cached cost, where it lengthened the p99 by a quarter.

The charge keeps a client that sends one request at a time from taking one of several equal nodes for nearly all of
them, as the least of costs that differ only by noise. It follows a node's recent share of the picks, in multiples of
its fair share: 5 % for each multiple, from 0.975 for half the fair share and less to 1.1 for three times of it and
more. So it decides between nodes whose latencies are within a quarter of each other, and cannot hide a slow one. What
it cannot help is a node that answers slowly because it is seldom asked, with cold caches: such a client may leave it
nearly out. Who wants equal shares takes round robin.

A failure counts as a penalty and never as its own short duration, and does not move m.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lbkit.core.outcome import Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.scheduler.base import Node, Picker
from lbkit.scheduler.least import LeastIndex

MEAN_WEIGHT = 0.01
"""Weight of one answer in the mean over all nodes."""
OLD_WEIGHT = 0.95
"""Most weight that an old estimate keeps against one new answer."""
RECENT_WEIGHT = 0.05
"""Weight of one round, in which every node's cost is renewed once, in a node's recent share."""
SHORTEST_S = 1e-6
"""Latencies below a microsecond count as one: the logarithm needs a floor, clocks have one."""


@dataclass(frozen=True, slots=True)
class ShortestExpectedDelay:
    """Send to the node that is expected to answer first. By name: "shortest_expected_delay".

    Args:
        decay_s: Time constant of forgetting in seconds, above 0; 10 by default, about 1,000 service times of 10 ms.
        gamma: How strongly learned latency counts against requests in flight, 0 (not at all) to 1; 0.5 by default.
        penalty_s: Least latency recorded for a failure, in seconds, above 0; 5 by default (Linkerd's load-biaser).
            A failure also counts at least a hundred times the mean, so that slow services have a penalty too.

    Raises:
        ConfigError: A value is out of range.
    """

    decay_s: float = 10.0
    gamma: float = 0.5
    penalty_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.decay_s > 0 or not self.penalty_s > 0:
            raise ConfigError("ShortestExpectedDelay: decay_s and penalty_s must be above 0 seconds")
        if not 0 <= self.gamma <= 1:
            raise ConfigError(f"ShortestExpectedDelay: gamma must be from 0 to 1, not {self.gamma!r}")

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return _ExpectedDelayPicker(self, rng)


class _ExpectedDelayPicker:
    # node.estimate is d; node.stamp is s, below 0 before the first answer; node.cost is cached. node.recent is the
    # share of the picks, node.charge follows from it, and node.counted is node.picks when it was last looked at.
    __slots__ = (
        "_answers", "_decay", "_fade", "_gamma", "_index", "_mean", "_nodes", "_penalty", "_total", "_turn", "_weight",
    )  # fmt: skip

    PENALTY_MEANS = math.log(100.0)

    def __init__(self, config: ShortestExpectedDelay, rng: Random) -> None:
        self._decay = config.decay_s
        self._fade = 3.0 * config.decay_s
        self._gamma = config.gamma
        self._penalty = math.log(config.penalty_s)
        self._mean = 0.0
        self._answers = 0
        self._index = LeastIndex(rng)
        self._nodes: Sequence[Node] = ()
        self._turn = 0
        self._total = 0.0  # of the weights; self._weight is their mean
        self._weight = 0.0

    def rebuild(self, ready: Sequence[Node], now: float) -> None:
        for node in ready:
            node.counted = node.picks
            node.cost = self._cost(node, now)
        self._nodes = ready
        self._total = sum(node.weight for node in ready)
        self._weight = self._total / len(ready)
        self._index.reindex(ready)

    def joined(self, node: Node, now: float) -> None:
        node.counted = node.picks
        node.cost = self._cost(node, now)
        self._total += node.weight
        self._weight = self._total / len(self._nodes)
        self._index.insert(node)

    def left(self, node: Node) -> None:
        total = self._total - node.weight
        if total < 0.001 * self._total:  # mostly rounding, after a weight beside which the others are nothing
            total = sum(other.weight for other in self._nodes)
        self._total = total
        self._weight = total / max(1, len(self._nodes))
        self._index.left(node)

    def _cost(self, node: Node, now: float) -> float:
        faded = node.estimate * math.exp((node.stamp - now) / self._fade)
        return math.exp(self._gamma * faded) * node.charge / node.weight

    def pick(self, info: PickInfo, now: float) -> Node:
        nodes = self._nodes
        turn = self._turn + 1
        self._turn = turn = turn if turn < len(nodes) else 0
        stale = nodes[turn]
        share = (stale.picks - stale.counted) * self._weight / stale.weight
        stale.counted = stale.picks
        stale.recent += RECENT_WEIGHT * (share - stale.recent)
        charge = 0.95 + 0.05 * stale.recent
        stale.charge = 0.975 if charge < 0.975 else 1.1 if charge > 1.1 else charge
        cost = self._cost(stale, now)
        if not 0.99 * cost < stale.cost < 1.01 * cost:
            stale.cost = cost
            self._index.released(stale)
        return self._index.pick(info, now)

    def observe(self, node: Node, outcome: Outcome, latency_s: float, now: float) -> None:
        answer = math.log(latency_s if latency_s > SHORTEST_S else SHORTEST_S)
        if outcome.result is Result.OK:
            self._answers = answers = self._answers + 1
            # The plain mean of the first hundred answers, then a moving one.
            self._mean += max(MEAN_WEIGHT, 1.0 / answers) * (answer - self._mean)
        else:
            answer = max(answer, self._penalty)
            if outcome.retry_after_s is not None and outcome.retry_after_s > 1.0:
                answer = max(answer, math.log(outcome.retry_after_s))
        apart = answer - self._mean
        if outcome.result is not Result.OK and (apart < self.PENALTY_MEANS or not self._answers):
            apart = self.PENALTY_MEANS
        keep = math.exp((node.stamp - now) / self._decay) if node.stamp >= 0.0 else OLD_WEIGHT
        if keep > OLD_WEIGHT:
            keep = OLD_WEIGHT
        node.estimate += (1.0 - keep) * (apart - node.estimate)
        node.stamp = now
        node.cost = math.exp(self._gamma * node.estimate) * node.charge / node.weight
        self._index.released(node)

    def released(self, node: Node) -> None:
        self._index.released(node)
