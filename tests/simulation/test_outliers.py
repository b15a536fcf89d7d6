"""Outlier detection in a world of servers: who is ejected, who comes back, and what that does to failures."""

import pytest

from lbkit.breaker import CircuitBreaker
from lbkit.health import OutlierDetection
from lbkit.scheduler import LeastRequest, RoundRobin, ShortestExpectedDelay
from tests.simulation.world import cell, rate_for, simulate

CLIENTS, SERVERS = 2, 10
NEVER_OPENS = CircuitBreaker(failures=10**9)


def run(scheduler, *, seconds, fails, heals_at=float("inf"), outliers, seed=1, breaker=None):
    """Let replicas fail by the given shares until they heal; return for each answer when, of whom, and whether good."""
    pool = cell("fifo1 homog", SERVERS, seed)
    for server, ratio in zip(pool, fails, strict=False):
        server.fails_ratio = ratio
    answers = []

    def note(at, server, ok):
        answers.append((at, server, ok))
        if at >= heals_at:
            for one in pool:
                one.fails_ratio = 0.0

    rate = rate_for(pool, 0.6)
    simulate(
        pool, scheduler=scheduler, rate=rate, requests=int(seconds * rate), clients=CLIENTS, seed=seed,
        breaker=breaker, outliers=outliers, on_answer=note,
    )  # fmt: skip
    return answers


def share(answers, server, begin, end):
    """Return the share of a server of what was sent between two times."""
    sent = [one for at, one, _ in answers if begin <= at < end]
    return sent.count(server) / len(sent)


def failed_share(answers, begin, end):
    """Return the share of failures between two times."""
    oks = [ok for at, _, ok in answers if begin <= at < end]
    return oks.count(False) / len(oks)


@pytest.mark.parametrize("scheduler", [RoundRobin(), LeastRequest()], ids=["round_robin", "least_request"])
def test_a_replica_that_fails_three_of_ten_is_ejected_and_comes_back_when_it_is_well(scheduler):
    """It gets nothing from the end of the first interval on, and its share again after its ejection."""
    # 600 requests a second: each client sends each replica some 30 a second. The first interval ends after 10 s; the
    # ejection lasts 30 to 33 s, so both clients have it back at 43 s; it is well from 20 s on.
    answers = run(scheduler, seconds=80, fails=[0.3], heals_at=20.0, outliers=OutlierDetection(), breaker=NEVER_OPENS)
    assert share(answers, 0, 0.0, 10.0) > 0.02
    assert share(answers, 0, 10.2, 40.0) == 0.0
    assert share(answers, 0, 50.0, 80.0) == pytest.approx(0.1, abs=0.02)


def test_with_ejection_far_fewer_requests_fail():
    """A replica that keeps failing 30 % is out for most of the time: 30 of 40 s, then 60 of 70 s, then 90 of 100 s."""
    options = {"seconds": 210, "fails": [0.3]}
    circuits_alone = run(RoundRobin(), outliers=None, **options)
    both = run(RoundRobin(), outliers=OutlierDetection(), **options)
    assert failed_share(circuits_alone, 0.0, 210.0) > 0.008
    assert failed_share(both, 0.0, 210.0) < 0.4 * failed_share(circuits_alone, 0.0, 210.0)


def test_the_default_scheduler_leaves_a_failing_replica_so_little_that_it_is_not_judged():
    """Fewer than the hundred calls in an interval that a rule needs; and so little is lost by that."""
    options = {"seconds": 60, "fails": [0.3], "outliers": OutlierDetection(), "breaker": NEVER_OPENS}
    learned = run(ShortestExpectedDelay(), **options)
    assert 0.0 < share(learned, 0, 10.2, 60.0) < 0.05
    assert failed_share(learned, 10.2, 60.0) < 0.015


def test_its_traffic_goes_to_all_others_alike():
    """Each of the nine has a ninth while it is out."""
    answers = run(RoundRobin(), seconds=40, fails=[0.3], outliers=OutlierDetection())
    for server in range(1, SERVERS):
        assert share(answers, server, 10.2, 40.0) == pytest.approx(1 / 9, abs=0.01)


@pytest.mark.parametrize("ratio", [0.3, 0.9])
def test_when_all_fail_alike_at_most_one_of_ten_is_out_for_each_client(ratio):
    """30 % is no outlier where all have it; 90 % is over the bar, and the share holds."""
    answers = run(
        RoundRobin(), seconds=30, fails=[ratio] * SERVERS, outliers=OutlierDetection(), breaker=NEVER_OPENS
    )  # fmt: skip
    # Two clients, each of which may leave one out: every other replica keeps at least half of its fair share.
    starved = [server for server in range(SERVERS) if share(answers, server, 10.2, 30.0) < 0.045]
    assert len(starved) <= 1
    kept = [server for server in range(SERVERS) if share(answers, server, 10.2, 30.0) > 0.09]
    assert len(kept) >= SERVERS - CLIENTS


def test_replicas_that_differ_by_chance_are_left_alone():
    """All fail 1 %: over 60 s and 12 intervals of two clients nobody is ejected."""
    answers = run(RoundRobin(), seconds=60, fails=[0.01] * SERVERS, outliers=OutlierDetection())
    for server in range(SERVERS):
        assert share(answers, server, 0.0, 60.0) == pytest.approx(0.1, abs=0.002)
