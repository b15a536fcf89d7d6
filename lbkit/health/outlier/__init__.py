"""Outlier detection: one endpoint compared with its siblings."""

from __future__ import annotations

from lbkit.health.outlier.config import Limit, OutlierDetection
from lbkit.health.outlier.detector import OutlierDetector, Tally
from lbkit.health.outlier.rates import Detector
from lbkit.health.outlier.rules import FailureRate, SlowRate, Streak, SuccessRate
from lbkit.health.outlier.sibling import Sibling

__all__ = [
    "Detector",
    "FailureRate",
    "Limit",
    "OutlierDetection",
    "OutlierDetector",
    "Sibling",
    "SlowRate",
    "Streak",
    "SuccessRate",
    "Tally",
]
