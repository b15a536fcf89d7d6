"""The loop for anything lbkit does not wrap: the same three lines in sync and async code.

    for attempt in cluster.attempts(replayable=True):        # or: async for
        with attempt as endpoint:
            return fetch(endpoint.host, endpoint.port)

The `with` block ends an attempt. A network's `OSError`, or an error that was named, is the endpoint's; any other
exception is the user's own and says nothing about the endpoint. When no further endpoint can be had, the last error of
an endpoint is raised, with a note on what was tried.
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
from lbkit.errors import DeadlineExceeded, LbkitError, NoEndpointAvailable

_NEVER_SENT = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENOENT})
_OUR_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})
"""This process or machine has run out of something: the next endpoint would not help."""


def classify(error: BaseException, named: tuple[type[BaseException], ...]) -> Outcome:
    """Say what an exception in a `with attempt` block means for the endpoint.

    An `OSError` with a file name comes from the user's files: errors of sockets, unix sockets included, carry none.
    """
    if isinstance(error, LbkitError):
        return CANCELLED
    theirs = isinstance(error, OSError) and error.filename is None and error.errno not in _OUR_OWN
    if not theirs and not isinstance(error, named):
        return CANCELLED
    result = Result.UNREACHABLE if _never_sent(error) else Result.NO_ANSWER
    return Outcome(result, retryable=True, cause=type(error).__name__)


def _never_sent(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_never_sent(one) for one in error.exceptions)
    if not isinstance(error, OSError):
        return False
    if isinstance(error, socket.gaierror) or error.errno in _NEVER_SENT:
        return True
    # anyio.connect_tcp tries every address of a name and raises an error without a number from what they said.
    return error.errno is None and type(error) is OSError and _never_sent(error.__cause__)


class Attempt:
    """One attempt: `with attempt as endpoint`.

    Attributes:
        number: From 1.
        endpoint: Where to go.
    """

    def __init__(self, loop: _Loop, lease: Lease) -> None:
        self._loop = loop
        self._call = loop.call
        self._lease = lease
        self._outcome = OK
        self.number = len(loop.call.failed) + 1
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
        outcome = self._outcome if error is None else classify(error, self._loop.errors)
        verdict = self._call.judge(self._lease, outcome, error=error)
        if isinstance(verdict, RetryAfter):
            self._loop.go_on(verdict.delay_s, error)
            return error is not None
        if isinstance(verdict, Deliver):
            self._lease.release()
        if error is not None and self._call.failed:
            error.add_note(f"lbkit: {self._call.history()}")
        return False


class _Loop:
    """One pass over a call's attempts, sync or async.

    Not a generator: an async one that is left before its end, as every successful loop is, would be finalised by the
    event loop, and trio warns of that.
    """

    def __init__(self, call: Call, errors: tuple[type[BaseException], ...]) -> None:
        self.call = call
        self.errors = errors
        self._delay_s: float | None = 0.0
        self._last: BaseException | None = None

    def go_on(self, delay_s: float, error: BaseException | None) -> None:
        """Let the loop go on after `delay_s` seconds; `error` was swallowed for that."""
        self._delay_s = delay_s
        self._last = error

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        while isinstance(step := self._step(), float):
            time.sleep(step)
        if step is None:
            raise StopIteration
        return step

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        while isinstance(step := self._step(), float):  # noqa: ASYNC110 - what comes next is time's doing alone
            await anyio.sleep(step)
        if step is None:
            raise StopAsyncIteration
        return step

    def _step(self) -> Attempt | float | None:
        """Return the next attempt, the seconds to sleep before asking again, or None at the end."""
        if self._delay_s is None:
            return None
        if self._delay_s > 0:
            delay_s, self._delay_s = self._delay_s, 0.0
            return delay_s
        try:
            lease = self.call.begin()
        except (NoEndpointAvailable, DeadlineExceeded) as error:
            nap_s = self.call.patience(error) if isinstance(error, NoEndpointAvailable) else None
            if nap_s is not None:
                return nap_s
            if self._last is None:
                raise
            self._last.add_note(f"lbkit: {self.call.history()}; then {type(error).__name__}: {error}")
            raise self._last from self._last.__cause__
        self._delay_s = None  # the loop ends here unless the attempt asks for another
        self._last = None
        return Attempt(self, lease)


class Attempts:
    """What `Cluster.attempts()` returns: an iterable for `for` and for `async for`. Each loop over it is a new call."""

    def __init__(self, begin: Callable[[], Call], errors: tuple[type[BaseException], ...]) -> None:
        self._begin = begin
        self._errors = errors

    def __iter__(self) -> Iterator[Attempt]:
        return _Loop(self._begin(), self._errors)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return _Loop(self._begin(), self._errors)
