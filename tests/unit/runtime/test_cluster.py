"""The cluster: what it refuses, when it opens and closes, and that its membership is its user's."""

import threading
from collections import Counter
from random import Random

import anyio
import pytest

import lbkit
from lbkit import (
    CircuitBreaker,
    Cluster,
    ClusterClosed,
    ConfigError,
    Endpoint,
    FailClosed,
    NotReady,
    RetryBudget,
    RetryPolicy,
    Static,
    Wait,
)
from lbkit.runtime.cluster import DEFAULT_WAIT
from lbkit.scheduler import RoundRobin, ShortestExpectedDelay
from lbkit.testing import ManualClock


def make(*targets, **options):
    return Cluster("orders", Static(*targets), clock=ManualClock(), rng=Random(1), **options)


def hosts(cluster, count):
    counts = Counter()
    for _ in range(count):
        for attempt in cluster.attempts():
            with attempt as endpoint:
                counts[endpoint.host] += 1
    return counts


# -- construction


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", ["a:80"]), {}, "a cluster's name is text"),
        ((5, ["a:80"]), {}, "a cluster's name is text"),
        (("orders", []), {}, "Static needs at least one endpoint"),
        (("orders", ["a"]), {}, "endpoint 'a' has no port"),
        (("orders", ["a:80", "a:80"]), {}, "a:80 is given twice; to send it more, give it a weight"),
        (("orders", ["a:80", "A:80"]), {}, "a:80 is given twice"),
        (("orders", [80]), {}, "an endpoint is text or an Endpoint, not int"),
        (("orders", ["a:80"]), {"scheduler": "fastest"}, "no scheduler is called 'fastest'"),
        (("orders", ["a:80"]), {"scheduler": RoundRobin}, "a config with a build method"),
        (("orders", ["a:80"]), {"breaker": 5}, "expected a CircuitBreaker, not 5"),
        (("orders", ["a:80"]), {"retry": 3}, "expected a RetryPolicy, not 3"),
        (("orders", ["a:80"]), {"budget": 0.2}, "expected a RetryBudget, not 0.2"),
        (("orders", ["a:80"]), {"on_empty": "wait"}, r"on_empty is FailOpen\(\), FailClosed\(\) or Wait\(\)"),
        (("orders", ["a:80"]), {"on_empty": FailClosed}, "on_empty is FailOpen"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(arguments, options, message):
    """With what to write instead; all of them are ConfigError, which is a ValueError."""
    with pytest.raises(ConfigError, match=message):
        Cluster(*arguments, **options)


def test_unknown_options_are_refused():
    """A misspelt option is not ignored."""
    with pytest.raises(TypeError, match="retrys"):
        Cluster("orders", ["a:80"], retrys=3)


def test_the_defaults_are_those_of_the_documentation():
    """Shortest expected delay, three attempts, jittered waits, failing open."""
    cluster = make("a:80")
    assert cluster.retry == RetryPolicy(wait=DEFAULT_WAIT)
    assert isinstance(cluster.balancer.on_empty, lbkit.FailOpen)
    assert "_ExpectedDelay" in type(cluster.balancer._picker).__name__


def test_a_list_of_endpoints_is_short_for_static():
    """Texts and Endpoints, mixed."""
    cluster = Cluster("orders", ["a:80", Endpoint.parse("b:80", weight=2)])
    with cluster:
        assert [one.endpoint for one in cluster.stats().endpoints] == ["a:80", "b:80"]


def test_configs_are_not_changed_and_may_go_to_many_clusters():
    """They are frozen, and the clusters share no state."""
    retry, breaker, budget = RetryPolicy(), CircuitBreaker(), RetryBudget()
    scheduler = ShortestExpectedDelay()
    clusters = [make("a:80", retry=retry, breaker=breaker, budget=budget, scheduler=scheduler) for _ in range(2)]
    assert retry == RetryPolicy()
    assert retry.wait is None
    hosts(clusters[0], 3)
    assert (clusters[0].stats().calls, clusters[1].stats().calls) == (3, 0)


def test_making_a_cluster_starts_nothing():
    """No thread, no membership, no lookup: a module may make one when it is imported."""
    before = threading.active_count()
    cluster = make("a:80")
    assert threading.active_count() == before
    assert cluster.stats().endpoints == ()
    assert repr(cluster) == "<Cluster 'orders', not opened yet>"
    with pytest.raises(NotReady):
        cluster.balancer.acquire()


# -- lifecycle


def test_it_opens_on_first_use():
    """Every way of using it does."""
    for use in (
        lambda cluster: cluster.open(),
        lambda cluster: cluster.call(replayable=True),
        lambda cluster: hosts(cluster, 1),
        lambda cluster: cluster.drain("a:80"),
        lambda cluster: cluster.restore("a:80"),
        lambda cluster: cluster.update("b:80"),
        lambda cluster: cluster.__enter__(),
    ):
        cluster = make("a:80")
        use(cluster)
        assert repr(cluster) == "<Cluster 'orders', open>"
        assert len(cluster.stats().endpoints) == 1


def test_with_closes_it():
    """Sync and async, on both loops; opening again is refused."""
    with make("a:80") as cluster:
        hosts(cluster, 1)
    assert repr(cluster) == "<Cluster 'orders', closed>"

    async def enter():
        async with make("a:80") as inner:
            async for attempt in inner.attempts():
                with attempt:
                    pass
        return inner

    for backend in ("asyncio", "trio"):
        cluster = anyio.run(enter, backend=backend)
        with pytest.raises(ClusterClosed, match="make a new Cluster"):
            cluster.open()


@pytest.mark.parametrize(
    "use",
    [
        lambda cluster: cluster.open(),
        lambda cluster: cluster.call(replayable=True),
        lambda cluster: hosts(cluster, 1),
        lambda cluster: cluster.update("b:80"),
        lambda cluster: cluster.drain("a:80"),
        lambda cluster: cluster.__enter__(),
    ],
)
def test_a_closed_cluster_refuses_everything_but_statistics(use):
    """Closing twice is fine, and what was in flight ends in its own time."""
    cluster = make("a:80")
    lease = cluster.call(replayable=True).begin()
    cluster.close()
    cluster.close()
    with pytest.raises(ClusterClosed, match="orders was closed"):
        use(cluster)
    lease.release()
    stats = cluster.stats()
    assert (stats.attempts, stats.endpoints[0].in_flight) == (1, 0)


def test_opening_twice_does_not_disturb_what_was_learned():
    """Also from many threads at once."""
    cluster = make("a:80", "b:80")
    cluster.open()
    cluster.drain("a:80")
    version = cluster.balancer.version
    threads = [threading.Thread(target=cluster.open) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cluster.balancer.version == version
    assert [one.state for one in cluster.stats().endpoints] == ["draining", "ready"]


# -- membership


def test_update_replaces_the_membership_and_keeps_what_is_known():
    """For an application that learns of its replicas itself."""
    cluster = make("a:80", "b:80", scheduler="round_robin")
    hosts(cluster, 10)
    cluster.update("b:80", "c:80", Endpoint.parse("d:80", weight=2))
    stats = cluster.stats()
    assert [one.endpoint for one in stats.endpoints] == ["b:80", "c:80", "d:80"]
    assert stats.endpoints[0].attempts == 5
    assert hosts(cluster, 40)["a"] == 0


@pytest.mark.parametrize("targets", [(), ("a",), ("a:80", "a:80"), ("a:80", 5)])
def test_a_wrong_update_is_refused_and_changes_nothing(targets):
    """The membership is the old one, to the last number."""
    cluster = make("a:80", "b:80")
    hosts(cluster, 3)
    before = cluster.stats()
    with pytest.raises(ConfigError):
        cluster.update(*targets)
    assert cluster.stats() == before


def test_an_update_before_the_first_use_is_the_membership():
    """What was given at construction does not come back."""
    cluster = make("a:80")
    cluster.update("b:80")
    assert set(hosts(cluster, 5)) == {"b"}


def test_draining_and_restoring_are_for_operators():
    """By id, refused for what is not there."""
    cluster = make("a:80", "b:80")
    cluster.drain("a:80")
    assert hosts(cluster, 4) == {"b": 4}
    with pytest.raises(ConfigError, match="orders has no endpoint 'c:80'; it has a:80, b:80"):
        cluster.drain("c:80")
    cluster.restore("a:80")
    assert set(hosts(cluster, 40)) == {"a", "b"}


def test_subscribers_hear_of_changes_until_they_have_enough():
    """`subscribe` returns the end of it."""
    cluster = make("a:80", "b:80")
    heard = []
    end = cluster.subscribe(heard.append)
    cluster.drain("a:80")
    assert [type(event).__name__ for event in heard] == ["EndpointAdded", "EndpointAdded", "StandingChanged"]
    end()
    cluster.restore("a:80")
    assert len(heard) == 3


def test_weights_given_to_endpoints_are_kept_to():
    """3 to 1, exactly, in turn."""
    cluster = make(Endpoint.parse("a:80", weight=3), "b:80", scheduler="round_robin")
    assert hosts(cluster, 40) == {"a": 30, "b": 10}


def test_a_call_takes_the_policys_deadline_or_its_own():
    """For integrations."""
    cluster = make("a:80", retry=RetryPolicy(deadline=9.0), on_empty=Wait(timeout=1.0))
    assert cluster.call(replayable=True).remaining() == pytest.approx(9.0)
    assert cluster.call(replayable=True, deadline=2.0).remaining() == pytest.approx(2.0)
