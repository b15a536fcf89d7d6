"""The loop for anything: one table of scenarios, run in sync code, on asyncio and on trio."""

import copy
import errno
import socket

import pytest

from lbkit import (
    CircuitBreaker,
    FailClosed,
    NoEndpointAvailable,
    RetryPolicy,
    Wait,
)
from lbkit.runtime import attempts as module
from tests.unit.runtime.attempting import REFUSED, RESET, Bug, Vendor, make, script

SCENARIOS = {
    # name: (steps, replayable, hosts seen, what comes out, failures counted)
    "first attempt good": (["done"], False, "a", "done", 0),
    "refused, then good": ([REFUSED, "done"], False, "ab", "done", 1),
    "refused twice, then good": ([REFUSED, REFUSED, "done"], False, "abc", "done", 2),
    "refused until the attempts are used up": ([REFUSED] * 3, False, "abc", ConnectionRefusedError, 3),
    "name not found": ([socket.gaierror(socket.EAI_NONAME, "?"), "done"], False, "ab", "done", 1),
    "reset, may run twice": ([RESET, "done"], True, "ab", "done", 1),
    "reset, must not run twice": ([RESET], False, "a", ConnectionResetError, 1),
    "timeout, may run twice": ([TimeoutError(), "done"], True, "ab", "done", 1),
    "timeout, must not run twice": ([TimeoutError()], False, "a", TimeoutError, 1),
    "a bug, may run twice": ([Bug("x")], True, "a", Bug, 0),
    "a bug after a failure": ([REFUSED, Bug("x")], True, "ab", Bug, 1),
    "a driver's own error, not named": ([Vendor("x")], True, "a", Vendor, 0),
    "a missing file of the user's": (
        [FileNotFoundError(errno.ENOENT, "no", "/etc/x")],
        True,
        "a",
        FileNotFoundError,
        0,
    ),
    "too many open files here": ([OSError(errno.EMFILE, "too many")], True, "a", OSError, 0),
    "interrupted": ([KeyboardInterrupt()], True, "a", KeyboardInterrupt, 0),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_becomes_of_an_attempt(drive, clock, name):
    """Where the loop goes, what it ends with, and what counts against an endpoint."""
    steps, replayable, hosts, outcome, failures = SCENARIOS[name]
    steps = [copy.copy(step) for step in steps]  # notes and tracebacks are not shared between tests
    cluster = make(clock, "a", "b", "c")
    body, seen = script(*steps)
    loop = cluster.attempts(replayable=replayable)
    if isinstance(outcome, str):
        assert drive(loop, body) == outcome
    else:
        with pytest.raises(outcome) as caught:
            drive(loop, body)
        assert caught.value is steps[-1]
    assert "".join(seen) == hosts
    stats = cluster.stats()
    assert stats.failures == failures
    assert (stats.calls, stats.attempts) == (1, len(hosts))
    assert all(one.in_flight == 0 for one in stats.endpoints)


def test_the_last_error_carries_the_history_as_a_note(drive, clock):
    """It is the endpoint's own error, untouched but for the note."""
    error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    body, _ = script(REFUSED, REFUSED, error)
    with pytest.raises(ConnectionRefusedError) as caught:
        drive(make(clock, "a", "b", "c").attempts(), body)
    (note,) = caught.value.__notes__
    assert note == "lbkit: 3 attempts: " + ", ".join(
        f"{name}:80 ConnectionRefusedError after 0.000 s" for name in "abc"
    )


def test_a_users_own_error_after_a_failure_says_what_had_failed_before(drive, clock):
    """The note is about the attempts before; the bug itself is not among them."""
    error = Bug("x")
    body, _ = script(REFUSED, error)
    with pytest.raises(Bug):
        drive(make(clock, "a", "b").attempts(), body)
    assert error.__notes__ == ["lbkit: 1 attempt: a:80 ConnectionRefusedError after 0.000 s"]


def test_named_errors_are_the_endpoints(drive, clock):
    """A driver's root exception is retried like any other lost connection."""
    cluster = make(clock, "a", "b")
    body, seen = script(Vendor("x"), "done")
    assert drive(cluster.attempts(replayable=True, errors=Vendor), body) == "done"
    assert (seen, cluster.stats().failures) == (["a", "b"], 1)


def test_when_no_endpoint_is_left_the_endpoints_own_error_comes_out(drive, clock):
    """Not a NoEndpointAvailable that hides what happened: that is in the note."""
    cluster = make(clock, "a", on_empty=FailClosed(), breaker=CircuitBreaker(failures=1, open_s=60, open_max_s=60))
    error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    body, seen = script(error)
    with pytest.raises(ConnectionRefusedError) as caught:
        drive(cluster.attempts(), body)
    assert caught.value is error
    assert seen == ["a"]
    assert "then NoEndpointAvailable: orders: 1 endpoint, 1 open" in error.__notes__[0]


def test_when_nothing_was_tried_no_endpoint_available_comes_out(drive, clock):
    """With its reasons."""
    cluster = make(clock, "a", on_empty=FailClosed())
    cluster.drain("a:80")
    with pytest.raises(NoEndpointAvailable) as caught:
        drive(cluster.attempts(), script()[0])
    assert dict(caught.value.reasons) == {"draining": 1}


def test_a_retry_to_the_same_endpoint_waits(drive, clock):
    """Half a second each, by the policy's wait."""
    began = clock()
    body, seen = script(REFUSED, REFUSED, "done")
    assert drive(make(clock, "a").attempts(), body) == "done"
    assert seen == ["a", "a", "a"]
    assert clock() - began == 1.0


def test_a_waiting_cluster_is_waited_for(drive, clock):
    """The loop sleeps until the endpoint may be tried again."""
    breaker = CircuitBreaker(failures=1, open_s=2.0, jitter_ratio=0)
    cluster = make(clock, "a", on_empty=Wait(timeout=10.0), breaker=breaker)
    began = clock()
    body, _ = script(REFUSED, "done")
    assert drive(cluster.attempts(), body) == "done"
    assert clock() - began == pytest.approx(2.0, abs=0.03)


def test_the_deadline_ends_the_retries(drive, clock):
    """Waits of half a second fit twice into 1.2 seconds; the error is the endpoint's."""
    cluster = make(clock, "a", retry=RetryPolicy(attempts=10, wait=lambda state: 0.5))
    body, seen = script(*[REFUSED] * 10)
    with pytest.raises(ConnectionRefusedError):
        drive(cluster.attempts(deadline=1.2), body)
    assert len(seen) == 3


def test_a_deadline_that_passes_while_the_loop_sleeps_gives_the_endpoints_error(drive, clock, monkeypatch):
    """The machine slept longer than it was told to: the note says why there was no further attempt."""
    error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    async def oversleep(seconds):
        clock.advance(60.0)

    monkeypatch.setattr(module.time, "sleep", lambda seconds: clock.advance(60.0))
    monkeypatch.setattr(module.anyio, "sleep", oversleep)
    with pytest.raises(ConnectionRefusedError) as caught:
        drive(make(clock, "a").attempts(deadline=5.0), script(error)[0])
    assert caught.value is error
    assert "then DeadlineExceeded" in error.__notes__[0]


def test_what_is_left_of_the_deadline_can_be_asked_for(drive, clock):
    """For the timeouts of the work itself."""

    def ask(attempt):
        assert attempt.remaining() == pytest.approx(5.0)
        clock.advance(2.0)
        assert attempt.remaining() == pytest.approx(3.0)
        return "done"

    cluster = make(clock, "a")
    assert drive(cluster.attempts(deadline=5.0), script(ask)[0]) == "done"
    assert drive(cluster.attempts(), script(lambda attempt: attempt.remaining() is None)[0]) is True


def test_a_bad_answer_can_be_said_and_is_retried(drive, clock):
    """`fail` goes on elsewhere if the work may run twice, and ends the loop otherwise."""

    def bad(attempt):
        attempt.fail("status 503")

    cluster = make(clock, "a", "b")
    body, seen = script(bad, "done")
    assert drive(cluster.attempts(replayable=True), body) == "done"
    assert seen == ["a", "b"]
    assert cluster.stats().failures == 1
    for kwargs, options in (({}, {"retry": True}), ({"replayable": True}, {"retry": False})):
        body, seen = script(lambda attempt, options=options: attempt.fail("no", **options))
        assert drive(make(clock, "a", "b").attempts(**kwargs), body) == "ended"
        assert seen == ["a"]


def test_push_back_can_be_said_and_pauses_the_endpoint(drive, clock):
    """With the seconds that the endpoint asked for; it counts as no failure."""
    cluster = make(clock, "a", "b")
    body, seen = script(lambda attempt: attempt.fail("429", retry_after_s=20.0), "done")
    assert drive(cluster.attempts(replayable=True), body) == "done"
    assert seen == ["a", "b"]
    assert [one.state for one in cluster.stats().endpoints] == ["paused", "ready"]
    assert cluster.stats().failures == 0


def test_each_loop_over_attempts_is_a_call_of_its_own(drive, clock):
    """An Attempts that is kept can be used again."""
    cluster = make(clock, "a", "b")
    loop = cluster.attempts()
    for _ in range(3):
        assert drive(loop, script("done")[0]) == "done"
    assert cluster.stats().calls == 3


def test_an_attempt_that_is_left_out_of_with_ends_the_loop_and_is_given_back(clock):
    """It was never used, so it is nobody's failure; a ResourceWarning names the cluster."""
    cluster = make(clock, "a")
    assert len(list(cluster.attempts())) == 1
    with pytest.warns(ResourceWarning, match="orders"):
        stats = cluster.stats()
    assert (stats.abandoned, stats.endpoints[0].in_flight, stats.failures) == (1, 0, 0)


def test_breaking_out_of_the_with_block_is_a_success(clock):
    """The work was done; nothing is left in flight."""
    cluster = make(clock, "a")
    for attempt in cluster.attempts():
        with attempt:
            break
    stats = cluster.stats()
    assert (stats.attempts, stats.failures, stats.endpoints[0].in_flight) == (1, 0, 0)


def test_nothing_happens_before_the_loop_begins(clock):
    """Neither is the cluster opened nor a call counted."""
    cluster = make(clock, "a")
    cluster.attempts()
    assert cluster.stats().calls == 0
    assert "not opened yet" in repr(cluster)
