"""The rules that look at a window: rates of failures and of slow calls."""

from random import Random

import pytest

from lbkit.breaker import Circuit, CircuitBreaker, State
from lbkit.core.outcome import Result

F, G, S, C = "failed", "good", "slow", "cancelled"
RESULTS = {F: Result.ERROR, G: Result.OK, S: Result.OK, C: Result.CANCELLED}


def circuit(**options):
    return Circuit(CircuitBreaker(failures=None, jitter_ratio=0, **options), Random(1))


def play(made, events, now=0.0):
    """Record events; return after how many of them it opened, or None."""
    for number, event in enumerate(events, 1):
        if made.record(RESULTS[event], made.generation, now=now, took_s=2.0 if event is S else 0.1):
            assert made.state is State.OPEN
            return number
    return None


def test_the_failure_rate_opens_it_at_the_rate_and_not_below():
    """49 of 100 is less than half; the next failure makes it 50."""
    made = circuit(failure_rate=0.5, window_calls=100, min_calls=100)
    assert play(made, [G] * 51 + [F] * 49) is None
    assert play(made, [F]) == 1  # the oldest good call leaves
    assert made.cause == "50 of 100 calls failed"


@pytest.mark.parametrize(("rate", "of"), [(0.07, 100), (0.29, 100), (0.57, 100), (0.1, 10), (1 / 3, 3), (1.0, 7)])
def test_a_rate_is_reached_exactly(rate, of):
    """Decimals that binary numbers only come near count as what they were written as."""
    made = circuit(failure_rate=rate, window_calls=of)
    bad = round(rate * of)
    assert play(made, [G] * (of - bad) + [F] * bad) == of


def test_below_the_minimum_of_calls_no_rate_counts():
    """19 failures of 19 are too few for 20."""
    made = circuit(failure_rate=0.5)
    assert play(made, [F] * 30) == 20


def test_the_minimum_is_never_more_than_the_window_can_hold():
    """Or the rule could never act."""
    assert play(circuit(failure_rate=0.5, window_calls=10), [F] * 30) == 10


def test_a_good_call_never_opens_it():
    """Although with it there are enough calls: the rate is looked at when the next one is bad."""
    made = circuit(failure_rate=0.5, window_calls=20)
    assert play(made, [F] * 15 + [G] * 5) is None
    assert play(made, [F]) == 1


def test_cancelled_calls_are_not_in_the_window():
    """Neither as calls nor as failures."""
    made = circuit(failure_rate=0.5, min_calls=10)
    assert play(made, [C] * 100 + [F] * 9 + [C] * 100) is None
    assert made.window.calls == 9


def test_the_rate_of_slow_calls_opens_it_although_all_succeed():
    """A call is slow from `slow_s` on."""
    made = circuit(slow_rate=0.5, slow_s=2.0, min_calls=10)
    assert play(made, [G, S] * 20) == 10
    assert made.cause == "5 of 10 calls were slow"
    made = circuit(slow_rate=0.5, slow_s=2.1, min_calls=10)
    assert play(made, [S] * 100) is None


def test_a_slow_failure_counts_in_both_rates():
    """It failed, and it took long."""
    made = circuit(failure_rate=1.0, slow_rate=1.0, slow_s=1.0, window_calls=50)
    made.record(Result.NO_ANSWER, made.generation, now=0.0, took_s=1.0)
    assert (made.window.calls, made.window.failed, made.window.slow) == (1, 1, 1)


def test_the_rules_work_together():
    """Whichever is broken first."""
    made = Circuit(CircuitBreaker(failures=3, failure_rate=0.5, slow_rate=0.9, slow_s=1.0, min_calls=10), Random(1))
    assert play(made, [F, G, F, G, F, F, F]) == 7
    assert made.cause == "3 failures in a row"
    made = Circuit(CircuitBreaker(failures=3, failure_rate=0.5, slow_rate=0.9, slow_s=1.0, min_calls=10), Random(1))
    assert play(made, [F, F, G] * 10) == 10
    assert made.cause == "7 of 10 calls failed"


def test_a_slow_success_ends_a_row_of_failures():
    """A row of failures is about failures; slowness has its rate."""
    made = Circuit(CircuitBreaker(failures=3, slow_rate=1.0, slow_s=1.0), Random(1))
    assert play(made, [F, F, S] * 6) is None


def test_a_time_window_forgets_and_an_idle_one_is_empty():
    """Failures of another time do not open it now."""
    made = circuit(failure_rate=0.5, min_calls=10)
    assert play(made, [F] * 9, now=0.0) is None
    assert play(made, [F] * 9, now=10.0) is None
    assert play(made, [F], now=11.0) == 1


def test_it_opens_and_closes_with_an_empty_window():
    """What opened it before does not open it again."""
    made = circuit(failure_rate=0.5, min_calls=10)
    play(made, [F] * 10)
    made.advance(1.0)
    assert made.record(Result.OK, made.take_permit(1.0), now=1.0)
    assert made.window.calls == 0
    assert play(made, [F] * 10, now=1.0) == 10


def test_a_slow_trial_has_failed_where_slowness_is_a_rule():
    """Or it would be closed, and open again, for ever. A slow answer without a permit proves nothing either way."""
    made = circuit(slow_rate=0.5, slow_s=1.0, min_calls=2)
    play(made, [S, S])
    made.advance(1.0)
    assert not made.record(Result.OK, made.generation, now=2.0, took_s=1.0)
    assert made.state is State.HALF_OPEN
    assert made.record(Result.OK, made.take_permit(1.0), now=2.0, took_s=1.0)
    assert (made.state, made.cause, made.due) == (State.OPEN, "trial: slow", 4.0)


@pytest.mark.parametrize("options", [{"failure_rate": 0.5}, {"slow_rate": 0.5, "slow_s": 1.0}])
def test_where_there_is_a_window_every_success_is_heard(options):
    """Without one, only that which ends a row of failures: the fast way of the balancer depends on it."""
    made = circuit(**options)
    assert made.hears_ok
    play(made, [F, G])
    assert made.hears_ok
    plain = Circuit(CircuitBreaker(), Random(1))
    heard = [plain.hears_ok]
    for event in (F, G):
        play(plain, [event])
        heard.append(plain.hears_ok)
    assert heard == [False, True, False]
