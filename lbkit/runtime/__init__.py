"""What users hold: clusters, their lifecycle, and the loop for anything that lbkit does not wrap."""

from __future__ import annotations

from lbkit.runtime.cluster import Cluster

__all__ = ["Cluster"]
