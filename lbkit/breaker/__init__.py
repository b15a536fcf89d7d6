"""The circuit breaker of one endpoint."""

from __future__ import annotations

from lbkit.breaker.circuit import Circuit, CircuitBreaker, State

__all__ = ["Circuit", "CircuitBreaker", "State"]
