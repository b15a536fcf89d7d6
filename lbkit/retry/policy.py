"""The retry policy: what one call may do after a failed attempt. A frozen config: the call decides, nothing sleeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from lbkit.errors import ConfigError

Wait = Callable[[Any], float]
Stop = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, how far apart and for how long one call is tried.

    A retry goes to an endpoint that the call has not used yet, at once; only where all have been used does it wait.

    Args:
        attempts: Most attempts, the first included, at least 1; 3 by default (gRPC allows up to 5, nginx tries all).
        wait: A tenacity wait (or any callable that takes a retry state and returns seconds) for retries to an endpoint
            that was used already. By default tenacity's `wait_random_exponential`, 25 ms doubling to 250 ms with full
            jitter (Envoy's figures).
        stop: A tenacity stop that may end the call before `attempts`; None by default.
        statuses: HTTP statuses that another endpoint may answer better: 429, 502, 503 and 504 by default. They are
            retried only where the request may run twice.
        per_try_timeout: Seconds for one attempt, until the head of the response; None (the default) leaves the host
            library's timeouts as the only ones. Set it: a frozen replica costs this long.
        deadline: Seconds for the whole call: waiting, all attempts, back-off and the body. None (the default) is no
            limit of lbkit's own.
        retry_after_max_s: Longest Retry-After that a call waits for itself, in seconds; 5 by default. The endpoint
            is left alone for as long as it asked, up to `CAP_S`, in any case.

    Raises:
        ConfigError: A value is out of range.
    """

    attempts: int = 3
    wait: Wait | None = None
    stop: Stop | None = None
    statuses: Collection[int] = frozenset({429, 502, 503, 504})
    per_try_timeout: float | None = None
    deadline: float | None = None
    retry_after_max_s: float = 5.0

    CAP_S = 300.0
    """Longest pause that an endpoint may ask for, in seconds (Envoy's and Linkerd's cap)."""

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigError(f"RetryPolicy: attempts must be at least 1 (1 is no retry), not {self.attempts!r}")
        for name in ("wait", "stop"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ConfigError(f"RetryPolicy: {name} must be a tenacity {name} or None, not {getattr(self, name)!r}")
        for name in ("per_try_timeout", "deadline"):
            check_timeout(f"RetryPolicy: {name}", getattr(self, name))
        if not all(isinstance(status, int) and 400 <= status <= 599 for status in self.statuses):
            raise ConfigError("RetryPolicy: statuses must be from 400 to 599")
        if not self.retry_after_max_s >= 0:
            raise ConfigError("RetryPolicy: retry_after_max_s must be at least 0 seconds")
        object.__setattr__(self, "statuses", frozenset(self.statuses))


def check_timeout(name: str, value: float | None) -> None:
    """Refuse a timeout that is not a positive, finite number of seconds or None.

    Raises:
        ConfigError: Which one, and what it should be.
    """
    if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
        raise ConfigError(f"{name} must be above 0 seconds, or None for no limit, not {value!r}")


class RetryState:
    """What tenacity's waits and stops may ask of a call; made only after a failure.

    Attributes:
        attempt_number: Attempts made, from 1.
        seconds_since_start: Age of the call in seconds.
        idle_for: Seconds slept between attempts so far.
        outcome: A future that holds the last attempt's exception, or its outcome where it was a response.
        upcoming_sleep: The delay that is being decided on, for stops that look at it.
    """

    def __init__(self, attempt_number: int, seconds_since_start: float, idle_for: float, last: object) -> None:
        self.attempt_number = attempt_number
        self.seconds_since_start = seconds_since_start
        self.idle_for = idle_for
        self.upcoming_sleep = 0.0
        self.outcome: Future[object] = Future()
        if isinstance(last, BaseException):
            self.outcome.set_exception(last)
        else:
            self.outcome.set_result(last)
