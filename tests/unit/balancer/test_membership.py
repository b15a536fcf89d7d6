"""Draining, weight 0, changes of the membership, and tiers."""

import pytest

from lbkit.balancer.empty import FailClosed, FailOpen, Wait
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import CANCELLED
from lbkit.errors import ConfigError, NoEndpointAvailable
from tests.unit.balancer.worlds import (
    ERROR,
    UNREACHABLE,
    apply,
    balancer,
    endpoints,
    fail,
    host,
    in_flight,
    state,
    tried,
    use,
)


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
