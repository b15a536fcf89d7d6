"""Windows and back-offs."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.backoff import growing, jittered
from lbkit.core.window import SlidingCount


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    gaps=st.lists(st.floats(0, 30), max_size=40),
    window_s=st.sampled_from([1.0, 10.0, 0.3]),
    start=st.sampled_from([0.0, 1e6]),
)
def test_the_count_is_that_of_the_window_to_within_one_bucket(gaps, window_s, start):
    """It lies between the count of the last 0.9 windows and that of the last whole window, whatever the gaps."""
    count = SlidingCount(window_s)
    now = start
    times = []
    for gap in gaps:
        now += gap
        count.add(now)
        times.append(now)
        edge = 1e-6 * window_s  # bucket borders are subject to rounding
        surely = sum(at > now - 0.9 * window_s + edge for at in times)
        perhaps = sum(at >= now - window_s - edge for at in times)
        assert surely <= count.total(now) <= perhaps


def test_an_idle_count_empties_by_itself():
    """Nothing needs to be called in between, however long it takes."""
    count = SlidingCount(10.0)
    count.add(5.0, 7)
    assert count.total(5.0) == 7
    assert count.total(14.0) == 7
    assert count.total(15.5) == 0
    count.add(1e9)
    assert count.total(1e9) == 1


def test_a_clock_that_was_read_slightly_earlier_breaks_nothing():
    """Threads read the clock before they take the lock, so times may come in out of order."""
    count = SlidingCount(10.0)
    count.add(20.0)
    count.add(18.9)
    assert count.total(20.0) == 2
    assert count.total(18.5) == 2
    assert count.total(40.0) == 0


@pytest.mark.parametrize(
    ("base", "factor", "limit", "step", "expected"),
    [
        (1.0, 2.0, 30.0, 0, 1.0),
        (1.0, 2.0, 30.0, 4, 16.0),
        (1.0, 2.0, 30.0, 5, 30.0),
        (1.0, 2.0, 30.0, 100_000, 30.0),
        (1, 2, 30, 100_000, 30),
        (5.0, 1.0, 30.0, 1000, 5.0),
    ],
)
def test_a_growing_delay_has_its_limit(base, factor, limit, step, expected):
    """Also where the power leaves the range of a float."""
    assert growing(base, factor, limit, step) == expected


def test_jitter_spreads_evenly_to_both_sides():
    """10 s with 0.1 lies from 9 to 11 s, on average at 10 s; with 0 it is exact."""
    rng = Random(1)
    delays = [jittered(10.0, 0.1, rng) for _ in range(2_000)]
    assert 9.0 <= min(delays) < 9.05
    assert 10.95 < max(delays) <= 11.0
    # Even over 2 s: standard deviation 0.58 s, of the mean of 2,000 0.013 s; four of these.
    assert sum(delays) / len(delays) == pytest.approx(10.0, abs=0.052)
    assert jittered(10.0, 0.0, rng) == 10.0
