"""The loop for anything lbkit does not wrap: the same three lines in sync and async code.

    for attempt in cluster.attempts(replayable=True):        # or: async for
        with attempt as endpoint:
            return fetch(endpoint.host, endpoint.port)

The `with` block ends an attempt. An `OSError`, or an error that was named, is the endpoint's; any other exception is
the user's own and says nothing about the endpoint.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType

import anyio

from lbkit.balancer.call import Call, Deliver, RetryAfter
from lbkit.balancer.lease import Lease
from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.errors import LbkitError, NoEndpointAvailable

_NEVER_SENT = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENOENT})


def classify(error: BaseException, named: tuple[type[BaseException], ...]) -> Outcome:
    """Say what an exception in a `with attempt` block means for the endpoint."""
    if isinstance(error, LbkitError) or not isinstance(error, (OSError, *named)):
        return CANCELLED
    never_sent = isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno in _NEVER_SENT)
    result = Result.UNREACHABLE if never_sent else Result.NO_ANSWER
    return Outcome(result, retryable=True, cause=type(error).__name__)


class Attempt:
    """One attempt: `with attempt as endpoint`.

    Attributes:
        number: From 1.
        endpoint: Where to go.
    """

    def __init__(self, owner: Attempts, call: Call, lease: Lease, number: int) -> None:
        self._owner = owner
        self._call = call
        self._lease = lease
        self._outcome = OK
        self.number = number
        self.endpoint: Endpoint = lease.endpoint

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, for the timeout of your own work; None where there is no deadline."""
        return self._call.remaining()

    def fail(self, cause: str, *, retry: bool = True, retry_after_s: float | None = None) -> None:
        """Say that the endpoint answered badly. The loop goes on if a retry is allowed, and ends otherwise.

        Args:
            cause: A few words for statistics and messages.
            retry: Whether another endpoint may answer better.
            retry_after_s: Seconds for which the endpoint asked to be left alone: it then rests, and is not broken.
        """
        result = Result.ERROR if retry_after_s is None else Result.OVERLOADED
        self._outcome = Outcome(result, retryable=retry, retry_after_s=retry_after_s, cause=cause)

    def __enter__(self) -> Endpoint:
        return self.endpoint

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        outcome = self._outcome if error is None else classify(error, self._owner.errors)
        verdict = self._call.judge(self._lease, outcome, error=error)
        if isinstance(verdict, RetryAfter):
            self._owner.next_in(verdict.delay_s)
            return error is not None
        if isinstance(verdict, Deliver):
            self._lease.release()
        if error is not None and self._call.failed:
            error.add_note(f"lbkit{self._call.history()}")
        return False


class Attempts:
    """What `Cluster.attempts()` returns: an iterable for `for` and for `async for`, good for one loop."""

    def __init__(self, begin: Callable[[], Call], errors: tuple[type[BaseException], ...]) -> None:
        self._begin = begin
        self._delay_s: float | None = 0.0
        self.errors = errors

    def next_in(self, delay_s: float) -> None:
        """Let the loop go on after `delay_s` seconds."""
        self._delay_s = delay_s

    def _step(self, call: Call, number: int) -> Attempt | float | None:
        """Return the next attempt, the seconds to sleep before asking again, or None at the end."""
        if self._delay_s is None:
            return None
        if self._delay_s > 0:
            delay_s, self._delay_s = self._delay_s, 0.0
            return delay_s
        try:
            lease = call.begin()
        except NoEndpointAvailable as error:
            nap_s = call.patience(error)
            if nap_s is None:
                raise
            return nap_s
        self._delay_s = None  # the loop ends here unless the attempt asks for another
        return Attempt(self, call, lease, number)

    def __iter__(self) -> Iterator[Attempt]:
        call, number = self._begin(), 1
        while (step := self._step(call, number)) is not None:
            if isinstance(step, float):
                time.sleep(step)
                continue
            number += 1
            yield step

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        call, number = self._begin(), 1
        while (step := self._step(call, number)) is not None:
            if isinstance(step, float):
                await anyio.sleep(step)
                continue
            number += 1
            yield step
