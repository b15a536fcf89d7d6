"""What a guard writes to the log by itself: its changes. The logger is named "lbkit"."""

from __future__ import annotations

import logging

from lbkit.balancer.log import logger
from lbkit.breaker.circuit import State
from lbkit.breaker.report import CircuitChanged


def log_change(change: CircuitChanged) -> None:
    """Log a change: a warning when a circuit opens, information when it comes back."""
    logger.log(
        logging.WARNING if change.after is State.OPEN else logging.INFO,
        "%s: the circuit is %s (was %s, %s), mode %s",
        change.name,
        change.after.value,
        change.before.value,
        change.cause,
        change.mode.value,
        extra={
            "lbkit_guard": change.name,
            "lbkit_before": change.before.value,
            "lbkit_after": change.after.value,
            "lbkit_mode": change.mode.value,
            "lbkit_cause": change.cause,
            "lbkit_for_s": change.for_s,
        },
    )
