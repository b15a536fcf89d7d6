"""The balancer: who may be chosen, and who is kept out, why and for how long."""

import json
from random import Random

import pytest

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.empty import FailClosed, FailOpen, Wait
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError, NoEndpointAvailable, NotReady
from lbkit.scheduler import LeastConnections, ShortestExpectedDelay, by_name
from tests.unit.balancer.worlds import (
    ERROR,
    NO_ANSWER,
    UNREACHABLE,
    apply,
    balancer,
    endpoints,
    fail,
    host,
    in_flight,
    overloaded,
    state,
    tried,
    use,
)


def test_without_a_membership_nothing_can_be_had():
    """NotReady before the first snapshot; afterwards an empty one is a plain fact."""
    made, _ = balancer()
    with pytest.raises(NotReady, match="orders: no membership is known yet"):
        made.acquire()
    made.apply(Snapshot.of([]))
    with pytest.raises(NoEndpointAvailable, match="orders: no endpoints are known") as caught:
        made.acquire()
    assert not isinstance(caught.value, NotReady)
    assert made.stats().refused == 1


@pytest.mark.parametrize(
    "scheduler",
    ["first", "least_connections", "least_request", "peak_ewma", "random", "round_robin", "shortest_expected_delay"],
)
def test_untried_endpoints_come_first_whatever_the_scheduler(scheduler):
    """Four attempts of one call go to four endpoints; the fifth goes somewhere."""
    made, _ = balancer(*"abcd", scheduler=by_name(scheduler))
    for _ in range(20):
        names = ""
        for _ in range(4):
            lease = made.acquire(tried(*names))
            names += host(lease)
            lease.release()
        assert sorted(names) == list("abcd")
        made.acquire(tried(*names)).release()


# -- draining, weight 0


def test_a_draining_endpoint_gets_nothing_new_and_keeps_what_it_has():
    """Restored, it is in use again."""
    made, _ = balancer("a", "b")
    lease = made.acquire()
    made.drain("a:80")
    assert use(made, 5) == "bbbbb"
    assert (state(made, "a"), in_flight(made)["a"]) == ("draining", 1)
    lease.release()
    made.drain("a:80", draining=False)
    assert set(use(made, 4)) == {"a", "b"}
    assert state(made, "a") == "ready"


def test_draining_survives_a_refresh_of_the_membership():
    """What an operator said is not undone by discovery."""
    made, _ = balancer("a", "b")
    made.drain("a:80")
    apply(made, "a", "b", "c")
    assert set(use(made, 6)) == {"b", "c"}


def test_draining_an_unknown_endpoint_is_refused_and_changes_nothing():
    """The message lists what there is."""
    made, _ = balancer("a", "b")
    before = made.stats()
    with pytest.raises(ConfigError, match="orders has no endpoint 'c:80'; it has a:80, b:80"):
        made.drain("c:80")
    assert made.stats() == before


@pytest.mark.parametrize("on_empty", [FailOpen(), FailClosed(), Wait()])
def test_draining_and_weight_0_are_never_used_not_even_failing_open(on_empty):
    """Someone decided that, unlike an open circuit, which is a guess."""
    made, _ = balancer("a", Endpoint(host="b", port=80, weight=0), on_empty=on_empty)
    made.drain("a:80")
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert dict(caught.value.reasons) == {"draining": 1, "weight_0": 1}
    assert caught.value.retry_after_s is None


def test_a_weight_of_0_keeps_an_endpoint_out_until_it_changes():
    """And back."""
    made, _ = balancer("a", Endpoint(host="b", port=80, weight=0))
    assert use(made, 4) == "aaaa"
    assert state(made, "b") == "weight_0"
    apply(made, "a", "b")
    assert set(use(made, 4)) == {"a", "b"}
    apply(made, "a", Endpoint(host="b", port=80, weight=0))
    assert use(made, 4) == "aaaa"


# -- membership


def test_a_known_address_keeps_what_was_learned_of_it():
    """Its weight may change, its record and its requests in flight stay."""
    made, clock = balancer("a", "b")
    fail(made, "a", 4)
    lease = made.acquire()
    apply(made, Endpoint(host="a", port=80, weight=3), "b", "c")
    stats = {one.endpoint: one for one in made.stats().endpoints}
    assert (stats["a:80"].failures, stats["a:80"].weight) == (4, 3.0)
    fail(made, "a", 1)
    assert state(made, "a") == "open"
    clock.advance(1.0)
    lease.release()


def test_an_address_that_comes_back_is_a_new_endpoint():
    """Results of its former life are ignored, also failures."""
    made, _ = balancer("a", "b")
    old = [made.acquire(tried("b")) for _ in range(6)]
    apply(made, "b")
    apply(made, "a", "b")
    for lease in old:
        lease.release(ERROR)
    assert state(made, "a") == "ready"
    assert in_flight(made) == {"a": 0, "b": 0}
    assert {one.endpoint: one.failures for one in made.stats().endpoints}["a:80"] == 0


def test_a_removed_endpoint_that_was_on_trial_gets_no_further_trial():
    """Its trial is cancelled after it has left: it must not be offered again."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    trial = made.acquire()
    assert host(trial) == "a"
    apply(made, "b")
    trial.release(CANCELLED)
    assert use(made, 5) == "bbbbb"


def test_the_version_grows_with_the_set_and_not_with_weights():
    """What keeps things by endpoint can tell when to look again."""
    made, _ = balancer("a", "b")
    version = made.version
    apply(made, Endpoint(host="a", port=80, weight=5), "b")
    assert made.version == version
    apply(made, "a", "c")
    assert made.version > version
    assert made.endpoints() == {"a:80", "c:80"}


# -- tiers


def test_the_best_tier_with_a_ready_endpoint_takes_everything():
    """Backups wait until no endpoint of the better tier is ready, and lose the traffic when one is."""
    made, clock = balancer(*endpoints("a", "b"), *endpoints("x", "y", priority=1), *endpoints("z", priority=2))
    assert set(use(made, 6)) == {"a", "b"}
    fail(made, "a")
    assert set(use(made, 6)) == {"b"}
    made.drain("b:80")
    assert set(use(made, 6)) == {"x", "y"}
    made.drain("x:80")
    made.drain("y:80")
    assert set(use(made, 6)) == {"z"}
    made.drain("b:80", draining=False)
    assert set(use(made, 6)) == {"b"}
    clock.advance(2.0)
    assert "a" in use(made, 2)  # its trial succeeds, and it is ready
    assert set(use(made, 6)) == {"a", "b"}


def test_a_retry_goes_to_the_next_tier_when_its_own_has_been_tried():
    """The first call after the primary has died reaches the backup; it does not wait for the circuit to open."""
    made, _ = balancer(*endpoints("a"), *endpoints("x", priority=1), *endpoints("y", priority=2))
    assert use(made, 3, info=tried("a")) == "xxx"
    assert use(made, 1, info=tried("a", "x")) == "y"
    assert use(made, 1, info=tried("a", "x", "y")) == "a"
    assert use(made, 2) == "aa"


def test_a_backup_gets_no_trial_while_a_better_tier_is_ready():
    """Requests do not go to another region only to find out whether it is alive."""
    made, clock = balancer(*endpoints("a"), *endpoints("x", "y", priority=1))
    made.drain("a:80")
    fail(made, "x")
    made.drain("a:80", draining=False)
    clock.advance(5.0)
    assert use(made, 5) == "aaaaa"
    made.drain("a:80")
    assert use(made, 1) == "x"


def test_failing_open_uses_the_best_tier_first_and_another_for_a_retry():
    """With everything open the primaries are the likeliest, and a retry goes where the call has not been."""
    breaker = CircuitBreaker(failures=1, open_s=60, open_max_s=60)
    made, _ = balancer(*endpoints("a"), *endpoints("x", priority=1), breaker=breaker)
    use(made, 2, UNREACHABLE)
    assert use(made, 3, UNREACHABLE) == "aaa"
    assert use(made, 2, UNREACHABLE, info=tried("a")) == "xx"


# -- circuit


def test_five_failures_in_a_row_open_the_circuit_and_a_trial_closes_it():
    """Out at once, back after a second with one request that succeeds."""
    made, clock = balancer("a", "b")
    fail(made, "a", 5)
    assert state(made, "a") == "open"
    assert use(made, 20) == "b" * 20
    clock.advance(1.11)
    assert use(made, 1) == "a"
    assert state(made, "a") == "ready"


@pytest.mark.parametrize("outcome", [ERROR, UNREACHABLE, NO_ANSWER])
def test_each_kind_of_failure_counts(outcome):
    """Answered badly, never reached, never answered."""
    made, _ = balancer("a", "b")
    fail(made, "a", 5, outcome)
    assert state(made, "a") == "open"


@pytest.mark.parametrize("outcome", [CANCELLED, overloaded(None), OK])
def test_what_is_no_failure_never_opens(outcome):
    """Neither cancelled requests nor push-back without a time."""
    made, _ = balancer("a", "b")
    fail(made, "a", 50, outcome)
    assert state(made, "a") == "ready"


def test_failures_of_one_incident_count_once():
    """A hundred requests were in flight when the endpoint died: the open time is that of the first opening."""
    made, clock = balancer("a", "b")
    leases = [made.acquire(tried("b")) for _ in range(100)]
    for lease in leases:
        lease.release(NO_ANSWER)
    clock.advance(1.11)
    assert host(made.acquire(tried("b"))) == "a"


def test_half_open_gives_out_exactly_its_trials():
    """Two trials, then nobody until both have ended well."""
    made, clock = balancer("a", "b", breaker=CircuitBreaker(probes=2))
    fail(made, "a")
    clock.advance(2.0)
    leases = [made.acquire() for _ in range(10)]
    assert [host(lease) for lease in leases].count("a") == 2
    assert state(made, "a") == "half_open"
    trials = [lease for lease in leases if host(lease) == "a"]
    trials[0].release(OK)
    assert state(made, "a") == "half_open"
    trials[1].release(OK)
    assert state(made, "a") == "ready"
    for lease in leases:
        if host(lease) == "b":
            lease.release()


def test_a_cancelled_or_dropped_trial_is_given_out_again():
    """Without a verdict the endpoint would otherwise stay out for ever."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    trial = made.acquire()
    trial.release(CANCELLED)
    trial = made.acquire()
    assert host(trial) == "a"
    assert use(made, 2) == "bb"
    del trial
    with pytest.warns(ResourceWarning):
        assert use(made, 1) == "a"


def test_a_trial_that_is_pushed_back_pauses_and_comes_again():
    """The endpoint is alive and busy: it rests, and its trial is not lost."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    assert use(made, 1, overloaded(10.0)) == "a"
    assert state(made, "a") == "paused"
    clock.advance(10.0)
    assert use(made, 1) == "a"
    assert state(made, "a") == "ready"


def test_a_failed_trial_doubles_the_open_time():
    """1, 2, 4 seconds, each with a tenth of jitter."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    for seconds in (1, 2, 4, 8, 16, 30, 30):
        clock.advance(0.89 * seconds)
        assert use(made, 1) == "b"
        clock.advance(0.22 * seconds)
        assert use(made, 1, UNREACHABLE) == "a"


def test_a_request_that_must_not_run_twice_is_no_trial_while_others_are_ready():
    """Trials are for those who can afford to fail; where nobody is ready it goes to the trial nevertheless."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    careful = PickInfo(may_probe=False)
    assert use(made, 5, info=careful) == "bbbbb"
    made.drain("b:80")
    assert use(made, 1, info=careful) == "a"


def test_a_call_does_not_probe_an_endpoint_that_it_has_tried():
    """Its own failure opened it; trying it again at once would be no retry elsewhere."""
    made, clock = balancer("a", "b")
    fail(made, "a")
    clock.advance(2.0)
    assert use(made, 3, info=tried("a")) == "bbb"


@pytest.mark.parametrize("on_empty", [FailClosed(), Wait(), FailOpen()])
def test_a_call_that_has_tried_everything_may_be_the_trial_where_nobody_is_ready(on_empty):
    """With one endpoint it is the only way back: a retry after the open time is its trial."""
    made, clock = balancer("a", on_empty=on_empty)
    fail(made, "a")
    clock.advance(2.0)
    lease = made.acquire(tried("a"))
    assert lease.probe
    lease.release(OK)
    assert state(made, "a") == "ready"


def test_an_endpoint_that_returns_starts_as_an_average_one():
    """What was learned before it was kept out is forgotten, or it would be avoided for its old failures."""
    made, clock = balancer("a", "b", scheduler=ShortestExpectedDelay())
    for _ in range(50):
        lease = made.acquire()
        clock.advance(0.010)
        lease.release()
    for _ in range(5):
        made.acquire(tried("b")).release(UNREACHABLE)
    clock.advance(2.0)
    lease = made.acquire()
    assert host(lease) == "a"
    lease.release(OK)
    leases = [made.acquire() for _ in range(20)]
    assert [host(lease) for lease in leases].count("a") == 10
    for lease in leases:
        lease.release(CANCELLED)


def test_the_numbers_that_belong_to_the_picker_survive_a_refresh_and_start_over_on_return():
    """What a user's picker keeps with a node is dropped exactly when the node comes back from being kept out."""
    made, _ = balancer("a", "b", scheduler=Stubborn())
    start = {"cost": 1.0, "estimate": 0.0, "stamp": -1.0, "recent": 1.0, "charge": 1.0, "counted": 0, "scratch": None}
    node = made._picker.ready[0]
    assert {name: getattr(node, name) for name in start} == start
    for name in start:
        setattr(node, name, 7)
    apply(made, "a", "b", "c")
    assert made._picker.ready[0] is node
    assert {getattr(node, name) for name in start} == {7}
    made.drain("a:80")
    assert {getattr(node, name) for name in start} == {7}
    made.drain("a:80", draining=False)
    assert {name: getattr(node, name) for name in start} == start


# -- pauses


def test_a_retry_after_pauses_an_endpoint_and_does_not_kill_it():
    """429 or 503 with Retry-After: out for that long, then back without a trial."""
    made, clock = balancer("a", "b")
    fail(made, "a", 1, overloaded(3.0))
    assert state(made, "a") == "paused"
    assert use(made, 5) == "bbbbb"
    clock.advance(2.99)
    assert use(made, 2) == "bb"
    clock.advance(0.02)
    assert set(use(made, 2)) == {"a", "b"}
    assert made.stats().failures == 0


def test_a_later_shorter_retry_after_never_shortens_a_pause():
    """Two answers to requests that were in flight together: the longer pause stands."""
    made, clock = balancer("a", "b")
    leases = [made.acquire(tried("b")) for _ in range(3)]
    leases[0].release(overloaded(10.0))
    leases[1].release(overloaded(1.0))
    clock.advance(5.0)
    assert use(made, 3) == "bbb"
    leases[2].release(overloaded(20.0))
    clock.advance(19.0)
    assert use(made, 3) == "bbb"
    clock.advance(1.1)
    assert "a" in use(made, 2)


def test_a_pause_is_300_seconds_at_most():
    """A Retry-After of a day is a mistake or an attack."""
    made, clock = balancer("a", "b")
    fail(made, "a", 1, overloaded(86_400.0))
    clock.advance(299.9)
    assert use(made, 2) == "bb"
    clock.advance(0.2)
    assert "a" in use(made, 2)


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_push_back_without_a_time_pauses_nothing(seconds):
    """The request may be retried elsewhere; the endpoint stays in use."""
    made, _ = balancer("a", "b")
    fail(made, "a", 10, overloaded(seconds))
    assert state(made, "a") == "ready"


@pytest.mark.parametrize("result", [Result.OK, Result.ERROR, Result.CANCELLED])
def test_only_push_back_pauses(result):
    """A Retry-After on anything else is not the endpoint's request to be left alone."""
    made, _ = balancer("a", "b")
    fail(made, "a", 1, Outcome(result, retry_after_s=50.0))
    assert state(made, "a") == "ready"


# -- when nobody is ready


def all_down(on_empty, *members):
    made, clock = balancer(*(members or "abc"), on_empty=on_empty, breaker=CircuitBreaker(failures=1, open_s=1))
    use(made, 3, UNREACHABLE)
    return made, clock


def test_failing_open_uses_those_kept_out_and_finds_the_first_that_returns():
    """Everything open: requests are spread over all, counted, and the first success closes its circuit."""
    made, _ = all_down(FailOpen())
    leases = [made.acquire() for _ in range(6)]
    assert sorted(host(lease) for lease in leases) == list("aabbcc")
    assert made.stats().failed_open == 6
    for lease in leases:
        lease.release(OK if host(lease) == "b" else UNREACHABLE)
    assert (state(made, "a"), state(made, "b")) == ("open", "ready")
    assert use(made, 4) == "bbbb"


def test_failing_open_prefers_the_untried():
    """Retries of one call go round all of them."""
    made, _ = all_down(FailOpen())
    names = ""
    for _ in range(3):
        lease = made.acquire(tried(*names))
        names += host(lease)
        lease.release(UNREACHABLE)
    assert sorted(names) == list("abc")


def test_a_failure_of_a_request_sent_failing_open_changes_nothing():
    """It proves nothing new: neither a longer open time nor a second incident."""
    made, clock = all_down(FailOpen())
    use(made, 50, UNREACHABLE)
    clock.advance(1.11)
    made.acquire().release(CANCELLED)
    assert {state(made, name) for name in "abc"} == {"half_open"}


@pytest.mark.parametrize("on_empty", [FailClosed(), Wait()])
def test_failing_closed_raises_with_reasons_and_the_time_of_the_next_chance(on_empty):
    """A fresh error each time, so that no traceback grows."""
    made, clock = all_down(on_empty)
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert dict(caught.value.reasons) == {"open": 3}
    assert caught.value.retry_after_s == pytest.approx(1.0, abs=0.1)
    with pytest.raises(NoEndpointAvailable) as again:
        made.acquire()
    assert again.value is not caught.value
    assert made.stats().refused == 2
    clock.advance(1.11)
    leases = [made.acquire() for _ in range(3)]
    with pytest.raises(NoEndpointAvailable) as caught:
        made.acquire()
    assert dict(caught.value.reasons) == {"half_open": 3}
    for lease in leases:
        lease.release()


# -- statistics, randomness


def test_the_statistics_are_a_table_and_json():
    """Every number is there, the same in both."""
    made, clock = balancer(
        Endpoint(host="a", port=80, weight=2, zone="eu-1"), *endpoints("b", priority=1), on_empty=FailClosed()
    )
    lease = made.acquire()
    clock.advance(0.0125)
    lease.release()
    fail(made, "a", 5)
    stats = made.stats()
    parsed = json.loads(stats.to_json())
    assert parsed["cluster"] == "orders"
    assert (parsed["calls"], parsed["attempts"], parsed["failures"]) == (6, 6, 5)
    first, second = parsed["endpoints"]
    assert first["endpoint"] == "a:80"
    assert (first["state"], first["cause"], first["weight"], first["zone"]) == ("open", "ConnectError", 2.0, "eu-1")
    assert (first["attempts"], first["failures"], first["share"], first["latency_ms"]) == (6, 5, 1.0, 12.5)
    assert 0.9 <= first["until_s"] <= 1.1
    assert (second["state"], second["until_s"], second["latency_ms"], second["priority"]) == ("ready", None, None, 1)
    table = str(stats)
    assert table.splitlines()[0] == ("orders: 6 calls, 6 attempts, 5 failures, 0 retries (0 refused), 0 failed open")
    assert "open for" in table
    assert "12.50 ms" in table
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


def test_statistics_of_nothing_are_statistics():
    """Before the first snapshot too."""
    made, _ = balancer()
    assert json.loads(made.stats().to_json())["endpoints"] == []
    assert str(made.stats()).startswith("orders: 0 calls")


def test_the_same_seed_gives_the_same_choices():
    """All randomness comes from the injected source."""

    def run(seed):
        made = Balancer("x", scheduler=LeastConnections(), clock=lambda: 0.0, rng=Random(seed))
        made.apply(Snapshot.of(endpoints(*"abcdefgh")))
        return use(made, 50)

    assert run(1) == run(1) != run(2)


# -- a picker of one's own


class Stubborn:
    """A user's scheduler with nothing but the two methods that are needed; it always wants the first node."""

    def build(self, rng):
        return self

    def rebuild(self, ready, now):
        self.ready = ready

    def pick(self, info, now):
        return self.ready[0]


def test_a_picker_of_ones_own_needs_two_methods():
    """It learns nothing and keeps no index, and that is fine."""
    made, _ = balancer("a", "b", scheduler=Stubborn())
    assert use(made, 3) == "aaa"
    use(made, 5, UNREACHABLE)
    assert use(made, 3) == "bbb"


def test_a_picker_that_returns_a_tried_node_is_overruled():
    """A retry never goes back to where it failed while others are ready: the least used of them is taken."""
    made, _ = balancer("a", "b", "c", scheduler=Stubborn())
    busy = made.acquire(tried("a", "c"))
    assert host(busy) == "b"
    assert use(made, 3, info=tried("a")) == "ccc"
    assert use(made, 3, info=tried("a", "b", "c")) == "aaa"
    busy.release()


def test_a_picker_that_raises_leaves_the_balancer_usable():
    """The lock is free and nothing was counted as in flight."""

    class Broken(Stubborn):
        def pick(self, info, now):
            raise ZeroDivisionError

    made, _ = balancer("a", scheduler=Broken())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            made.acquire()
    assert in_flight(made) == {"a": 0}
