"""The balancer: who may be chosen, and who is kept out, why and for how long."""

import json
from random import Random

import pytest

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.empty import FailClosed
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.errors import NoEndpointAvailable, NotReady
from lbkit.scheduler import LeastConnections, by_name
from tests.unit.balancer.worlds import (
    UNREACHABLE,
    Stubborn,
    balancer,
    endpoints,
    fail,
    host,
    in_flight,
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
