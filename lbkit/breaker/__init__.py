"""The circuit breaker: of one endpoint of a cluster, or used alone as a guard."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lbkit.breaker.circuit import Circuit, State
from lbkit.breaker.config import CircuitBreaker, Mode
from lbkit.breaker.report import ChangeListener, CircuitChanged, GuardStats

if TYPE_CHECKING:
    # What it does is done on a floor above, so it is looked for when it is used.
    from lbkit.runtime.guard import Guard

__all__ = ["ChangeListener", "Circuit", "CircuitBreaker", "CircuitChanged", "Guard", "GuardStats", "Mode", "State"]


if not TYPE_CHECKING:  # so that type checkers know the names there are

    def __getattr__(name: str) -> Any:
        if name != "Guard":
            raise AttributeError(f"module 'lbkit.breaker' has no attribute {name!r}")
        value = globals()[name] = importlib.import_module("lbkit.runtime.guard").Guard
        return value
