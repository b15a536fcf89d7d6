"""The events that `Cluster.subscribe` tells, and the standings they name."""

from __future__ import annotations

from lbkit.balancer.events import (
    EndpointAdded,
    EndpointRemoved,
    Event,
    FailedOpen,
    LeasesDropped,
    Listener,
    RetryRefused,
    RetryScheduled,
    StandingChanged,
)
from lbkit.health import Standing

__all__ = [
    "EndpointAdded",
    "EndpointRemoved",
    "Event",
    "FailedOpen",
    "LeasesDropped",
    "Listener",
    "RetryRefused",
    "RetryScheduled",
    "Standing",
    "StandingChanged",
]
