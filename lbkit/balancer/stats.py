"""What a cluster knows of itself, as values: readable as a table, serialisable as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from lbkit.balancer.node import Node
from lbkit.health.outlier import Detector, Tally


@dataclass(slots=True)
class Counts:
    """What a balancer counts over its life.

    Attributes:
        calls: Calls begun, refused ones included.
        attempts: Attempts sent.
        failures: Attempts that counted against an endpoint.
        retries, retries_refused: Retries granted and refused by the budget.
        failed_open: Attempts sent to an endpoint that was kept out, because none was ready.
        refused: Times that no endpoint could be given although the membership is known; a call that waits for one is
            counted with every look.
        abandoned: Leases dropped without release.
    """

    calls: int = 0
    attempts: int = 0
    failures: int = 0
    retries: int = 0
    retries_refused: int = 0
    failed_open: int = 0
    refused: int = 0
    abandoned: int = 0


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """One endpoint.

    Attributes:
        state: "ready" or the reason why it is kept out.
        cause: What put it there.
        since_s: Seconds that it has stood there.
        until_s: Seconds until that may change by itself, or None.
        attempts, failures: Attempts sent, attempts that counted against it.
        share: Its part of the attempts sent to the endpoints listed, 0 to 1.
        latency_ms: Moving mean of the time to the head of good answers, or None before the first.
    """

    endpoint: str
    state: str
    cause: str
    since_s: float
    until_s: float | None
    weight: float
    priority: int
    zone: str
    in_flight: int
    attempts: int
    failures: int
    share: float
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One source of endpoints.

    Attributes:
        source: Its name, such as "dns://orders.internal:8080".
        state: "starting", "live", "stale" (the last good set is kept), "empty" or "failed" (nothing is known).
        problem: The last error, or what is wrong with the last answer; empty where all is well.
        endpoints: How many it gives.
        age_s: Seconds since its last usable answer, or None before the first.
        next_s: Seconds until it is asked again; 0 while it is asked, None for never.
    """

    source: str
    state: str
    problem: str
    endpoints: int
    age_s: float | None
    next_s: float | None

    def __str__(self) -> str:
        age = "no answer yet" if self.age_s is None else f"answered {self.age_s:.1f} s ago"
        count = f"{self.endpoints} endpoint{'' if self.endpoints == 1 else 's'}"
        text = f"source {self.source}: {self.state}, {count}, {age}"
        return f"{text}; {self.problem}" if self.problem else text


@dataclass(frozen=True, slots=True)
class OutlierStats:
    """What one detector of outliers has found, over the cluster's life.

    Attributes:
        detector: Its name, such as "success_rate".
        detected: Outliers found.
        ejected: Those of them that were ejected.
        over_limit: Those that were not, because enough endpoints were. The rest were not enforced.
    """

    detector: str
    detected: int
    ejected: int
    over_limit: int

    def __str__(self) -> str:
        return (
            f"outliers by {self.detector}: {self.detected} detected, {self.ejected} ejected, "
            f"{self.over_limit} over the limit"
        )


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """A cluster at one moment. `print` it for a table; `to_json` for machines. See `Counts` for the numbers.

    Attributes:
        sources: Where its endpoints come from, in the order in which they are written; empty for static ones.
        outliers: What outlier detection has found, by detector; empty where it is off.
    """

    cluster: str
    calls: int
    attempts: int
    failures: int
    retries: int
    retries_refused: int
    failed_open: int
    refused: int
    abandoned: int
    endpoints: tuple[EndpointStats, ...]
    sources: tuple[SourceStats, ...] = ()
    outliers: tuple[OutlierStats, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return plain dicts, lists, numbers and text."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the same as one line of JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def __str__(self) -> str:
        width = max([len(one.endpoint) for one in self.endpoints] + [8])
        summary = (
            f"{self.cluster}: {self.calls} calls, {self.attempts} attempts, {self.failures} failures, "
            f"{self.retries} retries ({self.retries_refused} refused), {self.failed_open} failed open"
        )
        if self.refused:
            summary += f", {self.refused} times none to give"
        tiers = any(one.priority for one in self.endpoints)
        head = (
            f"{'endpoint':<{width}}  {'state':<22} {'weight':>6} {'in flight':>9} {'attempts':>9} {'share':>6} "
            f"{'failures':>8} {'latency':>10}{' priority' if tiers else ''}"
        )
        lines = [summary, head]
        for one in self.endpoints:
            state = one.state if one.until_s is None else f"{one.state} for {one.until_s:.1f} s"
            latency = "-" if one.latency_ms is None else f"{one.latency_ms:.2f} ms"
            lines.append(
                f"{one.endpoint:<{width}}  {state:<22} {one.weight:>6g} {one.in_flight:>9} {one.attempts:>9} "
                f"{one.share:>6.1%} {one.failures:>8} {latency:>10}{f' {one.priority:>8}' if tiers else ''}"
            )
        return "\n".join([*lines, *map(str, self.sources), *map(str, self.outliers)])


def describe(
    cluster: str, nodes: Iterable[Node], counts: Counts, tallies: Mapping[Detector, Tally], now: float
) -> ClusterStats:
    """Make the statistics of `nodes` at `now`; called under the balancer's lock."""
    nodes = list(nodes)
    picks = sum(node.picks for node in nodes)
    endpoints = tuple(
        EndpointStats(
            endpoint=node.endpoint.id,
            state=node.standing.value,
            cause=node.cause,
            since_s=round(max(0.0, now - node.since), 3),
            until_s=round(max(0.0, node.until - now), 3) if math.isfinite(node.until) else None,
            weight=node.weight,
            priority=node.endpoint.priority,
            zone=node.endpoint.zone,
            in_flight=node.in_flight,
            attempts=node.picks,
            failures=node.failures,
            share=node.picks / picks if picks else 0.0,
            latency_ms=round(node.latency_s * 1000, 3) if node.latency_s else None,
        )
        for node in nodes
    )
    outliers = tuple(OutlierStats(detector.value, **asdict(tally)) for detector, tally in tallies.items())
    return ClusterStats(cluster=cluster, endpoints=endpoints, outliers=outliers, **asdict(counts))
