"""The loop for anything: wrong arguments, cancellation, and how exceptions are read."""

import errno
import socket
import ssl

import anyio
import pytest

from lbkit import (
    ClusterClosed,
    ConfigError,
    DeadlineExceeded,
    NoEndpointAvailable,
)
from lbkit.core.outcome import CANCELLED, Result
from lbkit.runtime.attempts import classify
from lbkit.testing import ManualClock
from tests.unit.runtime.attempting import REFUSED, RESET, make, script


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deadline": 0}, "attempts: deadline must be above 0"),
        ({"deadline": -5}, "attempts: deadline must be above 0"),
        ({"errors": "OSError"}, "attempts: errors are exception classes"),
        ({"errors": (OSError, 5)}, "attempts: errors are exception classes"),
        ({"errors": OSError()}, "attempts: errors are exception classes"),
    ],
)
def test_wrong_arguments_are_refused_before_the_loop(clock, options, message):
    """Where they are given."""
    with pytest.raises(ConfigError, match=message):
        make(clock, "a").attempts(**options)


def test_cancellation_is_nobodys_failure_on_either_loop():
    """A task that is cancelled inside `with attempt` is not retried and counts against nobody."""
    for backend in ("asyncio", "trio"):
        cluster = make(ManualClock(), "a", "b")

        async def cancelled(cluster=cluster):
            seen = []
            with anyio.CancelScope() as scope:
                async for attempt in cluster.attempts(replayable=True):
                    with attempt as endpoint:
                        seen.append(endpoint.host)
                        scope.cancel()
                        await anyio.lowlevel.checkpoint()
            return seen

        assert anyio.run(cancelled, backend=backend) == ["a"]
        stats = cluster.stats()
        assert (stats.failures, stats.retries, stats.endpoints[0].in_flight) == (0, 0, 0)


def chained(cause):
    error = OSError("All connection attempts failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (REFUSED, Result.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, "no route"), Result.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "no network"), Result.UNREACHABLE),
        (FileNotFoundError(errno.ENOENT, "no unix socket"), Result.UNREACHABLE),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), Result.UNREACHABLE),
        (chained(REFUSED), Result.UNREACHABLE),
        (chained(ExceptionGroup("both", [REFUSED, OSError(errno.ENETUNREACH, "v6")])), Result.UNREACHABLE),
        (chained(ExceptionGroup("both", [REFUSED, TimeoutError()])), Result.NO_ANSWER),
        (chained(None), Result.NO_ANSWER),
        (RESET, Result.NO_ANSWER),
        (BrokenPipeError(errno.EPIPE, "pipe"), Result.NO_ANSWER),
        (TimeoutError(), Result.NO_ANSWER),
        (ssl.SSLError(1, "handshake"), Result.NO_ANSWER),
        (OSError(errno.ETIMEDOUT, "timed out"), Result.NO_ANSWER),
        (OSError(errno.EMFILE, "too many open files"), Result.CANCELLED),
        (FileNotFoundError(errno.ENOENT, "no", "orders.json"), Result.CANCELLED),
        (PermissionError(errno.EACCES, "no", "/etc/shadow"), Result.CANCELLED),
        (NoEndpointAvailable("other", {}), Result.CANCELLED),
        (DeadlineExceeded("other"), Result.CANCELLED),
        (ValueError("x"), Result.CANCELLED),
        (KeyboardInterrupt(), Result.CANCELLED),
    ],
)
def test_exceptions_are_classified_by_how_far_the_attempt_got(error, result):
    """Never sent, perhaps acted on, or none of the endpoint's business."""
    outcome = classify(error, ())
    assert outcome.result is result
    if result is Result.CANCELLED:
        assert outcome is CANCELLED
    else:
        assert outcome.cause == type(error).__name__


def test_a_closed_cluster_gives_no_attempts(drive, clock):
    """It says so when the loop begins."""
    cluster = make(clock, "a")
    loop = cluster.attempts()
    cluster.close()
    with pytest.raises(ClusterClosed, match="orders was closed: make a new Cluster"):
        drive(loop, script("done")[0])
