"""The events that `Cluster.subscribe` tells, and the standings and states they name."""

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
    SourceChanged,
    StandingChanged,
)
from lbkit.discovery.keeper import SourceState
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
    "SourceChanged",
    "SourceState",
    "Standing",
    "StandingChanged",
]
