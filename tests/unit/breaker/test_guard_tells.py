"""What a guard raises, tells and counts, and how it is controlled."""

import gc
import logging
import pickle
import traceback
import weakref

import pytest

from lbkit import CircuitOpen, LbkitError
from lbkit.breaker import Mode, State
from tests.unit.breaker.guards import counts, guard, swallow


def test_the_refusal_is_caught_by_what_catches_connection_errors():
    """And by lbkit's root; it survives pickling, for process pools."""
    error = CircuitOpen("payments", "open", "2 failures in a row", 1.5)
    assert isinstance(error, LbkitError) and isinstance(error, ConnectionError)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert str(error) == "payments: the circuit is open (2 failures in a row); it may be tried again in 1.5 s"
    assert str(CircuitOpen("p", "forced_open", "x")) == "p: the circuit is forced_open (x)"


def test_ten_thousand_refusals_are_ten_thousand_short_errors():
    """Each is new, so no traceback grows; none is kept."""
    made, _ = guard()
    swallow(made, count=2)
    refusals, depths, seen = [], set(), set()
    for number in range(10_000):
        with pytest.raises(CircuitOpen) as caught:
            made.call(len, "")
        depths.add(len(list(traceback.walk_tb(caught.value.__traceback__))))
        assert caught.value.__context__ is None
        if number % 1000 == 0:
            refusals.append(caught.value)
            seen.add(id(caught.value))
    assert len(depths) == 1 and depths.pop() <= 5
    assert len(seen) == 10
    gone = [weakref.ref(one) for one in refusals[:1]]
    assert counts(made)[3] == 10_000
    del refusals, caught
    gc.collect()
    assert gone[0]() is None


def test_manual_control_works_at_once_and_is_told():
    """Each way from each other."""
    made, _ = guard()
    told = []
    made.subscribe(lambda change: told.append((change.before, change.after, change.mode, change.cause)))
    made.force_open()
    with pytest.raises(CircuitOpen, match=r"payments: the circuit is forced_open \(by hand\)$"):
        made.call(len, "")
    made.disable()
    swallow(made, count=5)
    made.enable()
    swallow(made, count=2)
    made.enable()
    assert made.stats().state is State.OPEN
    made.reset()
    made.call(len, "")
    o, c = State.OPEN, State.CLOSED
    assert told == [
        (c, o, Mode.FORCED_OPEN, "by hand"), (o, c, Mode.DISABLED, "by hand"), (c, c, Mode.NORMAL, "by hand"),
        (c, o, Mode.NORMAL, "2 failures in a row"), (o, c, Mode.NORMAL, "reset"),
    ]  # fmt: skip
    assert made.stats().opened == 2


def test_metrics_only_refuses_nothing_and_counts_what_it_would():
    """It opens, would refuse three, and closes by what comes after its time."""
    made, clock = guard(mode=Mode.METRICS_ONLY)
    swallow(made, count=2)
    for _ in range(3):
        made.call(len, "")
    assert (made.stats().state, made.stats().would_refuse, made.stats().refused) == (State.OPEN, 3, 0)
    clock.advance(1.0)
    made.call(len, "")
    assert made.stats().state is State.CLOSED
    made.force_open()
    made.metrics_only()
    assert made.stats().mode is Mode.METRICS_ONLY


def test_statistics_show_rates_and_times():
    """All of them as of now."""
    made, clock = guard(failures=9, failure_rate=0.9, slow_rate=0.9, slow_s=1.0)
    swallow(made, count=1)
    made.call(clock.advance, 1.0)
    stats = made.stats()
    assert (stats.failure_rate, stats.slow_rate, stats.since_s, stats.retry_after_s) == (0.5, 0.5, 1.0, None)
    clock.advance(20.0)
    assert (made.stats().window_calls, made.stats().failure_rate) == (0, 0.0)
    other, clock = guard()
    swallow(other, count=2)
    clock.advance(0.25)
    assert (other.stats().retry_after_s, other.stats().since_s) == (0.75, 0.25)
    clock.advance(1.0)
    assert (other.stats().state, other.stats().retry_after_s) == (State.HALF_OPEN, None)
    assert repr(other) == "<Guard payments: half_open, normal>"


def test_a_listener_that_fails_harms_no_call_and_no_other_listener(caplog):
    """It is told outside the lock, so it may use the guard itself."""
    made, _ = guard()
    told = []

    def broken(change):
        raise RuntimeError("a bug")

    made.subscribe(broken)

    def resets(change):
        told.append((change.name, change.after, made.stats().state))
        made.reset()

    end = made.subscribe(resets)
    swallow(made, count=2)
    assert told == [("payments", State.OPEN, State.OPEN), ("payments", State.CLOSED, State.CLOSED)]
    assert "a listener failed" in caplog.text
    end()
    swallow(made, count=2)
    assert len(told) == 2


def test_changes_are_logged(caplog):
    """A warning when it opens, information when it comes back."""
    made, clock = guard()
    with caplog.at_level(logging.INFO, logger="lbkit"):
        swallow(made, count=2)
        clock.advance(1.0)
        made.call(len, "")
    assert [(one.levelname, one.lbkit_after) for one in caplog.records] == [
        ("WARNING", "open"), ("INFO", "half_open"), ("INFO", "closed"),
    ]  # fmt: skip
    assert caplog.records[0].message == "payments: the circuit is open (was closed, 2 failures in a row), mode normal"
