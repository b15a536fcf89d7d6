"""Outlier detection in a balancer: which outcomes are compared, and how it gets along with the circuit breakers.

Both can keep an endpoint out: its circuit for its own record, such as failures in a row; the detector for being worse
than its siblings. An incident is judged by one of them, once:

1. Whoever puts an endpoint out clears what the other has counted by the same rule. An ejection clears the circuit's
   record. A circuit that opens clears the detector's rows of failures, and the counts of the interval if it looks at
   rates itself. If it does not, they stay: an endpoint that is bad again and again, and whose circuit opens again and
   again for a second, is then ejected. One row cannot do that: it is a few calls of a hundred.
2. What began before that, or while the endpoint was out, counts for neither. The circuit's ticket says so. So the
   hundred requests that were in flight when it died are at most a row.
3. The trials of an endpoint whose circuit is open or half-open, and what it answers when the cluster fails open, are
   the circuit's business alone. What was counted of it before may still eject it at the end of the interval.
4. An ejection takes over: it is the stronger gate, and the circuit behind it is closed. There are no trials then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from random import Random

from lbkit.balancer.node import Node
from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import Outcome, Result
from lbkit.health import OutlierDetection
from lbkit.health.outlier import OutlierDetector, Sibling

OK = Result.OK  # looked up once, as in the circuit


class Comparison:
    """Compares the nodes of one balancer. Touched only under the balancer's lock, but for `sibling`."""

    __slots__ = ("detector",)

    def __init__(self, config: OutlierDetection, rng: Random) -> None:
        self.detector = OutlierDetector(config, rng)

    @staticmethod
    def sibling(endpoint: Endpoint) -> Sibling:
        """Make what a new node is known by."""
        return Sibling(endpoint.id)

    def replace(self, gone: Iterable[Node], fresh: Iterable[Node], now: float) -> None:
        """Compare the fresh in place of those that are gone."""
        self.detector.join([node.sibling for node in fresh if node.sibling is not None], now)
        self.detector.leave([node.sibling for node in gone if node.sibling is not None], now)

    def record(self, node: Node, ticket: int, outcome: Outcome, started: float, took_s: float, now: float) -> None:
        """Count an outcome that the circuit has heard of already. Who has moved for it is said by `moved`."""
        circuit, sibling = node.health.circuit, node.sibling
        if sibling is None:
            return
        if circuit.refuses:
            sibling.end_rows()
            if circuit.window is not None:
                self.detector.excuse(sibling, now)
        elif ticket == circuit.generation:
            if outcome.result is OK:
                self.detector.good(sibling, started, now, took_s)
            else:
                self.detector.record(sibling, outcome, started=started, now=now, took_s=took_s)

    def moved(self, nodes: Mapping[str, Node]) -> Iterator[tuple[Node, str]]:
        """Return those of the nodes that were ejected or have come back, and why."""
        changed = dict.fromkeys(self.detector.changed)
        self.detector.changed.clear()
        for sibling in changed:
            node = nodes.get(sibling.id)
            if node is not None and node.sibling is sibling:
                if sibling in self.detector.ejected:
                    node.health.circuit.excuse()
                yield node, sibling.cause
