"""Windows of calls, beside a list of all calls."""

import sys
from random import Random

import pytest

from lbkit.breaker.window import CountWindow, TimeWindow


def counts(window):
    return window.calls, window.failed, window.slow


def counted(calls):
    return len(calls), sum(failed for _, failed, _ in calls), sum(slow for *_, slow in calls)


def some_calls(seed, count):
    rng, now = Random(seed), 0.0
    for _ in range(count):
        now += rng.choice([0.0, 0.01, 0.3, 1.0, 1.0, 4.0]) + (rng.random() < 0.02) * 50.0
        yield now, rng.random() < 0.4, rng.random() < 0.3


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_count_window_holds_the_last_calls_exactly(size):
    """Over a thousand random calls, and again after it was cleared."""
    window = CountWindow(size)
    for seed in (1, 2):
        calls = []
        for now, failed, slow in some_calls(seed, 500):
            window.add(failed, slow, now)
            calls.append((now, failed, slow))
            window.trim(now)
            assert counts(window) == counted(calls[-size:])
        window.clear()
        assert counts(window) == (0, 0, 0)


@pytest.mark.parametrize("window_s", [1.0, 10.0])
def test_a_time_window_holds_the_last_seconds_exact_to_a_tenth(window_s):
    """A call counts from its moment until the tenth of its moment is over, one window later."""
    window, calls, bucket_s = TimeWindow(window_s), [], window_s / 10
    for now, failed, slow in some_calls(3, 1000):
        window.add(failed, slow, now)
        calls.append((now, failed, slow))
        newest = int(now / bucket_s)
        assert counts(window) == counted([one for one in calls if int(one[0] / bucket_s) > newest - 10])


def test_a_time_window_empties_when_idle():
    """By looking at it alone, after a window and after a year."""
    for idle_s in (10.0, 3e7):
        window = TimeWindow(10.0)
        for _ in range(50):
            window.add(True, True, 100.0)
        window.trim(109.0)
        assert counts(window) == (50, 50, 50)
        window.trim(100.0 + idle_s)
        assert counts(window) == (0, 0, 0)


def test_a_clock_that_goes_back_loses_and_doubles_nothing():
    """Such calls count as the newest."""
    window = TimeWindow(10.0)
    window.add(True, False, 100.0)
    window.add(True, False, 50.0)
    assert counts(window) == (2, 2, 0)
    window.trim(110.0)
    assert counts(window) == (0, 0, 0)


@pytest.mark.parametrize("make", [lambda: TimeWindow(10.0), lambda: CountWindow(1000)])
def test_memory_does_not_grow_with_calls(make):
    """What a window holds after 100,000 calls has the size of what it held after the first."""

    def size(window):
        return sum(sys.getsizeof(getattr(window, name)) for name in type(window).__slots__)

    window = make()
    window.add(True, True, 0.0)
    before = size(window)
    for number in range(100_000):
        window.add(number % 2 == 0, False, number / 100)
    assert size(window) <= before + 16 * 40  # larger numbers, no longer lists
