"""The circuit breaker: its table, row by row. Random walks over it are in tests/model."""

import math
from copy import copy
from random import Random

import pytest

from lbkit.breaker import Circuit, CircuitBreaker, State
from lbkit.core.outcome import Result
from lbkit.errors import LeaseMisuse

PLAIN = CircuitBreaker(failures=3, jitter_ratio=0)


def circuit(config=PLAIN):
    return Circuit(config, Random(1))


def fail(made, count, now=0.0):
    return [made.record(Result.ERROR, made.generation, now=now) for _ in range(count)]


def opened(config=PLAIN, now=0.0):
    made = circuit(config)
    fail(made, config.failures, now)
    assert made.state is State.OPEN
    return made


def snapshot(made):
    return {name: copy(getattr(made, name)) for name in Circuit.__slots__ if name != "_rng"}


def test_consecutive_failures_open_it_and_only_the_last_one_is_a_change():
    """Two are not enough for three."""
    made = circuit()
    assert fail(made, 3) == [False, False, True]
    assert (made.state, made.due) == (State.OPEN, 1.0)


def test_a_success_in_between_starts_the_count_over():
    """Consecutive means consecutive."""
    made = circuit()
    for _ in range(10):
        fail(made, 2)
        made.record(Result.OK, made.generation, now=0.0)
    assert made.state is State.CLOSED


@pytest.mark.parametrize("result", [Result.CANCELLED, Result.OVERLOADED])
def test_what_is_no_verdict_neither_counts_nor_starts_the_count_over(result):
    """Between failures it is as if it had not been."""
    made = circuit()
    fail(made, 2)
    assert not made.record(result, made.generation, now=0.0)
    assert fail(made, 1) == [True]


def test_time_alone_makes_it_half_open_and_not_a_moment_early():
    """The transition happens on the first look at or after its time."""
    made = opened()
    assert not made.advance(0.999)
    assert made.state is State.OPEN
    assert made.advance(1.0)
    assert (made.state, made.permits) == (State.HALF_OPEN, 1)
    assert not made.advance(1e9)


@pytest.mark.parametrize("probes", [1, 3])
def test_all_trials_must_succeed(probes):
    """After the last of them it is closed, with a clean record."""
    made = opened(CircuitBreaker(failures=3, probes=probes, jitter_ratio=0))
    made.advance(1.0)
    tickets = [made.take_permit(1.0) for _ in range(probes)]
    changes = [made.record(Result.OK, ticket, now=2.0) for ticket in tickets]
    assert changes == [False] * (probes - 1) + [True]
    assert (made.state, made.failures) == (State.CLOSED, 0)


def test_one_failed_trial_opens_it_for_longer():
    """The other trials' results are of an older generation and ignored."""
    made = opened(CircuitBreaker(failures=3, probes=3, jitter_ratio=0))
    made.advance(1.0)
    one, two, three = (made.take_permit(1.0) for _ in range(3))
    assert made.record(Result.NO_ANSWER, one, now=5.0)
    assert (made.state, made.due) == (State.OPEN, 7.0)
    assert not made.record(Result.OK, two, now=5.0)
    assert not made.record(Result.ERROR, three, now=5.0)
    assert (made.state, made.due) == (State.OPEN, 7.0)


def test_a_trial_that_is_not_there_is_refused_and_nothing_changes():
    """In every state."""
    half = opened()
    half.advance(1.0)
    half.take_permit(1.0)
    for made in (circuit(), opened(), half):
        before = snapshot(made)
        with pytest.raises(LeaseMisuse, match="no probe left"):
            made.take_permit(1.0)
        assert snapshot(made) == before


@pytest.mark.parametrize("result", list(Result))
def test_a_result_of_an_older_generation_changes_nothing(result):
    """Whatever it says, in every state."""
    half = opened()
    half.advance(1.0)
    for made in (opened(), half):
        before = snapshot(made)
        assert not made.record(result, made.generation - 1, now=3.0)
        assert snapshot(made) == before


def test_failing_open_a_success_closes_and_a_failure_changes_nothing():
    """Requests that were sent although it is open, or half-open without a trial."""
    for half in (False, True):
        made = opened()
        if half:
            made.advance(1.0)
        before = snapshot(made)
        assert not made.record(Result.ERROR, made.generation, now=2.0)
        assert snapshot(made) == before
        assert made.record(Result.OK, made.generation, now=2.0)
        assert made.state is State.CLOSED


@pytest.mark.parametrize("result", [Result.CANCELLED, Result.OVERLOADED])
def test_a_trial_without_a_verdict_gives_its_permit_back(result):
    """And no time hangs on it any more."""
    made = opened()
    made.advance(1.0)
    ticket = made.take_permit(1.0)
    assert (made.permits, made.due) == (0, 61.0)
    assert not made.record(result, ticket, now=2.0)
    assert (made.state, made.permits, made.due) == (State.HALF_OPEN, 1, math.inf)


def half_open_and_lost(probes=2):
    made = opened(CircuitBreaker(failures=3, probes=probes, probe_max_s=10, jitter_ratio=0))
    made.advance(1.0)
    tickets = [made.take_permit(1.0 + number) for number in range(probes)]
    return made, tickets


def test_a_lost_permit_is_free_again_after_its_time_counted_from_when_it_was_given():
    """Each by itself, and not a moment early."""
    made, _ = half_open_and_lost()
    frees = []
    for now in (10.9, 11.0, 11.9, 12.0, 99.0):
        assert not made.advance(now)
        frees.append(made.permits)
    assert frees == [0, 1, 1, 2, 2]
    assert made.state is State.HALF_OPEN


def test_two_permits_that_are_due_together_are_both_free():
    """Also when nobody looked for long."""
    made, _ = half_open_and_lost()
    made.advance(1000.0)
    assert (made.permits, made.due) == (2, math.inf)


def test_a_trial_that_succeeds_after_its_time_proves_life_and_one_that_fails_proves_nothing():
    """An endpoint that is always slower than the time of a trial must still come back."""
    for result, state in (
        (Result.ERROR, State.HALF_OPEN),
        (Result.CANCELLED, State.HALF_OPEN),
        (Result.OK, State.CLOSED),
    ):
        made, tickets = half_open_and_lost()
        made.advance(11.0)
        assert made.record(result, tickets[0], now=30.0) == (state is State.CLOSED)
        assert made.state is state
        assert made.permits == (0 if state is State.CLOSED else 1)


def test_a_result_that_is_told_twice_counts_once():
    """The second one is that of an attempt without permit."""
    made, (one, _) = half_open_and_lost()
    assert not made.record(Result.CANCELLED, one, now=2.0)
    assert not made.record(Result.CANCELLED, one, now=2.0)
    assert made.permits == 1
    assert not made.record(Result.ERROR, one, now=2.0)
    assert made.state is State.HALF_OPEN


def reopen(made, now):
    made.advance(now)
    made.record(Result.ERROR, made.take_permit(now), now=now)
    return made.due - now


def test_the_open_time_doubles_up_to_its_limit():
    """1, 2, 4, 8, 16, 30, 30 seconds."""
    made = opened()
    spans = [made.due, *(reopen(made, made.due) for _ in range(6))]
    assert spans == [1, 2, 4, 8, 16, 30, 30]


def close(made, now):
    made.advance(now)
    made.record(Result.OK, made.take_permit(now), now=now)


@pytest.mark.parametrize(("closed_s", "span"), [(29.9, 2.0), (30.0, 1.0)])
def test_the_open_time_starts_over_only_after_a_long_good_time(closed_s, span):
    """An endpoint that flaps is kept out for longer and longer."""
    made = opened()
    close(made, 1.0)
    fail(made, 3, 1.0 + closed_s)
    assert made.due - (1.0 + closed_s) == pytest.approx(span)


def test_the_open_time_is_jittered_within_its_ratio():
    """Many clients do not probe in step: 500 of them spread over 0.9 to 1.1 s."""
    config = CircuitBreaker(failures=1)
    dues = []
    for seed in range(500):
        made = Circuit(config, Random(seed))
        fail(made, 1)
        dues.append(made.due)
    assert 0.9 <= min(dues) < 0.91
    assert 1.09 < max(dues) <= 1.1


def test_renewing_gives_the_trials_out_again_and_forgets_those_that_are_out():
    """For the child of a fork, which will never hear of its parent's requests."""
    made = opened()
    made.advance(1.0)
    ticket = made.take_permit(1.0)
    made.renew()
    assert (made.permits, made.due) == (1, math.inf)
    assert not made.record(Result.ERROR, ticket, now=2.0)
    close(made, 2.0)
    assert made.state is State.CLOSED


def test_renewing_forgets_the_trials_that_have_succeeded():
    """All are given out again, and all must succeed again."""
    made, tickets = half_open_and_lost()
    made.record(Result.OK, tickets[0], now=2.0)
    made.renew()
    assert made.permits == 2
    assert not made.record(Result.OK, made.take_permit(2.0), now=2.0)
    assert made.record(Result.OK, made.take_permit(2.0), now=2.0)
