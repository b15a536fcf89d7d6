"""What happens when no endpoint is ready: a choice, never an accident. Counted in the statistics whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from lbkit.retry.policy import check_timeout


@dataclass(frozen=True, slots=True)
class FailOpen:
    """Use the endpoints that are kept out for presumed trouble (open, half-open, ejected, paused). The default.

    Client-side verdicts can be wrong for all endpoints at once, for instance when it is the client's own network that
    fails; and with everything down it is what finds the first endpoint that returns. Envoy does the same below its
    panic threshold. Endpoints that are draining or have weight 0 are never used.
    """


@dataclass(frozen=True, slots=True)
class FailClosed:
    """Raise `NoEndpointAvailable` at once: for callers that have something better to do than to wait (nginx's way)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until an endpoint is ready, then raise `NoEndpointAvailable`.

    Args:
        timeout: Most seconds to wait, above 0; 5 by default. The deadline of the call ends the wait too.

    Raises:
        ConfigError: `timeout` is not above 0.
    """

    timeout: float = 5.0

    def __post_init__(self) -> None:
        check_timeout("Wait: timeout", self.timeout)
        if self.timeout is None:
            check_timeout("Wait: timeout", 0)


OnEmpty = FailOpen | FailClosed | Wait
