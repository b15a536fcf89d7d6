"""What a cluster writes to the log by itself: changes of standing, and of sources. The logger is named "lbkit"."""

from __future__ import annotations

import logging

from lbkit.balancer.events import Event, SourceChanged, StandingChanged

logger = logging.getLogger("lbkit")
logger.addHandler(logging.NullHandler())  # a library does not write to stderr unasked


def log_changes(event: Event) -> None:
    """Log a change: a warning when an endpoint or a source goes, information when it returns."""
    if isinstance(event, StandingChanged):
        _log_standing(event)
    elif isinstance(event, SourceChanged):
        _log_source(event)


def _log_standing(event: StandingChanged) -> None:
    level = logging.INFO if event.after.value in ("ready", "half_open") else logging.WARNING
    logger.log(
        level,
        "%s: endpoint %s is %s (was %s, %s)",
        event.cluster,
        event.endpoint,
        event.after.value,
        event.before.value,
        event.cause,
        extra={
            "lbkit_cluster": event.cluster,
            "lbkit_endpoint": event.endpoint,
            "lbkit_before": event.before.value,
            "lbkit_after": event.after.value,
            "lbkit_cause": event.cause,
            "lbkit_for_s": event.for_s,
        },
    )


def _log_source(event: SourceChanged) -> None:
    fine = event.after.value == "live" and not event.problem
    logger.log(
        logging.INFO if fine else logging.WARNING,
        "%s: source %s is %s with %d endpoint%s (was %s)%s",
        event.cluster,
        event.source,
        event.after.value,
        event.endpoints,
        "" if event.endpoints == 1 else "s",
        event.before.value,
        f": {event.problem}" if event.problem else "",
        extra={
            "lbkit_cluster": event.cluster,
            "lbkit_source": event.source,
            "lbkit_before": event.before.value,
            "lbkit_after": event.after.value,
            "lbkit_problem": event.problem,
        },
    )
