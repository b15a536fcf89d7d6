"""Rates over an interval: who is far below the others, who is over a bar, and who is too quiet to be judged."""

from dataclasses import replace

import pytest

from lbkit.core.outcome import OK
from lbkit.health import FailureRate, OutlierDetection, SlowRate, SuccessRate
from lbkit.health.outlier import Detector
from lbkit.health.outlier.rates import mean_and_threshold
from tests.unit.health.outlier.groups import CANCELLED, ERROR, NO_ANSWER, OVERLOADED, Group, only

PLAIN = SuccessRate(margin=0.0)


def test_the_threshold_has_the_known_answer():
    """Rates of 50 and four times 100: mean 90, variance 400, stdev 20, threshold 90 - 1.9 x 20 = 52."""
    assert mean_and_threshold([0.5, 1.0, 1.0, 1.0, 1.0], 1.9) == pytest.approx((0.9, 0.52))
    for config in (OutlierDetection.envoy(), OutlierDetection.grpc()):
        group = Group(config, 10)
        group.rates(50, 100, 100, 100, 100)
        assert group.out == [0]
        assert group.tally(Detector.SUCCESS_RATE) == (1, 1, 0)
        assert group.all[0].cause == "50.0% good, siblings 90.0%"


def test_two_equally_bad_ones_of_five_are_within_two_deviations():
    """50, 50, 100, 100, 100: mean 80, stdev 24.5, threshold 33.5. The many are what is normal."""
    group = Group(only(success_rate=PLAIN), 5)
    group.rates(50, 50, 100, 100, 100)
    assert group.out == []


def test_a_rate_at_the_threshold_stays():
    """With the factor 2, one of five that differs is exactly at it."""
    group = Group(only(success_rate=SuccessRate(stdev_factor=2.0, margin=0.0)), 5)
    group.rates(0, 100, 100, 100, 100)
    assert group.out == []


def test_equal_rates_are_never_outliers():
    """Not even where the threshold is the mean, and rounding makes the mean larger than each of them."""
    group = Group(only(success_rate=SuccessRate(stdev_factor=0.0, margin=0.0)), 6)
    group.rates(*[90] * 6)
    assert group.out == []


def test_without_a_margin_a_single_failed_request_ejects():
    """One of n that differs is sqrt(n - 1) deviations off, however little: so Envoy and gRPC eject at 99 %."""
    plain, ours = Group(only(success_rate=PLAIN), 10), Group(only(success_rate=SuccessRate()), 10)
    for group in (plain, ours):
        group.rates(99, *[100] * 9)
    assert (plain.out, ours.out) == ([0], [])


def test_at_the_margin_it_is_an_outlier():
    """The rate 75, the mean 95: 20 off."""
    for margin, out in ((0.2, [0]), (0.21, [])):
        group = Group(only(success_rate=SuccessRate(margin=margin)), 5)
        group.rates(75, 100, 100, 100, 100)
        assert group.out == out


def test_too_few_hosts_with_enough_calls_say_nothing():
    """Five siblings, of which one has 99 calls: four are not five. That one may be the bad one, it is not judged."""
    for calls, out in ((100, [0]), (99, [])):
        group = Group(only(success_rate=PLAIN), 5)
        group.tell(0, ERROR, 50)
        group.tell(0, OK, calls - 50)
        for number in range(1, 5):
            group.tell(number, OK, 100)
        group.end()
        assert group.out == out


def test_a_quiet_sibling_is_left_out_of_the_mean():
    """Its few calls are not counted among the rates."""
    group = Group(only(success_rate=PLAIN), 6)
    group.tell(5, ERROR, 50)
    group.rates(50, 100, 100, 100, 100)
    assert group.all[0].cause == "50.0% good, siblings 90.0%"
    assert group.out == [0]


@pytest.mark.parametrize(("above", "out"), [(False, [0]), (True, [])])
def test_at_the_bar_envoy_ejects_and_grpc_does_not(above, out):
    """85 % failed is not above 85 %; 86 % is."""
    group = Group(only(failure_rate=FailureRate(above=above)), 10)
    group.rates(15, 100, 100, 100, 100)
    assert group.out == out
    group = Group(only(failure_rate=FailureRate(above=above)), 10)
    group.rates(14, 100, 100, 100, 100)
    assert group.out == [0]
    assert group.all[0].cause == "86.0% failed"


def test_envoy_counts_the_failure_percentage_and_does_not_enforce_it():
    """GRPC does."""
    for config, tally in ((OutlierDetection.envoy(), (5, 0, 0)), (OutlierDetection.grpc(), (5, 1, 4))):
        group = Group(replace(config, failures=None), 10)
        group.rates(*[10] * 5)
        assert group.tally(Detector.FAILURE_RATE) == tally


def test_the_minimum_volumes_are_of_each_rule():
    """50 calls are enough for the failure percentage and not for the success rate."""
    group = Group(OutlierDetection.grpc(), 10)
    group.tell(0, ERROR, 50)
    for number in range(1, 5):
        group.tell(number, OK, 50)
    group.end()
    assert group.tally(Detector.SUCCESS_RATE) == (0, 0, 0)
    assert group.tally(Detector.FAILURE_RATE) == (1, 1, 0)


def test_an_interval_counts_only_its_own_calls():
    """Fifty before its end and fifty after are not a hundred."""
    group = Group(only(success_rate=PLAIN), 5)
    for _ in range(2):
        for number in range(5):
            group.tell(number, OK if number else ERROR, 50)
        group.end()
    assert group.out == []


def test_cancelled_and_overloaded_count_as_nothing():
    """Neither as calls nor as failures."""
    group = Group(only(success_rate=PLAIN), 5)
    group.tell(0, CANCELLED, 1000)
    group.tell(0, OVERLOADED, 1000)
    assert group.all[0].calls == 0
    group.rates(50, 100, 100, 100, 100)
    assert group.all[0].cause == "50.0% good, siblings 90.0%"


def test_split_failures_to_get_an_answer_have_a_rate_of_their_own():
    """Unsplit they count like bad answers; split, the rate of the answers does not know them."""
    rates = (50, 100, 100, 100, 100)
    for outcome, split, detector in (
        (NO_ANSWER, False, Detector.SUCCESS_RATE),
        (NO_ANSWER, True, Detector.LOCAL_SUCCESS_RATE),
        (ERROR, False, Detector.SUCCESS_RATE),
        (ERROR, True, Detector.SUCCESS_RATE),
    ):
        group = Group(only(success_rate=SuccessRate(min_calls=50, margin=0.0), split_local=split), 10)
        group.rates(*rates, outcome=outcome)
        assert {kind: tally.detected for kind, tally in group.detector.tallies.items() if tally.detected} == {
            detector: 1
        }


def test_split_failure_rates_are_enforced_apart():
    """A bar on failures to get an answer that is only counted ejects nobody."""
    group = Group(only(failure_rate=FailureRate(enforce_local=0.0), split_local=True), 10)
    group.rates(10, 100, 100, 100, 100, outcome=NO_ANSWER)
    assert group.tally(Detector.LOCAL_FAILURE_RATE) == (1, 0, 0)
    group.rates(10, 100, 100, 100, 100)
    assert group.tally(Detector.FAILURE_RATE) == (1, 1, 0)


def test_slow_answers_eject_from_a_share_on():
    """Half of the good answers take the time that was given, or longer; failures are not counted here."""
    config = only(slow_rate=SlowRate(slow_s=1.0, ratio=0.5, min_calls=50))
    for slow, out in ((25, [0]), (24, [])):
        group = Group(config, 10)
        group.tell(0, ERROR, 50)
        group.tell(0, OK, slow, took_s=1.0)
        group.tell(0, OK, 50 - slow, took_s=0.99)
        for number in range(1, 5):
            group.tell(number, OK, 50)
        group.end()
        assert group.out == out
    assert Detector.SUCCESS_RATE not in group.detector.tallies


def test_the_worst_are_ejected_where_not_all_may_be():
    """Two are over the bar, one of ten may go."""
    group = Group(only(failure_rate=FailureRate(ratio=0.5)), 10)
    group.rates(50, 100, 30, 100, 40, 100, 100, 100, 100, 100)
    assert group.out == [2]
    assert group.tally(Detector.FAILURE_RATE) == (3, 1, 2)
