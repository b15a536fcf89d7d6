"""How an attempt ended. Two values are not enough: what the next step may be depends on how far the request got."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Result(enum.Enum):
    """What an endpoint did with one attempt."""

    OK = "ok"
    """It answered well."""
    ERROR = "error"
    """It answered, badly: it counts against the endpoint."""
    UNREACHABLE = "unreachable"
    """It was never reached, so it cannot have acted: safe to send again, whatever the method."""
    NO_ANSWER = "no_answer"
    """The request was sent and no answer came: it may have acted. Only what may happen twice is sent again."""
    OVERLOADED = "overloaded"
    """It pushed back (429, 503 with Retry-After): it rests for a while, but it is not broken."""
    CANCELLED = "cancelled"
    """The caller walked away, or failed by itself: no verdict on the endpoint."""


FAILURES = frozenset({Result.ERROR, Result.UNREACHABLE, Result.NO_ANSWER})
"""The results that count against an endpoint."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's end.

    Attributes:
        result: Which of the six it was.
        retryable: Whether another attempt could help. After UNREACHABLE it always could; of the others the
            integration knows (a 503 may, a 500 may not). Whether it is also *safe* is the call's decision.
        elsewhere: Whether only another endpoint could help, and this one at once could not.
        maybe_sent: With CANCELLED and `retryable`, whether the request may have been acted on all the same.
        retry_after_s: Seconds for which the endpoint asked to be left alone, or None.
        cause: A few words without anything that passed through: an exception's class or a status.
        gateway: Whether an ERROR is what a gateway says when the server behind it does not answer: 502, 503 or 504.
    """

    result: Result
    retryable: bool = False
    retry_after_s: float | None = None
    cause: str = ""
    elsewhere: bool = False
    maybe_sent: bool = False
    gateway: bool = False


OK = Outcome(Result.OK)
CANCELLED = Outcome(Result.CANCELLED, cause="cancelled")
