"""Failures in a row: three kinds, as Envoy counts them."""

from dataclasses import replace

import pytest

from lbkit.core.outcome import OK
from lbkit.health import OutlierDetection, Streak
from lbkit.health.outlier import Detector
from tests.unit.health.outlier.groups import (
    CANCELLED,
    ERROR,
    GATEWAY,
    NO_ANSWER,
    OVERLOADED,
    UNREACHABLE,
    Group,
    only,
)

ENVOY, SPLIT = OutlierDetection.envoy(), OutlierDetection.envoy(split_local=True)
ROWS = (Detector.FAILURES, Detector.GATEWAY_FAILURES, Detector.LOCAL_FAILURES)


def detected(group):
    return [group.detector.tallies[row].detected if row in group.detector.tallies else 0 for row in ROWS]


@pytest.mark.parametrize(
    ("config", "outcome", "found"),
    [
        (ENVOY, ERROR, [1, 0, 0]),
        (ENVOY, GATEWAY, [1, 1, 0]),  # gateway failures also count as 5xx
        (ENVOY, UNREACHABLE, [1, 1, 0]),  # a connect failure is a 503, a timeout a 504
        (ENVOY, NO_ANSWER, [1, 1, 0]),
        (SPLIT, ERROR, [1, 0, 0]),
        (SPLIT, GATEWAY, [1, 1, 0]),
        (SPLIT, UNREACHABLE, [0, 0, 1]),
        (SPLIT, NO_ANSWER, [0, 0, 1]),
    ],
)
def test_five_in_a_row_eject_at_once_by_what_they_were(config, outcome, found):
    """At the fifth, and not at the fourth; without waiting for the end of the interval."""
    group = Group(config, 10)
    group.tell(3, outcome, 4)
    assert detected(group) == [0, 0, 0]
    group.tell(3, outcome)
    assert detected(group) == found
    assert group.out == [3]


def test_gateway_failures_alone_are_counted_and_not_enforced_by_envoy():
    """With the other rule off, nothing is ejected however long it goes on."""
    group = Group(replace(ENVOY, failures=None), 10)
    group.tell(0, GATEWAY, 12)
    assert group.tally(Detector.GATEWAY_FAILURES) == (2, 0, 0)
    assert group.out == []


def test_a_success_ends_a_row():
    """Four and four are not five."""
    group = Group(SPLIT, 10)
    for outcome in (ERROR, GATEWAY, NO_ANSWER) * 2:
        group.tell(0, outcome, 4)
        group.tell(0, OK)
    assert detected(group) == [0, 0, 0]


@pytest.mark.parametrize("between", [CANCELLED, OVERLOADED])
def test_what_is_no_verdict_does_not_end_a_row(between):
    """A failure, and anything that is not OK, never makes an endpoint look better."""
    group = Group(ENVOY, 10)
    group.tell(0, ERROR, 4)
    group.tell(0, between, 100)
    assert group.out == []
    group.tell(0, ERROR)
    assert group.out == [0]


def test_another_server_error_ends_a_row_of_gateway_failures():
    """It was answered by the server itself; the row of all failures goes on."""
    group = Group(only(failures=Streak(6), gateway_failures=Streak(3)), 10)
    group.tell(0, GATEWAY, 2)
    group.tell(0, ERROR)
    group.tell(0, GATEWAY, 2)
    assert group.out == []
    group.tell(0, ERROR)
    assert detected(group) == [1, 0, 0]


def test_split_an_answer_ends_the_row_of_failures_to_get_one():
    """It was reached; and a failure to reach it says nothing of its answers."""
    group = Group(SPLIT, 10)
    for _ in range(4):
        group.tell(0, NO_ANSWER, 4)
        group.tell(0, ERROR)
    assert group.out == []
    group.tell(0, ERROR)
    assert detected(group) == [1, 0, 0]


def test_rows_go_on_over_the_border_of_an_interval():
    """They are not rates."""
    group = Group(ENVOY, 10)
    group.tell(0, ERROR, 3)
    group.end()
    group.tell(0, ERROR, 2)
    assert group.out == [0]


def test_a_row_that_is_not_enforced_begins_anew():
    """Otherwise every further failure would be a detection."""
    group = Group(only(failures=Streak(5, enforce=0.0)), 10)
    group.tell(0, ERROR, 14)
    assert group.tally(Detector.FAILURES) == (2, 0, 0)


def test_a_share_of_the_detections_is_enforced():
    """Of 1,000 with 30 %: 300 expected, standard deviation 14.5, four of them are 58."""
    group = Group(only(failures=Streak(1, enforce=0.3), eject_ratio=1.0), 1000)
    for number in range(1000):
        group.tell(number, ERROR)
    detected_, ejected, over_limit = group.tally(Detector.FAILURES)
    assert (detected_, over_limit) == (1000, 0)
    assert abs(ejected - 300) < 58
    assert len(group.out) == ejected


def test_a_row_of_one_reads_well():
    """In events and statistics."""
    group = Group(only(failures=Streak(1), gateway_failures=Streak(2)), 10)
    group.tell(0, ERROR)
    assert group.all[0].cause == "a failure"
    group = Group(only(gateway_failures=Streak(2)), 10)
    group.tell(0, GATEWAY, 2)
    assert group.all[0].cause == "2 gateway failures in a row"
