"""The rules and modes of a circuit as an endpoint of a balancer lives them."""

import pytest

from lbkit import CircuitBreaker, FailClosed, NoEndpointAvailable
from lbkit.breaker import Mode
from lbkit.core.outcome import OK
from tests.unit.balancer.worlds import ERROR, balancer, host, tried, use


def states(made):
    return [one.state for one in made.stats().endpoints]


def answer(made, clock, name, took_s, outcome=OK):
    """Use one endpoint; the head of its answer comes after `took_s`, its body a minute later."""
    lease = made.acquire(tried(*"ab".replace(name, "")))
    assert host(lease) == name
    clock.advance(took_s)
    lease.mark_head()
    lease.report(outcome)
    clock.advance(60.0)
    lease.release()


def test_an_endpoint_that_is_slow_and_never_fails_is_kept_out():
    """How long a call takes is the time to the head of its answer."""
    made, clock = balancer("a", "b", breaker=CircuitBreaker(slow_rate=0.5, slow_s=1.0, window_calls=10))
    for _ in range(10):
        answer(made, clock, "b", 0.9)
        answer(made, clock, "a", 1.0)
    assert states(made) == ["open", "ready"]


def test_successes_are_in_the_window_although_no_failure_came_before():
    """Five of fifteen is a third, and not five of five."""
    breaker = CircuitBreaker(failures=None, failure_rate=0.5, window_calls=100, min_calls=5)
    made, _ = balancer("a", breaker=breaker)
    use(made, 10)
    use(made, 9, ERROR)
    assert states(made) == ["ready"]
    use(made, 1, ERROR)
    assert states(made) == ["open"]


def test_a_forced_open_endpoint_gets_nothing_even_when_nothing_else_is_left():
    """Someone decided that; no time and no cluster that fails open changes it."""
    made, clock = balancer("a", breaker=CircuitBreaker(mode=Mode.FORCED_OPEN))
    for _ in range(3):
        clock.advance(1000.0)
        with pytest.raises(NoEndpointAvailable, match="1 forced_open"):
            made.acquire()
    assert states(made) == ["forced_open"]


@pytest.mark.parametrize("mode", [Mode.DISABLED, Mode.METRICS_ONLY])
def test_in_these_modes_nothing_is_kept_out(mode):
    """Not after any number of failures, and not when the open time is over."""
    made, clock = balancer("a", breaker=CircuitBreaker(mode=mode), on_empty=FailClosed())
    for _ in range(20):
        use(made, 5, ERROR)
        clock.advance(1.0)
        assert states(made) == ["ready"]


def half_open():
    made, clock = balancer(
        "a", on_empty=FailClosed(), breaker=CircuitBreaker(failures=1, probe_max_s=10, jitter_ratio=0)
    )
    use(made, 1, ERROR)
    clock.advance(1.0)
    return made, clock


def test_a_trial_that_never_ends_holds_up_the_next_one_for_a_limited_time():
    """Until then nothing is given out; the error says when it will be."""
    made, clock = half_open()
    lost = made.acquire()
    clock.advance(9.0)
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert caught.value.retry_after_s == pytest.approx(1.0)
    clock.advance(1.0)
    trial = made.acquire()
    assert trial.probe and trial is not lost
    trial.release()
    assert states(made) == ["ready"]
    lost.release(ERROR)
    assert states(made) == ["ready"]


def test_a_trial_that_succeeds_after_its_time_brings_the_endpoint_back():
    """One that is always slower than the time of a trial would never come back otherwise."""
    made, clock = half_open()
    slow = made.acquire()
    clock.advance(100.0)
    assert states(made) == ["half_open"]
    slow.release(OK)
    assert states(made) == ["ready"]


def test_trials_that_go_and_return_leave_no_dates_behind():
    """Ten thousand cancelled trials: one is out, and one date is kept."""
    from lbkit.core.outcome import CANCELLED

    made, clock = half_open()
    for _ in range(10_000):
        made.acquire().release(CANCELLED)
    assert len(made._roster._dues._heap) <= 12
    lease = made.acquire()
    assert made._roster.next_due == clock() + 10.0
    lease.release()
