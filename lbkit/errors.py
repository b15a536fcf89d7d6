"""What lbkit raises: one root, and one class for each next step of the caller.

    LbkitError
     ├─ ConfigError           the call is wrong: fix it (also a ValueError)
     ├─ NoEndpointAvailable   nothing may be used now: wait, shed load, or look at `.reasons` (also a ConnectionError)
     │   └─ NotReady          no membership is known yet: wait for the first snapshot
     ├─ CircuitOpen           a guard refuses the call: do without, or come back later (also a ConnectionError)
     ├─ DeadlineExceeded      the overall deadline has passed (also a TimeoutError)
     ├─ DiscoveryError        the source of endpoints failed
     ├─ ClusterClosed         the cluster was closed: make a new one
     └─ LeaseMisuse           a lease was settled twice: a bug in the code that holds it

An endpoint's own error is never wrapped in one of these: it reaches the caller as it was, with a note on what was
tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class LbkitError(Exception):
    """The root of all errors that lbkit itself raises."""


class ConfigError(LbkitError, ValueError):
    """An argument is wrong. Raised where it is given, with what to write instead."""


class NoEndpointAvailable(LbkitError, ConnectionError):  # noqa: N818 - the name says the state, as gRPC's and psycopg's do
    """No endpoint may be used now.

    Attributes:
        cluster: Name of the cluster.
        reasons: How many endpoints are kept out, by reason, such as `{"open": 2, "draining": 1}`. Empty means
            that the cluster has no endpoints at all.
        retry_after_s: Seconds until the first of them may be tried again, or None where no time is known.
        waits_for: The sources that give no endpoints, and why; empty where that is not the reason.
    """

    _NOTHING = "no endpoints are known"

    def __init__(
        self, cluster: str, reasons: Mapping[str, int], retry_after_s: float | None = None, waits_for: str = ""
    ) -> None:
        self.cluster = cluster
        self.reasons: Mapping[str, int] = MappingProxyType(dict(reasons))
        self.retry_after_s = retry_after_s
        self.waits_for = waits_for
        super().__init__(self._message())

    def _message(self) -> str:
        total = sum(self.reasons.values())
        if not total:
            text = f"{self.cluster}: {self._NOTHING}"
            return f"{text}: {self.waits_for}" if self.waits_for else text
        kept_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        text = f"{self.cluster}: {total} endpoint{'s' if total > 1 else ''}, {kept_out}"
        if self.retry_after_s is not None:
            text += f"; the first may be tried again in {self.retry_after_s:.3g} s"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is pickled: errors of a worker process reach the one that waits for it."""
        given = (self.cluster, dict(self.reasons), self.retry_after_s, self.waits_for)
        return type(self), given, {"__notes__": list(notes)} if (notes := getattr(self, "__notes__", ())) else None


class NotReady(NoEndpointAvailable):
    """The first snapshot of the membership has not come yet: wait for it, or give the cluster static endpoints."""

    _NOTHING = "no membership is known yet"


class CircuitOpen(LbkitError, ConnectionError):  # noqa: N818 - says the state
    """A circuit breaker that is used alone refuses the call: nothing was called.

    Attributes:
        name: Name of the guard.
        state: "open", "half_open" (its trials are out) or "forced_open".
        cause: Why it is so, in a few words.
        retry_after_s: Seconds until a call may be let through, or None where no time is known.
    """

    def __init__(self, name: str, state: str, cause: str, retry_after_s: float | None = None) -> None:
        self.name = name
        self.state = state
        self.cause = cause
        self.retry_after_s = retry_after_s
        text = f"{name}: the circuit is {state} ({cause})"
        if retry_after_s is not None:
            text += f"; it may be tried again in {retry_after_s:.3g} s"
        super().__init__(text)

    def __reduce__(self) -> tuple[type[CircuitOpen], tuple[str, str, str, float | None]]:
        return type(self), (self.name, self.state, self.cause, self.retry_after_s)


class DeadlineExceeded(LbkitError, TimeoutError):  # noqa: N818 - gRPC's and Go's name for it
    """The deadline of a whole call has passed, waiting and retries included."""


class DiscoveryError(LbkitError):
    """A source of endpoints could not be read."""


class ClusterClosed(LbkitError, RuntimeError):  # noqa: N818 - says the state
    """The cluster was closed. It cannot be opened again; make a new one."""


class LeaseMisuse(LbkitError, RuntimeError):  # noqa: N818 - says the deed
    """A lease was reported or released twice: a bug in the code that holds it. Nothing was counted twice."""
