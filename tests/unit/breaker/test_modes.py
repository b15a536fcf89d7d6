"""Modes of a circuit: disabled, metrics only, forced open; and manual control."""

import math
from random import Random

import pytest

from lbkit.breaker import Circuit, CircuitBreaker, Mode, State
from lbkit.core.outcome import Result


def circuit(mode=Mode.NORMAL, **options):
    return Circuit(CircuitBreaker(**{"failures": 2, "jitter_ratio": 0, "mode": mode, **options}), Random(1))


def record(made, *results, now=0.0):
    return [made.record(result, made.generation, now=now) for result in results]


def test_disabled_is_always_closed_and_counts():
    """Whatever fails."""
    made = circuit(Mode.DISABLED, failure_rate=0.5, min_calls=1)
    assert record(made, *[Result.ERROR] * 50) == [False] * 50
    assert (made.state, made.refuses, made.failures, made.window.failed) == (State.CLOSED, False, 50, 50)


def test_forced_open_stays_so_whatever_comes():
    """No time, no success and no failure ends it; it gives no permits."""
    made = circuit(Mode.FORCED_OPEN)
    assert (made.state, made.refuses, made.due) == (State.OPEN, True, math.inf)
    assert not made.advance(1e9)
    assert record(made, *Result) == [False] * len(Result)
    assert (made.state, made.permits, made.due) == (State.OPEN, 0, math.inf)


def test_metrics_only_changes_its_state_and_refuses_nothing():
    """It goes through the table as if what it would have refused had not been."""
    made = circuit(Mode.METRICS_ONLY)
    assert record(made, Result.ERROR, Result.ERROR) == [False, True]
    assert (made.state, made.refuses, made.due) == (State.OPEN, False, 1.0)
    assert record(made, Result.OK, Result.ERROR, now=0.9) == [False, False]
    assert made.state is State.OPEN


@pytest.mark.parametrize(("result", "state"), [(Result.OK, State.CLOSED), (Result.ERROR, State.OPEN)])
def test_metrics_only_takes_the_first_results_for_the_trials(result, state):
    """The result that finds it due began before and is no trial; nor is one without verdict."""
    made = circuit(Mode.METRICS_ONLY, probes=2)
    record(made, Result.ERROR, Result.ERROR)
    assert record(made, Result.OK, now=1.0) == [True]
    assert made.state is State.HALF_OPEN
    assert record(made, Result.CANCELLED, Result.OK, now=1.0) == [False, False]
    assert record(made, result, now=1.0) == [True]
    assert made.state is state


def test_another_mode_starts_from_a_clean_record():
    """What is in flight counts no more, and the open time starts over."""
    made = circuit()
    record(made, Result.ERROR, Result.ERROR)
    for mode in (Mode.DISABLED, Mode.FORCED_OPEN, Mode.METRICS_ONLY, Mode.NORMAL):
        ticket = made.generation
        assert made.set_mode(mode)
        assert not made.record(Result.ERROR, ticket, now=0.0)
        assert made.state is (State.OPEN if mode is Mode.FORCED_OPEN else State.CLOSED)
        assert (made.failures, made.cause) == (0, "by hand")
    record(made, Result.ERROR, Result.ERROR)
    assert made.due == 1.0


def test_the_mode_it_has_is_no_change():
    """An open circuit stays open when it is told to be normal."""
    made = circuit()
    record(made, Result.ERROR, Result.ERROR)
    assert not made.set_mode(Mode.NORMAL)
    assert made.state is State.OPEN


def test_reset_closes_it_and_forgets():
    """Except one that was forced open: that has its own end."""
    made = circuit(failure_rate=0.5)
    record(made, Result.ERROR, Result.ERROR)
    ticket = made.generation
    made.reset()
    assert (made.state, made.failures, made.window.calls, made.cause) == (State.CLOSED, 0, 0, "reset")
    assert not made.record(Result.ERROR, ticket, now=0.0)
    assert made.failures == 0
    forced = circuit(Mode.FORCED_OPEN)
    forced.reset()
    assert forced.state is State.OPEN


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN, State.HALF_OPEN])
def test_excuse_closes_it_and_clears_the_record(state):
    """Someone else has judged it. What is in flight counts no more; one that was forced open stays so."""
    made = circuit(failures=2, failure_rate=0.5)
    record(made, Result.ERROR, *[Result.ERROR] * (state is not State.CLOSED))
    if state is State.HALF_OPEN:
        made.advance(1.0)
    ticket = made.generation
    made.excuse()
    assert (made.state, made.failures, made.window.calls, made.permits) == (State.CLOSED, 0, 0, 0)
    assert not made.record(Result.ERROR, ticket, now=0.0)
    forced = circuit(Mode.FORCED_OPEN)
    forced.excuse()
    assert forced.state is State.OPEN


def test_same_events_and_same_seed_make_the_same_decisions():
    """A thousand random events, twice."""

    def run():
        made = Circuit(CircuitBreaker(failures=2, probes=2, failure_rate=0.5, min_calls=5, probe_max_s=3), Random(7))
        events, now, seen = Random(8), 0.0, []
        for _ in range(1000):
            now += events.random()
            made.advance(now)
            ticket = made.take_permit(now) if made.permits else made.generation
            if events.random() < 0.9 and (ticket != made.generation or not made.refuses):
                made.record(events.choice(list(Result)), ticket, now=now)
            seen.append((made.state, made.due, made.permits, made.cause))
        return seen

    first = run()
    assert first == run()
    assert {state for state, *_ in first} == set(State)
