"""Trying again: what one call may do, and what all calls together may do."""

from __future__ import annotations

from lbkit.retry.budget import Budget, RetryBudget
from lbkit.retry.policy import RetryPolicy, RetryState

__all__ = ["Budget", "RetryBudget", "RetryPolicy", "RetryState"]
