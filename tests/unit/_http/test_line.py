"""The end of every wait: for the head, for the call, and for one read."""

import math

import pytest

from lbkit._http.line import Line
from lbkit._http.shared import Limits
from lbkit.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def test_without_ends_each_wait_has_its_own_timeout(clock):
    """None stays None."""
    line = Line(clock)
    line.begin(math.inf)
    assert (line.left(None), line.left(2.0)) == (None, 2.0)


def test_the_first_read_bounds_all_of_the_head(clock):
    """A byte now and then does not extend it; writes are not counted in."""
    line = Line(clock)
    line.begin(math.inf)
    clock.advance(10.0)
    assert line.left(1.0) == 1.0
    assert line.left(1.0, reading=True) == 1.0
    clock.advance(0.6)
    assert line.left(1.0, reading=True) == pytest.approx(0.4)
    clock.advance(1.0)
    assert line.left(1.0, reading=True) == 0.0


def test_the_body_has_a_timeout_for_each_read_and_the_calls_end(clock):
    """After the head only the deadline is left besides."""
    line = Line(clock)
    line.begin(clock() + 3.0)
    line.left(1.0, reading=True)
    clock.advance(0.9)
    line.head_came(clock() + 2.0)
    assert line.left(1.0, reading=True) == 1.0
    clock.advance(1.5)
    assert line.left(1.0, reading=True) == pytest.approx(0.5)
    assert line.left(None, reading=True) == pytest.approx(0.5)
    clock.advance(1.0)
    assert line.left(1.0) == 0.0


def test_a_line_is_new_for_each_attempt(clock):
    """The head's end of the last use does not shorten the next."""
    line = Line(clock)
    line.begin(math.inf)
    line.left(1.0, reading=True)
    clock.advance(5.0)
    line.begin(math.inf)
    assert line.left(1.0, reading=True) == 1.0


def test_limits_of_a_shared_connection_are_the_least_of_timeout_and_end(clock):
    """The same arithmetic, each request for itself."""
    limits = Limits({"read": 1.0, "write": None}, clock, clock() + 1.5)
    assert (limits.read(), limits.write(), limits.left()) == (1.0, 1.5, 1.5)
    clock.advance(1.0)
    assert limits.read() == pytest.approx(0.5)
    clock.advance(1.0)
    assert (limits.read(), limits.left()) == (0.0, 0.0)
    limits.end = math.inf
    assert (limits.read(), limits.write()) == (1.0, math.inf)
