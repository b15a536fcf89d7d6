"""What breaks, or is missing, in the circuit breakers that Python has: one claim each, held by the guard.

pybreaker 1.4, aiobreaker 1.2, purgatory 3.0 and circuitbreaker 2.1 were read and run for it.
"""

import asyncio
import gc
import threading
import time
import traceback
import weakref

import pytest
import trio

from lbkit import CircuitBreaker, CircuitOpen
from lbkit.breaker import Mode, State
from tests.unit.breaker.guards import counts, guard, swallow


def state(made):
    return made.stats().state


def half_open(**options):
    made, clock = guard(**options)
    swallow(made, count=2)
    clock.advance(1.0)
    return made, clock


@pytest.mark.parametrize(
    ("rule", "opens"),
    [
        ({"failures": 3}, 3),
        ({"failures": None, "failure_rate": 0.5, "window_calls": 10}, 10),
        ({"failures": None, "failure_rate": 0.5, "window_s": 5, "min_calls": 7}, 7),
        ({"failures": 8, "failure_rate": 0.5, "min_calls": 6}, 6),
    ],
)
def test_trip_rules_are_a_row_of_failures_and_rates_over_calls_or_seconds(rule, opens):
    """The others know a row of failures only."""
    made, _ = guard(**rule)
    swallow(made, count=opens - 1)
    assert state(made) is State.CLOSED
    swallow(made)
    assert state(made) is State.OPEN


def test_calls_that_are_only_slow_open_it():
    """None of the others measures a call."""
    made, clock = guard(slow_rate=0.5, slow_s=1.0, min_calls=4)
    for _ in range(4):
        made.call(clock.advance, 1.0)
    assert state(made) is State.OPEN


def test_half_open_lets_exactly_the_trials_in():
    """Of fifty tasks aiobreaker, purgatory and circuitbreaker let in fifty."""
    made, _ = half_open()
    inside = []

    @made
    async def fetch():
        inside.append(1)
        await asyncio.sleep(0)

    async def fifty():
        return await asyncio.gather(*(fetch() for _ in range(50)), return_exceptions=True)

    answers = asyncio.run(fifty())
    assert (len(inside), sum(isinstance(one, CircuitOpen) for one in answers)) == (1, 49)


def test_a_result_from_before_a_change_of_state_changes_nothing():
    """With the others a call that began long before the outage closes, or opens, what the outage decided."""
    made, clock = guard()

    def call(error=None):
        with made:
            yield
            if error:
                raise error

    good, bad = call(), call(ValueError())
    for begun in (good, bad):
        next(begun)
    swallow(made, count=2)
    assert next(good, None) is None
    assert state(made) is State.OPEN
    clock.advance(1.0)
    made.call(len, "")
    swallow(made)
    with pytest.raises(ValueError):
        next(bad)
    assert (state(made), made.stats().failures) == (State.CLOSED, 1)


def test_there_are_outcomes_that_are_neither_success_nor_failure():
    """The others count an excluded exception as a success: it ends the row, and closes a half-open circuit."""
    made, clock = guard(ignore=KeyError)
    swallow(made)
    swallow(made, KeyError)
    swallow(made)
    assert state(made) is State.OPEN
    clock.advance(1.0)
    swallow(made, KeyError)
    assert state(made) is State.HALF_OPEN


def test_cancellation_is_no_verdict():
    """With purgatory two cancelled calls open it; with circuitbreaker one closes a half-open one."""
    made, _ = guard()
    swallow(made, asyncio.CancelledError, 10)
    assert (state(made), made.stats().failures) == (State.CLOSED, 0)
    made, _ = half_open()
    swallow(made, asyncio.CancelledError, 10)
    assert state(made) is State.HALF_OPEN
    assert made.call(len, "") == 0


def test_it_works_on_threads_and_under_asyncio_and_trio():
    """One guard for all three at once; pybreaker knows no asyncio, and none of them trio."""
    made, _ = guard()

    @made
    async def fetch():
        return 1

    threads = [threading.Thread(target=made.call, args=(len, "")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(fetch()) == trio.run(fetch) == 1
    assert counts(made) == (4, 0, 0, 0)


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch):
    """The others reckon with wall time, one with local and universal time mixed, one in whole seconds."""
    made = CircuitBreaker(failures=1, open_s=60, open_max_s=60).guard("payments")
    swallow(made)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(CircuitOpen) as caught:
        made.call(len, "")
    assert 50 < caught.value.retry_after_s <= 66


def test_the_open_time_grows():
    """With the others it is the same for ever."""
    made, clock = guard()
    swallow(made, count=2)
    spans = []
    for _ in range(4):
        spans.append(made.stats().retry_after_s)
        clock.advance(spans[-1])
        swallow(made)
    assert spans == [1, 2, 4, 8]


def test_it_can_be_forced_disabled_and_only_watched():
    """Purgatory and circuitbreaker have nothing of it, the other two a part."""
    made, _ = guard()
    made.force_open()
    with pytest.raises(CircuitOpen):
        made.call(len, "")
    made.disable()
    swallow(made, count=9)
    assert state(made) is State.CLOSED
    made.metrics_only()
    swallow(made, count=2)
    assert (made.call(len, ""), state(made), made.stats().mode) == (0, State.OPEN, Mode.METRICS_ONLY)
    made.enable()
    assert state(made) is State.CLOSED


def test_changes_are_told_and_everything_is_counted():
    """A listener that fails harms nothing, and statistics need no listener."""
    made, _ = guard()
    told = []
    made.subscribe(lambda change: 1 / 0)
    made.subscribe(told.append)
    made.call(len, "")
    swallow(made, KeyboardInterrupt)
    swallow(made, count=2)
    swallow(made, CircuitOpen("", "", ""))
    assert [(one.before, one.after, one.for_s) for one in told] == [(State.CLOSED, State.OPEN, 1.0)]
    assert counts(made) == (1, 2, 1, 1)


def test_a_good_call_reads_no_clock():
    """What a call costs is measured by tests/benchmarks/bench_breaker.py; this is one reason."""
    reads = []
    made = CircuitBreaker().guard("payments", clock=lambda: reads.append(1) or 0.0)
    reads.clear()
    for _ in range(10):
        made.call(len, "")
    assert not reads
    assert made.stats().ok == 10


def test_no_lock_is_held_during_a_call():
    """With pybreaker eight threads wait for each other."""
    made, _ = guard()
    all_inside = threading.Barrier(8)
    threads = [threading.Thread(target=made.call, args=(all_inside.wait, 30)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.stats().ok == 8


def test_every_refusal_is_a_new_exception():
    """Purgatory raises one object again and again: after 2,000 refusals its traceback has 10,000 frames."""
    made, _ = guard()
    made.force_open()
    frames, errors = [], []
    for _ in range(2000):
        try:
            made.call(len, "")
        except CircuitOpen as error:
            frames.append(len(list(traceback.walk_tb(error.__traceback__))))
            errors = [*errors[-1:], error]
    assert set(frames) == {frames[0]} and frames[0] <= 4
    assert errors[0] is not errors[1]


def test_no_registry_keeps_a_guard():
    """Circuitbreaker keeps every breaker there ever was."""
    made, _ = guard()
    gone = weakref.ref(made._keeper)
    del made
    gc.collect()
    assert gone() is None
