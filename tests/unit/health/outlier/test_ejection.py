"""Ejections: how long, how many at once, and what counts as one incident."""

import pytest

from lbkit import ConfigError
from lbkit.core.outcome import OK
from lbkit.health import FailureRate, Limit, Standing, Streak
from lbkit.health.outlier import Detector, Sibling
from tests.unit.health.outlier.groups import ERROR, Group, only

ROW = only(failures=Streak(5))


def eject(group, number=0):
    group.now += 1e-6  # an attempt that began when the last ejection ended counts for nothing
    group.tell(number, ERROR, 5)
    return group.all[number].until - group.now


def serve(group, seconds=0.0, number=0):
    """Wait for the end of the ejection, and then so long."""
    group.wait(group.all[number].until - group.now)
    group.wait(seconds)


def test_the_nth_ejection_is_n_times_as_long_up_to_the_longest():
    """30, 60, 90, ... 300, 300 seconds; the sibling is back when they are over and not before."""
    group = Group(ROW, 10)
    for expected in [*range(30, 301, 30), 300, 300]:
        assert eject(group) == pytest.approx(expected)
        group.wait(expected - 1e-3)
        assert group.out == [0]
        group.wait(1e-3)
        assert group.out == []


def test_a_whole_interval_in_service_takes_one_off():
    """After three ejections, 25 s are two intervals of 10: the next one is the second again."""
    group = Group(ROW, 10)
    for _ in range(3):
        eject(group)
        serve(group)
    group.wait(25.0)
    assert eject(group) == pytest.approx(60.0)


def test_the_multiplier_does_not_grow_beyond_what_it_is_good_for():
    """After 50 ejections ten intervals in service are enough to start over."""
    group = Group(ROW, 10)
    for _ in range(50):
        eject(group)
        serve(group)
    group.wait(100.0)
    assert eject(group) == pytest.approx(30.0)


def test_a_first_ejection_that_is_longer_than_the_longest_is_the_longest():
    """Envoy takes the larger of the two."""
    group = Group(only(failures=Streak(5), eject_s=60.0, eject_max_s=10.0), 10)
    for _ in range(3):
        assert eject(group) == pytest.approx(60.0)
        serve(group)


def test_an_ejection_that_is_shorter_than_an_interval_is_over_in_time():
    """The next failures are a new incident, although nobody has looked since."""
    group = Group(only(failures=Streak(5), eject_s=2.0), 10)
    eject(group)
    group.now += 3.0
    group.tell(0, ERROR, 4, started=group.now - 0.5)
    assert group.out == []
    assert eject(group) == pytest.approx(4.0)


def test_jitter_is_added_and_not_taken_off():
    """0 to 7 seconds, evenly: the mean of 400 is 3.5 with a standard deviation of 0.1."""
    group = Group(only(failures=Streak(1), eject_ratio=1.0, jitter_s=7.0), 400)
    for number in range(400):
        group.tell(number, ERROR)
    extra = [sibling.until - group.now - 30.0 for sibling in group.all]
    assert min(extra) >= 0.0
    assert max(extra) <= 7.0
    assert sum(extra) / 400 == pytest.approx(3.5, abs=0.4)


@pytest.mark.parametrize(
    ("limit", "always_one", "hosts", "ratio", "most"),
    [
        (Limit.NOT_ABOVE, False, 10, 0.1, 1),
        (Limit.NOT_ABOVE, False, 9, 0.1, 0),  # (0 + 1) / 9 is above 10 %
        (Limit.NOT_ABOVE, True, 9, 0.1, 1),
        (Limit.NOT_ABOVE, False, 19, 0.1, 1),
        (Limit.NOT_ABOVE, False, 20, 0.1, 2),
        (Limit.NOT_ABOVE, False, 10, 0.3, 3),
        (Limit.NOT_ABOVE, True, 5, 0.0, 1),
        (Limit.NOT_ABOVE, True, 5, 1.0, 5),
        (Limit.UNTIL_REACHED, False, 5, 0.1, 1),  # 0 / 5 is below 10 %, 1 / 5 is not
        (Limit.UNTIL_REACHED, False, 15, 0.1, 2),  # 1 / 15 is below 10 %, 2 / 15 is not
        (Limit.UNTIL_REACHED, False, 20, 0.1, 2),
        (Limit.NOT_ABOVE, True, 1, 1.0, 0),  # without siblings there is nothing to compare
        (Limit.UNTIL_REACHED, False, 1, 1.0, 0),
    ],
)
def test_no_more_than_the_share_is_ejected(limit, always_one, hosts, ratio, most):
    """Everything fails; the rest is counted as over the limit."""
    group = Group(only(failures=Streak(1), limit=limit, always_one=always_one, eject_ratio=ratio), hosts)
    for number in range(hosts):
        group.tell(number, ERROR)
    assert len(group.out) == most
    assert group.tally(Detector.FAILURES) == (hosts, most, hosts - most)


def test_what_began_before_an_ejection_or_during_it_counts_for_nothing():
    """A hundred requests that were in flight are one incident; so are those that a cluster sends as a last resort."""
    group = Group(ROW, 10)
    group.wait(1.0)
    group.tell(0, ERROR, 105)
    assert group.all[0].multiplier == 1
    assert group.tally(Detector.FAILURES) == (1, 1, 0)
    group.wait(10.0)
    group.tell(0, ERROR, 100)
    serve(group, 1.0)
    group.tell(0, ERROR, 100, started=0.5)
    group.tell(0, ERROR, 100, started=group.all[0].returned_at)
    assert group.out == []
    group.tell(0, ERROR, 5)
    assert group.out == [0]
    assert group.all[0].multiplier == 2


def test_an_ejection_clears_what_was_counted():
    """Back in service it is judged by what it does then."""
    group = Group(only(failures=Streak(5), interval_s=100.0), 10)
    group.tell(0, ERROR, 5)
    serve(group, 1.0)
    assert (group.all[0].calls, group.all[0].row) == (0, 0)
    group.tell(0, ERROR, 4)
    assert group.out == []


def test_an_excused_sibling_starts_anew():
    """The circuit breaker has judged the incident."""
    group = Group(ROW, 10)
    group.tell(0, ERROR, 4)
    group.detector.excuse(group.all[0], group.now)
    group.tell(0, ERROR, 4)
    assert group.out == []
    group.tell(0, ERROR)
    group.detector.excuse(group.all[0], group.now)
    assert group.out == [0]


@pytest.mark.parametrize(("restores", "out"), [(True, []), (False, [0])])
def test_a_check_that_passes_ends_an_ejection_where_that_is_wanted(restores, out):
    """It counts as its end: the next ejection is longer all the same."""
    group = Group(only(failures=Streak(5), restore_on_check=restores), 10)
    eject(group)
    group.wait(1.0)
    group.detector.check_passed(group.all[0], group.now)
    group.detector.check_passed(group.all[1], group.now)
    assert group.out == out
    if restores:
        assert group.all[0].cause == "check"
        assert eject(group) == pytest.approx(60.0)


def test_the_gate_objects_for_as_long_as_it_lasts():
    """With the time of its end, before the detector has made up for it and afterwards."""
    group = Group(ROW, 10)
    sibling = group.all[0]
    assert sibling.objection(0.0) is None
    eject(group)
    assert sibling.objection(group.now) is Standing.EJECTED
    assert sibling.due() == group.detector.config.eject_s + group.now
    assert sibling.objection(sibling.due()) is None


def test_a_smaller_membership_lets_those_go_whose_time_is_up_first():
    """Two of twenty are out; of ten only one may be."""
    group = Group(ROW, 20)
    eject(group, 3)
    group.wait(1.0)
    eject(group, 7)
    group.detector.changed.clear()
    group.detector.leave([group.all[number] for number in range(10, 20)], group.now)
    assert group.out == [7]
    assert group.detector.changed == [group.all[3]]
    assert group.all[3].cause == "fewer siblings"


def test_one_that_has_left_is_neither_counted_nor_remembered():
    """Also when it was ejected, or was about to be."""
    group = Group(ROW, 20)
    eject(group, 0)
    group.tell(1, ERROR, 4)
    gone = group.all[:2]
    group.detector.leave(gone, group.now)
    group.tell(1, ERROR, 100)
    assert (group.out, group.detector.hosts) == ([], 18)
    assert gone[0].objection(group.now) is None
    group.wait(1000.0)
    assert group.detector.changed == gone[:1]


@pytest.mark.parametrize("bad", ["twice", "known", "unknown"])
def test_a_wrong_change_of_membership_is_refused_and_changes_nothing(bad):
    """Joining twice and leaving what is not there are mistakes of the caller."""
    group = Group(ROW, 3)
    fresh = Sibling("fresh")
    change = group.detector.leave if bad == "unknown" else group.detector.join
    with pytest.raises(ConfigError):
        change([fresh, {"twice": fresh, "known": group.all[0], "unknown": group.all[0]}[bad]], group.now)
    assert group.detector.hosts == 3
    group.tell(0, ERROR, 5)
    assert group.out == [0]
    group.detector.join([fresh], group.now)
    assert group.detector.hosts == 4


def test_ends_of_intervals_and_of_ejections_are_made_up_for_at_their_time():
    """A look after an hour finds what many looks would have found: an ejection that has begun and is over."""
    group = Group(only(failure_rate=FailureRate(min_calls=10)), 10)
    for number in range(5):
        group.tell(number, OK if number else ERROR, 10)
    group.now = 3600.0
    group.tell(1)
    assert group.out == []
    assert group.detector.changed == [group.all[0]] * 2
    assert (group.all[0].multiplier, group.all[0].returned_at) == (1, 40.0)
    assert group.detector.due == 3610.0
