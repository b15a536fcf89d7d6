"""Circuits and pauses in a balancer, and what happens when nobody is ready."""

import pytest

from lbkit.balancer.empty import FailClosed, FailOpen, Wait
from lbkit.breaker import CircuitBreaker
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.errors import NoEndpointAvailable
from lbkit.scheduler import ShortestExpectedDelay
from tests.unit.balancer.worlds import (
    ERROR,
    NO_ANSWER,
    UNREACHABLE,
    Stubborn,
    apply,
    balancer,
    fail,
    host,
    overloaded,
    state,
    tried,
    use,
)


def test_five_failures_in_a_row_open_the_circuit_and_a_trial_closes_it():
    """Out at once, back after a second with one request that succeeds."""
    made, clock = balancer("a", "b")
    fail(made, "a", 5)
    assert state(made, "a") == "open"
    assert use(made, 20) == "b" * 20
    clock.advance(1.11)
    assert use(made, 1) == "a"
    assert state(made, "a") == "ready"


@pytest.mark.parametrize("outcome", [ERROR, UNREACHABLE, NO_ANSWER])
def test_each_kind_of_failure_counts(outcome):
    """Answered badly, never reached, never answered."""
    made, _ = balancer("a", "b")
    fail(made, "a", 5, outcome)
    assert state(made, "a") == "open"


@pytest.mark.parametrize("outcome", [CANCELLED, overloaded(None), OK])
def test_what_is_no_failure_never_opens(outcome):
    """Neither cancelled requests nor push-back without a time."""
    made, _ = balancer("a", "b")
    fail(made, "a", 50, outcome)
    assert state(made, "a") == "ready"


def test_failures_of_one_incident_count_once():
    """A hundred requests were in flight when the endpoint died: the open time is that of the first opening."""
    made, clock = balancer("a", "b")
    leases = [made.acquire(tried("b")) for _ in range(100)]
    for lease in leases:
        lease.release(NO_ANSWER)
    clock.advance(1.11)
    assert host(made.acquire(tried("b"))) == "a"


def test_half_open_gives_out_exactly_its_trials():
    """Two trials, then nobody until both have ended well."""
    made, clock = balancer("a", "b", breaker=CircuitBreaker(probes=2))
    fail(made, "a")
    clock.advance(2.0)
    leases = [made.acquire() for _ in range(10)]
    assert [host(lease) for lease in leases].count("a") == 2
    assert state(made, "a") == "half_open"
    trials = [lease for lease in leases if host(lease) == "a"]
    trials[0].release(OK)
    assert state(made, "a") == "half_open"
    trials[1].release(OK)
    assert state(made, "a") == "ready"
    for lease in leases:
        if host(lease) == "b":
            lease.release()


def test_a_cancelled_or_dropped_trial_is_given_out_again():
    """Without a verdict the endpoint would otherwise stay out for ever."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    trial = made.acquire()
    trial.release(CANCELLED)
    trial = made.acquire()
    assert host(trial) == "a"
    assert use(made, 2) == "bb"
    del trial
    with pytest.warns(ResourceWarning):
        assert use(made, 1) == "a"


def test_a_trial_that_is_pushed_back_pauses_and_comes_again():
    """The endpoint is alive and busy: it rests, and its trial is not lost."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    assert use(made, 1, overloaded(10.0)) == "a"
    assert state(made, "a") == "paused"
    clock.advance(10.0)
    assert use(made, 1) == "a"
    assert state(made, "a") == "ready"


def test_a_failed_trial_doubles_the_open_time():
    """1, 2, 4 seconds, each with a tenth of jitter."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    for seconds in (1, 2, 4, 8, 16, 30, 30):
        clock.advance(0.89 * seconds)
        assert use(made, 1) == "b"
        clock.advance(0.22 * seconds)
        assert use(made, 1, UNREACHABLE) == "a"


def test_a_request_that_must_not_run_twice_is_no_trial_while_others_are_ready():
    """Trials are for those who can afford to fail; where nobody is ready it goes to the trial nevertheless."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    careful = PickInfo(may_probe=False)
    assert use(made, 5, info=careful) == "bbbbb"
    made.drain("b:80")
    assert use(made, 1, info=careful) == "a"


def test_a_call_does_not_probe_an_endpoint_that_it_has_tried():
    """Its own failure opened it; trying it again at once would be no retry elsewhere."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    assert use(made, 3, info=tried("a")) == "bbb"


@pytest.mark.parametrize("on_empty", [FailClosed(), Wait(), FailOpen()])
def test_a_call_that_has_tried_everything_may_be_the_trial_where_nobody_is_ready(on_empty):
    """With one endpoint it is the only way back: a retry after the open time is its trial."""
    made, clock = balancer("a", on_empty=on_empty)
    fail(made, "a")
    clock.advance(2.0)
    lease = made.acquire(tried("a"))
    assert lease.probe
    lease.release(OK)
    assert state(made, "a") == "ready"


def test_an_endpoint_that_returns_starts_as_an_average_one():
    """What was learned before it was kept out is forgotten, or it would be avoided for its old failures."""
    made, clock = balancer("a", "b", scheduler=ShortestExpectedDelay())
    for _ in range(50):
        lease = made.acquire()
        clock.advance(0.010)
        lease.release()
    for _ in range(5):
        made.acquire(tried("b")).release(UNREACHABLE)
    clock.advance(2.0)
    lease = made.acquire()
    assert host(lease) == "a"
    lease.release(OK)
    leases = [made.acquire() for _ in range(20)]
    assert [host(lease) for lease in leases].count("a") == 10
    for lease in leases:
        lease.release(CANCELLED)


def test_the_numbers_that_belong_to_the_picker_survive_a_refresh_and_start_over_on_return():
    """What a user's picker keeps with a node is dropped exactly when the node comes back from being kept out."""
    made, _ = balancer("a", "b", scheduler=Stubborn())
    start = {"cost": 1.0, "estimate": 0.0, "stamp": -1.0, "recent": 1.0, "charge": 1.0, "counted": 0, "scratch": None}
    node = made._picker.ready[0]
    assert {name: getattr(node, name) for name in start} == start
    for name in start:
        setattr(node, name, 7)
    apply(made, "a", "b", "c")
    assert made._picker.ready[0] is node
    assert {getattr(node, name) for name in start} == {7}
    made.drain("a:80")
    assert {getattr(node, name) for name in start} == {7}
    made.drain("a:80", draining=False)
    assert {name: getattr(node, name) for name in start} == start


# -- pauses


def test_a_retry_after_pauses_an_endpoint_and_does_not_kill_it():
    """429 or 503 with Retry-After: out for that long, then back without a trial."""
    made, clock = balancer("a", "b")
    fail(made, "a", 1, overloaded(3.0))
    assert state(made, "a") == "paused"
    assert use(made, 5) == "bbbbb"
    clock.advance(2.99)
    assert use(made, 2) == "bb"
    clock.advance(0.02)
    assert set(use(made, 2)) == {"a", "b"}
    assert made.stats().failures == 0


def test_a_later_shorter_retry_after_never_shortens_a_pause():
    """Two answers to requests that were in flight together: the longer pause stands."""
    made, clock = balancer("a", "b")
    leases = [made.acquire(tried("b")) for _ in range(3)]
    leases[0].release(overloaded(10.0))
    leases[1].release(overloaded(1.0))
    clock.advance(5.0)
    assert use(made, 3) == "bbb"
    leases[2].release(overloaded(20.0))
    clock.advance(19.0)
    assert use(made, 3) == "bbb"
    clock.advance(1.1)
    assert "a" in use(made, 2)


def test_a_pause_is_300_seconds_at_most():
    """A Retry-After of a day is a mistake or an attack."""
    made, clock = balancer("a", "b")
    fail(made, "a", 1, overloaded(86_400.0))
    clock.advance(299.9)
    assert use(made, 2) == "bb"
    clock.advance(0.2)
    assert "a" in use(made, 2)


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_push_back_without_a_time_pauses_nothing(seconds):
    """The request may be retried elsewhere; the endpoint stays in use."""
    made, _ = balancer("a", "b")
    fail(made, "a", 10, overloaded(seconds))
    assert state(made, "a") == "ready"


@pytest.mark.parametrize("result", [Result.OK, Result.ERROR, Result.CANCELLED])
def test_only_push_back_pauses(result):
    """A Retry-After on anything else is not the endpoint's request to be left alone."""
    made, _ = balancer("a", "b")
    fail(made, "a", 1, Outcome(result, retry_after_s=50.0))
    assert state(made, "a") == "ready"


# -- when nobody is ready


def all_down(on_empty, *members):
    made, clock = balancer(*(members or "abc"), on_empty=on_empty, breaker=CircuitBreaker(failures=1, open_s=1))
    use(made, 3, UNREACHABLE)
    return made, clock


def test_failing_open_uses_those_kept_out_and_finds_the_first_that_returns():
    """Everything open: requests are spread over all, counted, and the first success closes its circuit."""
    made, _ = all_down(FailOpen())
    leases = [made.acquire() for _ in range(6)]
    assert sorted(host(lease) for lease in leases) == list("aabbcc")
    assert made.stats().failed_open == 6
    for lease in leases:
        lease.release(OK if host(lease) == "b" else UNREACHABLE)
    assert (state(made, "a"), state(made, "b")) == ("open", "ready")
    assert use(made, 4) == "bbbb"


def test_failing_open_prefers_the_untried():
    """Retries of one call go round all of them."""
    made, _ = all_down(FailOpen())
    names = ""
    for _ in range(3):
        lease = made.acquire(tried(*names))
        names += host(lease)
        lease.release(UNREACHABLE)
    assert sorted(names) == list("abc")


def test_a_failure_of_a_request_sent_failing_open_changes_nothing():
    """It proves nothing new: neither a longer open time nor a second incident."""
    made, clock = all_down(FailOpen())
    use(made, 50, UNREACHABLE)
    clock.advance(1.11)
    made.acquire().release(CANCELLED)
    assert {state(made, name) for name in "abc"} == {"half_open"}


@pytest.mark.parametrize("on_empty", [FailClosed(), Wait()])
def test_failing_closed_raises_with_reasons_and_the_time_of_the_next_chance(on_empty):
    """A fresh error each time, so that no traceback grows."""
    made, clock = all_down(on_empty)
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert dict(caught.value.reasons) == {"open": 3}
    assert caught.value.retry_after_s == pytest.approx(1.0, abs=0.1)
    with pytest.raises(NoEndpointAvailable) as again:
        made.acquire()
    assert again.value is not caught.value
    assert made.stats().refused == 2
    clock.advance(1.11)
    leases = [made.acquire() for _ in range(3)]
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert dict(caught.value.reasons) == {"half_open": 3}
    for lease in leases:
        lease.release()


# -- statistics, randomness
