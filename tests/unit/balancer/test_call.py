"""The call: what comes after each attempt. All rules of retry safety in one table."""

import itertools

import pytest

from lbkit.balancer.call import POLL_S, Call, Deliver, GiveUp, RetryAfter
from lbkit.balancer.empty import FailClosed, FailOpen, Wait
from lbkit.balancer.lease import RELEASED, REPORTED
from lbkit.breaker import CircuitBreaker
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.errors import ConfigError, DeadlineExceeded, NoEndpointAvailable
from lbkit.retry import RetryBudget, RetryPolicy
from tests.unit.balancer.worlds import UNREACHABLE, apply, balancer, host, in_flight, use

BROKEN = ConnectionError("broken")


def expected(outcome, replayable, can_resend, attempts_left, in_time, affordable):
    """Say from the rules, not from the code, whether another attempt is made."""
    if outcome.result is Result.OK or (outcome.result is Result.CANCELLED and not outcome.retryable):
        return False
    safe = outcome.result in (Result.UNREACHABLE, Result.CANCELLED) or (replayable and outcome.retryable)
    free = outcome.result is Result.CANCELLED  # no endpoint has worked on it
    return safe and can_resend and attempts_left and in_time and (affordable or free)


OUTCOMES = [
    OK,
    CANCELLED,
    Outcome(Result.CANCELLED, retryable=True, cause="PoolTimeout"),  # never sent, and not the endpoint's fault
    UNREACHABLE,
    *(
        Outcome(result, retryable=retryable, cause="x")
        for result in (Result.ERROR, Result.NO_ANSWER, Result.OVERLOADED)
        for retryable in (False, True)
    ),
]
YES_NO = (False, True)


@pytest.mark.parametrize(
    ("outcome", "with_error"),
    [(one, with_error) for one in OUTCOMES for with_error in YES_NO if one is not OK or not with_error],
    ids=lambda one: one if isinstance(one, bool) else f"{one.result.value}-{one.retryable}",
)
def test_whether_a_call_goes_on(outcome, with_error):
    """Result x replayable x body can be resent x attempts left x in time x budget: all 32 ways of each outcome."""
    for replayable, can_resend, attempts_left, in_time, affordable in itertools.product(YES_NO, repeat=5):
        budget = RetryBudget() if affordable else RetryBudget(ratio=0, floor=0)
        made, clock = balancer("a", "b", "c", budget=budget)
        policy = RetryPolicy(attempts=2 if attempts_left else 1, deadline=10.0)
        call = Call(made, policy, replayable=replayable)
        lease = call.begin()
        clock.advance(1.0 if in_time else 10.0)
        verdict = call.judge(lease, outcome, error=BROKEN if with_error else None, can_resend=can_resend)
        where = (replayable, can_resend, attempts_left, in_time, affordable)
        if expected(outcome, *where):
            assert verdict == RetryAfter(0.0), where
            assert lease.state == RELEASED
            another = call.begin()
            assert host(another) != host(lease)
            another.release()
        elif with_error:
            assert verdict == GiveUp(), where
            assert lease.state == RELEASED
        else:
            assert verdict == Deliver(), where
            assert lease.state == REPORTED  # the response is the user's; its lease ends with its body
            lease.release()
        stats = made.stats()
        assert stats.retries == isinstance(verdict, RetryAfter)
        wanted = expected(outcome, *where[:-1], True)
        assert stats.retries_refused == (wanted and not affordable and outcome.result is not Result.CANCELLED)


def test_a_retry_goes_to_an_endpoint_that_was_not_tried():
    """Three attempts, three endpoints, no delay between them."""
    made, _ = balancer("a", "b", "c")
    call = Call(made, RetryPolicy(attempts=3), replayable=False)
    names = []
    for verdict in (RetryAfter(0.0), RetryAfter(0.0), GiveUp()):
        lease = call.begin()
        names.append(host(lease))
        assert call.judge(lease, UNREACHABLE, error=BROKEN) == verdict
    assert sorted(names) == ["a", "b", "c"]
    assert call.tried == tuple(f"{name}:80" for name in names)


def test_a_call_counts_once_however_many_attempts_it_makes():
    """Calls feed the retry budget; retries must not."""
    made, _ = balancer("a", "b", "c")
    call = Call(made, RetryPolicy(attempts=3), replayable=False)
    for _ in range(3):
        call.judge(call.begin(), UNREACHABLE, error=BROKEN)
    stats = made.stats()
    assert (stats.calls, stats.attempts, stats.retries) == (1, 3, 2)


def test_the_history_names_endpoint_cause_and_duration_of_each_failed_attempt():
    """It ends up in a note on the user's exception."""
    made, clock = balancer("a", "b")
    call = Call(made, RetryPolicy(attempts=2), replayable=True)
    assert call.history() == ""
    lease = call.begin()
    clock.advance(0.25)
    call.judge(lease, UNREACHABLE, error=BROKEN)
    lease = call.begin()
    clock.advance(1.5)
    call.judge(lease, Outcome(Result.NO_ANSWER, cause="ReadTimeout"), error=BROKEN)
    assert call.history() == "2 attempts: a:80 ConnectError after 0.250 s, b:80 ReadTimeout after 1.500 s"


def test_only_the_first_retry_of_what_was_never_sent_is_free():
    """Each call may go elsewhere once without the budget; from then on it pays like all others."""
    made, _ = balancer("a", "b", "c", budget=RetryBudget(ratio=0, floor=0))
    call = Call(made, RetryPolicy(attempts=5), replayable=True)
    outcome = Outcome(Result.CANCELLED, retryable=True, cause="PoolTimeout")
    assert call.judge(call.begin(), outcome, error=BROKEN) == RetryAfter(0.0)
    assert call.judge(call.begin(), outcome, error=BROKEN) == GiveUp()
    assert (made.stats().retries, made.stats().retries_refused) == (1, 1)


@pytest.mark.parametrize(("endpoints", "verdict"), [("ab", RetryAfter(0.0)), ("a", GiveUp())])
def test_what_only_another_endpoint_can_help_is_not_tried_here_again(endpoints, verdict):
    """`elsewhere`: with one endpoint the call ends at once instead of waiting for more of the same."""
    made, _ = balancer(*endpoints)
    call = Call(made, RetryPolicy(wait=lambda state: 0.5), replayable=True)
    outcome = Outcome(Result.CANCELLED, retryable=True, elsewhere=True, cause="PoolTimeout")
    assert call.judge(call.begin(), outcome, error=BROKEN) == verdict
    assert made.stats().failures == 0


# -- Retry-After


@pytest.mark.parametrize(
    ("retry_after_s", "endpoints", "verdict"),
    [
        (2.0, "ab", RetryAfter(0.0)),  # another endpoint is there: at once
        (600.0, "ab", RetryAfter(0.0)),
        (2.0, "a", RetryAfter(2.0)),  # the same again: not before it asked
        (5.0, "a", RetryAfter(5.0)),
        (5.1, "a", Deliver()),  # longer than a call waits
        (0.0, "a", RetryAfter(0.5)),  # the policy's own wait is the least
        (None, "a", RetryAfter(0.5)),
    ],
)
def test_a_retry_after_is_waited_for_only_where_nobody_else_is_left(retry_after_s, endpoints, verdict):
    """Up to `retry_after_max_s`; the user gets the real answer otherwise."""
    made, _ = balancer(*endpoints)
    call = Call(made, RetryPolicy(wait=lambda state: 0.5), replayable=True)
    outcome = Outcome(Result.OVERLOADED, retryable=True, retry_after_s=retry_after_s, cause="429")
    lease = call.begin()
    assert call.judge(lease, outcome) == verdict
    if verdict == Deliver():
        lease.release()


# -- deadlines


def test_no_retry_begins_whose_wait_would_end_after_the_deadline():
    """The error that there is now is better than a DeadlineExceeded later."""
    made, clock = balancer("a")
    call = Call(made, RetryPolicy(attempts=9, wait=lambda state: 2.0, deadline=5.0), replayable=True)
    delays = []
    while isinstance(verdict := call.judge(call.begin(), UNREACHABLE, error=BROKEN), RetryAfter):
        delays.append(verdict.delay_s)
        clock.advance(verdict.delay_s)
    assert delays == [2.0, 2.0]
    assert call.remaining() == pytest.approx(1.0)


def test_an_attempt_after_the_deadline_is_refused():
    """With what was tried."""
    made, clock = balancer("a", "b")
    call = Call(made, RetryPolicy(deadline=1.0), replayable=True)
    call.judge(call.begin(), UNREACHABLE, error=BROKEN)
    clock.advance(1.0)
    with pytest.raises(DeadlineExceeded, match="orders: the deadline has passed; 1 attempt: a:80 ConnectError"):
        call.begin()
    assert call.remaining() == 0.0


def test_a_deadline_of_the_call_overrules_the_policys():
    """And without either there is none."""
    made, clock = balancer("a")
    policy = RetryPolicy(deadline=10.0)
    assert Call(made, policy, replayable=True, deadline=2.0).remaining() == pytest.approx(2.0)
    assert Call(made, policy, replayable=True).remaining() == pytest.approx(10.0)
    call = Call(made, RetryPolicy(), replayable=True)
    clock.advance(1e6)
    assert call.remaining() is None
    call.begin().release()


# -- waiting for an endpoint


def down(on_empty):
    made, clock = balancer("a", "b", on_empty=on_empty, breaker=CircuitBreaker(failures=1, open_s=60, open_max_s=60))
    use(made, 2, UNREACHABLE)
    return made, clock


@pytest.mark.parametrize("on_empty", [FailClosed(), FailOpen()])
def test_only_a_cluster_that_waits_has_patience(on_empty):
    """The others let the error go to the user at once."""
    made, _ = down(on_empty)
    call = Call(made, RetryPolicy(), replayable=True)
    assert call.patience(NoEndpointAvailable("orders", {})) is None


def wait_out(made, clock, call):
    """Nap as told until an endpoint comes or patience ends; return the seconds and the lease."""
    began = clock()
    while True:
        try:
            return clock() - began, call.begin()
        except NoEndpointAvailable as error:
            nap_s = call.patience(error)
            if nap_s is None:
                return clock() - began, None
            assert 0 < nap_s <= POLL_S
            clock.advance(nap_s)


def test_a_waiting_call_gives_up_after_its_time():
    """After the timeout, to the millisecond, and as one call."""
    made, clock = down(Wait(timeout=3.0))
    calls = made.stats().calls
    waited, lease = wait_out(made, clock, Call(made, RetryPolicy(), replayable=True))
    assert lease is None
    assert waited == pytest.approx(3.0)
    assert made.stats().calls == calls + 1


def test_waiting_does_not_fill_the_retry_budget():
    """Looking again every few milliseconds is not a request each time."""
    made, clock = balancer("a", on_empty=Wait(timeout=1.0), budget=RetryBudget(ratio=1.0, floor=0))
    made.drain("a:80")
    wait_out(made, clock, Call(made, RetryPolicy(), replayable=True))
    assert [made.grant_retry(), made.grant_retry()] == [True, False]


def test_the_time_to_wait_begins_when_nobody_is_there():
    """An attempt that took long before has not used up the patience."""
    made, clock = down(Wait(timeout=3.0))
    made.drain("a:80")
    apply(made, "a", "b", "c")
    call = Call(made, RetryPolicy(), replayable=True)
    lease = call.begin()
    clock.advance(10.0)
    call.judge(lease, UNREACHABLE, error=BROKEN)
    waited, lease = wait_out(made, clock, call)
    assert lease is None
    assert waited == pytest.approx(3.0)


def test_a_waiting_call_takes_the_endpoint_that_returns():
    """Within one look."""
    made, clock = balancer("a", on_empty=Wait(timeout=30.0), breaker=CircuitBreaker(failures=1, jitter_ratio=0))
    use(made, 1, UNREACHABLE)
    waited, lease = wait_out(made, clock, Call(made, RetryPolicy(), replayable=True))
    assert waited == pytest.approx(1.0, abs=0.03)
    lease.release()


def test_the_deadline_ends_the_waiting_too():
    """Whichever is first."""
    made, clock = down(Wait(timeout=30.0))
    call = Call(made, RetryPolicy(deadline=2.0), replayable=True)
    with pytest.raises(DeadlineExceeded):
        wait_out(made, clock, call)
    assert call.remaining() == 0.0


@pytest.mark.parametrize("timeout", [0, -1, None, float("inf"), "5"])
def test_a_wait_without_a_sensible_time_is_refused(timeout):
    """At construction."""
    with pytest.raises(ConfigError, match="Wait: timeout must be above 0"):
        Wait(timeout=timeout)


def test_cancelled_is_neither_counted_nor_tried_again():
    """The user walked away: no failure, no retry, no entry in the history."""
    made, _ = balancer("a", "b")
    call = Call(made, RetryPolicy(), replayable=True)
    assert call.judge(call.begin(), CANCELLED, error=KeyboardInterrupt()) == GiveUp()
    stats = made.stats()
    assert (stats.failures, stats.retries, call.history()) == (0, 0, "")
    assert set(in_flight(made).values()) == {0}
