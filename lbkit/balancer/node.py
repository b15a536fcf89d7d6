"""One endpoint's live state inside one balancer. Touched only under the balancer's lock."""

from __future__ import annotations

import math
from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.health import HealthTracker, Standing
from lbkit.health.outlier import Sibling

LATENCY_WEIGHT = 0.1
"""Weight of one answer in the displayed latency; choosing does not use it."""


class Node:
    """See `lbkit.scheduler.base.Node` for the part that pickers see.

    Attributes:
        listed: Whether the picker has this node in its list. A node may be ready and not listed: in a lower tier.
        standing, since, until: Where it stands, since when, and when that may change by itself.
        cause: Why it stands there, in a few words.
        sibling: What it counts for when it is compared with the others; None where they are not compared.
        picks, failures: Attempts sent, attempts that counted against it.
        latency_s: Moving mean of the time to the head of good answers, in seconds; 0 before the first.
    """

    __slots__ = (
        "cause", "charge", "cost", "counted", "endpoint", "estimate", "failures", "health", "in_flight", "latency_s",
        "listed", "picks", "recent", "scratch", "sibling", "since", "stamp", "standing", "until", "weight",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, health: HealthTracker, now: float, sibling: Sibling | None = None) -> None:
        self.endpoint = endpoint
        self.weight = float(endpoint.weight)
        self.health = health
        self.sibling = sibling
        self.in_flight = 0
        self.picks = 0
        self.failures = 0
        self.latency_s = 0.0
        self.listed = False
        self.standing = Standing.READY
        self.since = now
        self.until = math.inf
        self.cause = ""
        self.scratch: Any = None
        self.forget()

    def successor(self) -> Node:
        """Return a node that knows the same and has nothing in flight: for the child of a fork."""
        node = Node(self.endpoint, self.health, self.since, self.sibling)
        for name in (
            "cost", "estimate", "stamp", "recent", "charge", "counted", "picks", "failures", "latency_s", "standing",
            "until", "cause",
        ):  # fmt: skip
            setattr(node, name, getattr(self, name))
        node.health.circuit.renew()
        return node

    def forget(self) -> None:
        """Drop what the picker has learned: a node that comes back starts as an unknown one."""
        self.cost = 1.0
        self.estimate = 0.0
        self.stamp = -1.0
        self.recent = 1.0
        self.charge = 1.0
        self.counted = 0
        self.scratch = None
