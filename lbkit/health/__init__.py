"""What keeps an endpoint out, and the tracker that joins it into *ready* or one named reason."""

from __future__ import annotations

from lbkit.health.outlier import FailureRate, Limit, OutlierDetection, SlowRate, Streak, SuccessRate
from lbkit.health.tracker import Gate, HealthTracker, Standing

__all__ = [
    "FailureRate",
    "Gate",
    "HealthTracker",
    "Limit",
    "OutlierDetection",
    "SlowRate",
    "Standing",
    "Streak",
    "SuccessRate",
]
