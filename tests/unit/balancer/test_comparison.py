"""Outlier detection as the endpoints of a balancer live it, beside their circuit breakers."""

from dataclasses import replace

import pytest

from lbkit import CircuitBreaker, Cluster, ConfigError, FailClosed, NoEndpointAvailable, OutlierDetection
from lbkit.breaker import Mode
from lbkit.core.outcome import OK, Outcome, Result
from lbkit.events import FailedOpen, StandingChanged
from lbkit.health import FailureRate, SlowRate, Streak
from lbkit.scheduler import LeastConnections, RoundRobin
from tests.unit.balancer.worlds import ERROR, apply, balancer, endpoints, fail, host, overloaded, state, tried, use

NAMES = "abcdefghij"
RATE = OutlierDetection(
    success_rate=None, failure_rate=FailureRate(ratio=0.5, min_calls=10, min_hosts=5), jitter_s=0.0
)  # fmt: skip
ROW = OutlierDetection(success_rate=None, failure_rate=None, failures=Streak(5), jitter_s=0.0)
NEVER = CircuitBreaker(mode=Mode.DISABLED)
DAY_S = 86_400.0


def rate_limited(**options):
    """Return a balancer that ejects from 50 % failures on, its clock, and a list of what it tells."""
    made, clock = balancer(*NAMES, **{"outliers": RATE} | options)
    told = []
    made.subscribe(told.append)
    clock.advance(1.0)
    return made, clock, told


def serve(made, rounds=20, bad="a", every=2):
    """Take every endpoint in turn so often; each `every`-th attempt at the bad ones fails."""
    for number in range(rounds):
        leases = [made.acquire() for _ in range(len([one for one in made.stats().endpoints if one.state == "ready"]))]
        for lease in leases:
            lease.release(ERROR if host(lease) in bad and number % every == 0 else OK)


def test_one_that_fails_half_of_its_calls_is_ejected_at_the_end_of_the_interval():
    """Its circuit sees no five failures in a row. It is told with its cause, and gets nothing for 30 seconds."""
    made, clock, told = rate_limited()
    serve(made)
    assert state(made, "a") == "ready"
    clock.advance(9.0)
    assert "a" not in use(made, 100)
    assert state(made, "a") == "ejected"
    (change,) = told
    assert (change.endpoint, change.before.value, change.after.value) == ("a:80", "ready", "ejected")
    assert (change.cause, change.for_s) == ("50.0% failed", 30.0)
    stats = made.stats()
    assert (stats.endpoints[0].cause, stats.endpoints[0].until_s) == ("50.0% failed", 30.0)
    (found,) = stats.outliers
    assert (found.detector, found.detected, found.ejected, found.over_limit) == ("failure_rate", 1, 1, 0)
    assert "outliers by failure_rate: 1 detected, 1 ejected, 0 over the limit" in str(stats)
    assert stats.to_dict()["outliers"] == (
        {"detector": "failure_rate", "detected": 1, "ejected": 1, "over_limit": 0},
    )  # fmt: skip


def test_it_comes_back_by_time_alone_and_gets_its_share():
    """The first request at that time has it in its list; it is told."""
    made, clock, told = rate_limited()
    serve(made)
    clock.advance(9.0)
    use(made, 1)
    clock.advance(30.0 - 1e-6)
    assert "a" not in use(made, 30)
    clock.advance(1e-6)
    assert use(made, 30).count("a") == 3
    assert [change.after.value for change in told] == ["ejected", "ready"]
    assert told[-1].cause == "time"


def test_its_traffic_is_spread_over_all_others():
    """And not given to a neighbour: 90 requests for nine endpoints are ten for each."""
    made, clock, _ = rate_limited()
    serve(made)
    clock.advance(9.0)
    names = use(made, 90)
    assert {name: names.count(name) for name in NAMES[1:]} == dict.fromkeys(NAMES[1:], 10)


def test_when_all_fail_alike_one_is_ejected_and_the_rest_serve():
    """One of ten is the limit; the nine others are counted as over it."""
    made, clock, _ = rate_limited(breaker=NEVER)
    serve(made, bad=NAMES, every=1)
    clock.advance(9.0)
    use(made, 1)
    assert made._roster.reasons() == {"ejected": 1, "ready": 9}
    (found,) = made.stats().outliers
    assert (found.detected, found.ejected, found.over_limit) == (10, 1, 9)


def test_an_open_circuit_is_the_verdict_and_the_detector_adds_none():
    """The same five failures fill a row of each. When the circuit is closed again, they are not counted any more."""
    made, clock, told = rate_limited(outliers=ROW)
    fail(made, "a")
    assert state(made, "a") == "open"
    clock.advance(2.0)
    assert use(made, 1) == "a"
    assert state(made, "a") == "ready"
    fail(made, "a", 4)
    assert [change.after.value for change in told] == ["open", "half_open", "ready"]
    assert made.stats().outliers[0].detected == 0


@pytest.mark.parametrize(
    ("breaker", "after"),
    [(CircuitBreaker(), "ejected"), (CircuitBreaker(failure_rate=0.9, window_s=60.0, min_calls=20), "ready")],
)
def test_a_circuit_that_looks_at_rates_has_judged_the_interval_as_well(breaker, after):
    """5 of 19 that count have failed, the sixth opened the circuit: 26 %. Or none of 12, if its rates are judged."""
    rate = FailureRate(ratio=0.25, min_calls=10)
    made, clock, _ = rate_limited(outliers=replace(RATE, failure_rate=rate), breaker=breaker)
    serve(made, 3, every=4)
    fail(made, "a")
    clock.advance(2.0)
    assert use(made, 1) == "a"
    serve(made, 12, bad="")
    clock.advance(7.0)
    use(made, 10)
    assert state(made, "a") == after


def test_attempts_that_were_in_flight_when_it_was_ejected_do_not_open_its_circuit():
    """They are the same incident, and its circuit is clean when it comes back."""
    made, clock, told = rate_limited(outliers=ROW, breaker=CircuitBreaker(failures=6))
    leases = [made.acquire() for _ in range(200)]
    clock.advance(1.0)
    for lease in leases:
        lease.release(ERROR if host(lease) == "a" else OK)
    assert state(made, "a") == "ejected"
    clock.advance(30.0)
    use(made, 1)
    fail(made, "a", 4)
    assert [change.after.value for change in told] == ["ejected", "ready"]


def test_an_ejection_takes_over_from_an_open_circuit():
    """Half of its calls failed, and then a row that opened its circuit. It is out for the ejection, without trials."""
    made, clock, told = rate_limited(breaker=CircuitBreaker(open_s=60.0, open_max_s=60.0))
    serve(made)
    fail(made, "a")
    clock.advance(9.0)
    use(made, 1)
    assert [change.after.value for change in told] == ["open", "ejected"]
    clock.advance(30.0)
    use(made, 10)
    assert [change.after.value for change in told] == ["open", "ejected", "ready"]


def test_trials_and_last_resorts_are_the_circuits_business():
    """However an endpoint that is half-open or ejected answers, the detector does not hear of it."""
    made, clock, _ = rate_limited(outliers=ROW)
    fail(made, "a")
    for _ in range(10):  # a trial fails each time
        clock.advance(40.0)
        fail(made, "a", 1)
    for name in NAMES[1:]:
        made.drain(f"{name}:80")
    use(made, 10, ERROR)  # as a last resort
    assert state(made, "a") == "open"
    assert made.stats().outliers[0].detected == 0
    assert made._roster.nodes["a:80"].sibling.row == 0


def test_with_every_other_endpoint_gone_an_ejected_one_is_the_last_resort():
    """Its trouble is presumed: a cluster that fails open uses it, and says so. What it answers changes nothing."""
    made, clock, told = rate_limited(outliers=ROW, breaker=NEVER)
    fail(made, "a")
    for name in NAMES[1:]:
        made.drain(f"{name}:80")
    assert use(made, 10) == "a" * 10
    assert use(made, 10, ERROR) == "a" * 10
    assert state(made, "a") == "ejected"
    assert FailedOpen("orders", "a:80") in told
    assert made.has_untried([])
    clock.advance(30.0)
    fail(made, "a", 4)
    assert state(made, "a") == "ready"


def test_a_cluster_that_fails_closed_says_how_many_are_ejected_and_until_when():
    """The end of an interval is no reason to wait: the time is that of the first return."""
    made, _, _ = rate_limited(outliers=ROW, breaker=NEVER, on_empty=FailClosed())
    fail(made, "a")
    for name in NAMES[1:]:
        made.drain(f"{name}:80")
    with pytest.raises(NoEndpointAvailable, match="1 ejected") as caught:
        made.acquire()
    assert caught.value.retry_after_s == 30.0


def test_a_drained_one_is_shown_as_drained_and_returns_to_its_ejection():
    """What an operator said is stronger."""
    made, _, _ = rate_limited(outliers=ROW, breaker=NEVER)
    fail(made, "a")
    made.drain("a:80")
    assert state(made, "a") == "draining"
    made.drain("a:80", draining=False)
    assert state(made, "a") == "ejected"


def test_cancelled_and_overloaded_attempts_are_no_verdict():
    """A pause is not an ejection, and ends no row of failures."""
    made, clock, _ = rate_limited(outliers=ROW, breaker=NEVER)
    fail(made, "a", 4)
    fail(made, "a", 4, Outcome(Result.CANCELLED))
    fail(made, "a", 1, overloaded(2.0))
    assert state(made, "a") == "paused"
    clock.advance(2.0)
    fail(made, "a", 1)
    assert state(made, "a") == "ejected"


def test_a_body_that_breaks_counts_once_more_and_is_no_success():
    """The head was a success, which ended the row; the body is a failure."""
    made, _ = balancer(*NAMES, outliers=ROW)
    lease = made.acquire()
    lease.report(OK)
    lease.release(ERROR)
    sibling = made._roster.nodes[lease.endpoint.id].sibling
    assert (sibling.calls, sibling.bad, sibling.row) == (2, 1, 1)


def test_slow_answers_are_measured_to_their_head():
    """The body may take as long as it likes."""
    config = OutlierDetection(
        success_rate=None, failure_rate=None, slow_rate=SlowRate(1.0, min_calls=10), interval_s=60.0
    )
    made, clock = balancer(*NAMES, outliers=config)
    for _ in range(10):
        leases = {host(lease): lease for lease in (made.acquire() for _ in NAMES)}
        clock.advance(0.01)
        for name in NAMES[1:]:
            leases[name].mark_head()
        clock.advance(1.0)
        leases["a"].mark_head()
        for lease in leases.values():
            lease.release()
    clock.advance(60.0)
    use(made, 1)
    assert (state(made, "a"), state(made, "b")) == ("ejected", "ready")


@pytest.mark.parametrize("scheduler", [RoundRobin(random_start=False), LeastConnections()])
def test_an_ejected_endpoint_that_leaves_and_comes_back_is_a_new_one(scheduler):
    """Its ejection leaves with it, and so does what its old leases still say."""
    made, clock, _ = rate_limited(outliers=ROW, breaker=NEVER, scheduler=scheduler)
    lease = made.acquire(tried(*NAMES[1:]))
    fail(made, "a")
    apply(made, *NAMES[1:])
    assert made._roster.reasons() == {"ready": 9}
    assert made._comparison.detector.ejected == {}
    apply(made, *NAMES)
    assert state(made, "a") == "ready"
    lease.release(ERROR)
    assert made._roster.nodes["a:80"].sibling.calls == 0
    clock.advance(DAY_S)
    use(made, 30)
    assert made._roster.reasons() == {"ready": 10}


def test_a_smaller_membership_brings_back_whom_it_may_no_longer_keep_out():
    """Two of twenty may be ejected, of ten only one: the first is back with the change."""
    members = endpoints(*(f"s{number}" for number in range(20)))
    made, clock = balancer(*members, outliers=ROW, breaker=NEVER)
    clock.advance(1.0)
    fail(made, "s0")
    clock.advance(1.0)
    fail(made, "s1")
    assert made._roster.reasons()["ejected"] == 2
    apply(made, *members[:10])
    assert (state(made, "s0"), state(made, "s1")) == ("ready", "ejected")


def test_a_change_of_weight_does_not_end_an_ejection():
    """A known address keeps what was learned of it."""
    made, clock, _ = rate_limited(outliers=ROW, breaker=NEVER)
    fail(made, "a")
    apply(made, *endpoints("a", weight=5), *NAMES[1:])
    assert state(made, "a") == "ejected"
    clock.advance(30.0)
    use(made, 1)
    assert state(made, "a") == "ready"


def test_in_the_child_of_a_fork_the_ejection_goes_on_and_the_parents_attempts_count_for_nothing():
    """What was learned is true there too."""
    made, clock, _ = rate_limited(outliers=ROW, breaker=NEVER)
    leases = [made.acquire(tried(*NAMES[:1], *NAMES[2:])) for _ in range(5)]
    fail(made, "a")
    made.before_fork()
    made.after_fork(child=True)
    for lease in leases:
        lease.release(ERROR)
    assert (state(made, "a"), state(made, "b")) == ("ejected", "ready")
    clock.advance(30.0)
    use(made, 1)
    assert state(made, "a") == "ready"


def test_without_it_nothing_is_compared_and_the_statistics_have_no_such_line():
    """It is off by default."""
    made, _ = balancer("a", "b")
    use(made, 4)
    assert made.stats().outliers == ()
    assert "outliers" not in str(made.stats())
    assert made._roster.nodes["a:80"].sibling is None


def test_a_cluster_takes_the_config_by_name_and_nothing_else():
    """Anything but an OutlierDetection is refused at construction."""
    cluster = Cluster("orders", ["a:80", "b:80"], outliers=OutlierDetection.envoy())
    cluster.open()
    assert [one.detector for one in cluster.stats().outliers] == [
        "failures", "gateway_failures", "success_rate", "failure_rate",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="expected a OutlierDetection"):
        Cluster("orders", ["a:80"], outliers=True)


def test_listeners_hear_of_ejections_outside_the_lock():
    """One that asks for statistics, or takes a lease, is not held up."""
    made, _, _ = rate_limited(outliers=ROW, breaker=NEVER)
    heard = []
    made.subscribe(lambda event: heard.append(made.stats()) if isinstance(event, StandingChanged) else None)
    fail(made, "a")
    assert [one.endpoints[0].state for one in heard] == ["ejected"]
