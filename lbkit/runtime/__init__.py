"""What users hold: clusters, their lifecycle, and the loop for anything that lbkit does not wrap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # A guard needs the standard library alone, so what lies beside it is looked for when it is used.
    from lbkit.runtime.cluster import Cluster

__all__ = ["Cluster"]


if not TYPE_CHECKING:  # so that type checkers know the names there are

    def __getattr__(name: str) -> Any:
        if name != "Cluster":
            raise AttributeError(f"module 'lbkit.runtime' has no attribute {name!r}")
        value = globals()[name] = importlib.import_module("lbkit.runtime.cluster").Cluster
        return value
