"""What keeps an endpoint out, and the tracker that joins it into *ready* or one named reason."""

from __future__ import annotations

from lbkit.health.tracker import Gate, HealthTracker, Standing

__all__ = ["Gate", "HealthTracker", "Standing"]
