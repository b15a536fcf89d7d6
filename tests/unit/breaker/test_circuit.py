"""The circuit breaker: its table, row by row. Random walks over it are in tests/model."""

from random import Random

import pytest

from lbkit.breaker import Circuit, CircuitBreaker, State
from lbkit.core.outcome import Result
from lbkit.errors import ConfigError, LeaseMisuse

PLAIN = CircuitBreaker(failures=3, jitter_ratio=0)


def circuit(config=PLAIN):
    return Circuit(config, Random(1))


def fail(made, count, now=0.0, *, probe=False):
    return [made.record(Result.ERROR, made.generation, probe=probe, now=now) for _ in range(count)]


def opened(config=PLAIN, now=0.0):
    made = circuit(config)
    fail(made, config.failures, now)
    assert made.state is State.OPEN
    return made


def snapshot(made):
    return {name: getattr(made, name) for name in Circuit.__slots__ if name != "_rng"}


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
        made.record(Result.OK, made.generation, probe=False, now=0.0)
    assert made.state is State.CLOSED


@pytest.mark.parametrize("result", [Result.CANCELLED, Result.OVERLOADED])
def test_what_is_no_verdict_neither_counts_nor_starts_the_count_over(result):
    """Between failures it is as if it had not been."""
    made = circuit()
    fail(made, 2)
    assert not made.record(result, made.generation, probe=False, now=0.0)
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
    for _ in range(probes):
        made.take_permit()
    changes = [made.record(Result.OK, made.generation, probe=True, now=2.0) for _ in range(probes)]
    assert changes == [False] * (probes - 1) + [True]
    assert (made.state, made.failures) == (State.CLOSED, 0)


def test_one_failed_trial_opens_it_for_longer():
    """The other trials' results are of an older generation and ignored."""
    made = opened(CircuitBreaker(failures=3, probes=3, jitter_ratio=0))
    made.advance(1.0)
    generation = made.generation
    for _ in range(3):
        made.take_permit()
    assert made.record(Result.NO_ANSWER, generation, probe=True, now=5.0)
    assert (made.state, made.due) == (State.OPEN, 7.0)
    assert not made.record(Result.OK, generation, probe=True, now=5.0)
    assert not made.record(Result.ERROR, generation, probe=True, now=5.0)
    assert (made.state, made.due) == (State.OPEN, 7.0)


def test_a_trial_that_is_not_there_is_refused_and_nothing_changes():
    """In every state."""
    half = opened()
    half.advance(1.0)
    half.take_permit()
    for made in (circuit(), opened(), half):
        before = snapshot(made)
        with pytest.raises(LeaseMisuse, match="no probe left"):
            made.take_permit()
        assert snapshot(made) == before


@pytest.mark.parametrize("result", list(Result))
@pytest.mark.parametrize("probe", [False, True])
def test_a_result_of_an_older_generation_changes_nothing(result, probe):
    """Whatever it says, in every state."""
    half = opened()
    half.advance(1.0)
    for made in (opened(), half):
        before = snapshot(made)
        assert not made.record(result, made.generation - 1, probe=probe, now=3.0)
        assert snapshot(made) == before


def test_failing_open_a_success_closes_and_a_failure_changes_nothing():
    """Requests that were sent although it is open, or half-open without a trial."""
    for half in (False, True):
        made = opened()
        if half:
            made.advance(1.0)
        before = snapshot(made)
        assert not made.record(Result.ERROR, made.generation, probe=False, now=2.0)
        assert snapshot(made) == before
        assert made.record(Result.OK, made.generation, probe=False, now=2.0)
        assert made.state is State.CLOSED


def reopen(made, now):
    made.advance(now)
    made.take_permit()
    made.record(Result.ERROR, made.generation, probe=True, now=now)
    return made.due - now


def test_the_open_time_doubles_up_to_its_limit():
    """1, 2, 4, 8, 16, 30, 30 seconds."""
    made = opened()
    spans = [made.due, *(reopen(made, made.due) for _ in range(6))]
    assert spans == [1, 2, 4, 8, 16, 30, 30]


def close(made, now):
    made.advance(now)
    made.take_permit()
    made.record(Result.OK, made.generation, probe=True, now=now)


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
    made.take_permit()
    generation = made.generation
    made.renew()
    assert made.permits == 1
    assert not made.record(Result.ERROR, generation, probe=True, now=2.0)
    close(made, 2.0)
    assert made.state is State.CLOSED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"failures": 0}, "failures and probes must be at least 1"),
        ({"probes": 0}, "failures and probes must be at least 1"),
        ({"open_s": 0}, "open_s must be above 0"),
        ({"open_s": 31}, "at most open_max_s"),
        ({"open_max_s": float("inf")}, "at most open_max_s"),
        ({"open_s": float("nan")}, "open_s must be above 0"),
        ({"factor": 0.5}, "factor must be at least 1"),
        ({"jitter_ratio": -0.1}, "jitter_ratio must be from 0 to 1"),
        ({"jitter_ratio": 1.5}, "jitter_ratio must be from 0 to 1"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    """At construction."""
    with pytest.raises(ConfigError, match=message):
        CircuitBreaker(**wrong)
