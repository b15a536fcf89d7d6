"""Changes of membership: compared without the lock, carried out node by node, right whatever happens meanwhile."""

import threading
from random import Random

import pytest

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.events import EndpointAdded, EndpointRemoved, StandingChanged
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.scheduler import LeastConnections
from lbkit.scheduler.least import SCAN_LIMIT, LeastIndex
from lbkit.testing import ManualClock
from tests.unit.balancer.worlds import apply, balancer, fail, host, overloaded, state, tried, use

MANY = [f"s{number}" for number in range(3 * SCAN_LIMIT)]


def apply_while(made, names, event):
    """Apply a snapshot; `event` happens while its endpoints are looked at."""

    class Interrupted(tuple):
        __slots__ = ()

        def __iter__(self):
            event()
            return super().__iter__()

    made.apply(Snapshot(Interrupted(Endpoint(name, 80) for name in names)))


def reached(made, count):
    """Take so many leases, then give them back; return the names."""
    leases = [made.acquire() for _ in range(count)]
    for lease in leases:
        lease.release()
    return {host(lease) for lease in leases}


class Spied:
    """Least connections that counts how often it is given all nodes."""

    def __init__(self):
        self.rebuilds = 0

    def build(self, rng):
        spied = self

        class Index(LeastIndex):
            def rebuild(self, ready, now):
                spied.rebuilds += 1
                super().rebuild(ready, now)

        return Index(rng)


def test_requests_are_served_while_a_snapshot_is_compared():
    """The lock is free meanwhile: leases are given and come back, to the endpoints that were there before."""
    made, _ = balancer(*MANY)
    served = []

    def request():
        assert not made._lock.locked()
        served.extend(use(made, 2))

    apply_while(made, MANY[1:], request)
    assert "".join(served) == "s0s1"
    assert made.endpoints() == {f"{name}:80" for name in MANY[1:]}


@pytest.mark.parametrize("scheduler", [None, LeastConnections()], ids=["round_robin", "least_connections"])
def test_standings_that_change_while_a_snapshot_is_compared_are_kept(scheduler):
    """One that stays opens its circuit, one that goes as well, a third is drained: each is where it belongs after."""
    made, _ = balancer(*MANY, **({"scheduler": scheduler} if scheduler else {}))

    def trouble():
        fail(made, "s1")
        fail(made, "s2")
        made.drain("s3:80")

    apply_while(made, [name for name in MANY if name != "s2"], trouble)
    assert (state(made, "s1"), state(made, "s3")) == ("open", "draining")
    assert reached(made, 3 * len(MANY)) == set(MANY) - {"s1", "s2", "s3"}


def test_a_few_changes_of_a_large_cluster_do_not_give_the_picker_all_nodes_anew():
    """Nor does a circuit that opens; where most changes, all are listed once."""
    spied = Spied()
    made, _ = balancer(*MANY, scheduler=spied)
    assert spied.rebuilds == 1
    apply(made, *MANY[2:], "new")
    fail(made, "new")
    made.drain("s9:80")
    assert spied.rebuilds == 1
    apply(made, "new", "s9", *MANY[:5])
    assert spied.rebuilds == 2


def test_another_weight_tier_or_label_of_one_among_many_takes_effect():
    """A node that stays keeps its count; requests follow the weight and the tier, and a lease has the new label."""
    made, _ = balancer(*MANY, scheduler=LeastConnections())
    held = made.acquire(tried(*MANY[1:]))
    rest = MANY[1:]
    apply(made, Endpoint("s0", 80, weight=100.0), *rest)
    assert reached(made, 50) == {"s0"}
    apply(made, Endpoint("s0", 80, priority=1), *rest)
    assert "s0" not in reached(made, 100)
    apply(made, Endpoint("s0", 80, weight=1e6, zone="near"), *rest)
    lease = made.acquire()
    assert lease.endpoint.zone == "near"
    assert made.stats().endpoints[0].in_flight == 2
    lease.release()
    held.release()


def test_equal_endpoints_are_the_snapshots_own():
    """A membership that is read again and again is in memory once."""
    made, _ = balancer(*MANY)
    snapshot = Snapshot.of(Endpoint(name, 80) for name in MANY)
    made.apply(snapshot)
    assert all(
        node.endpoint is endpoint
        for node, endpoint in zip(made._roster.nodes.values(), snapshot.endpoints, strict=True)
    )


def test_events_come_in_order_added_removed_standing():
    """The added in the order of the snapshot, then the removed, then what changed its standing by it or by time."""
    made, clock = balancer(*MANY, scheduler=LeastConnections())
    made.acquire(tried(*MANY[1:])).release(overloaded(1.0))
    told = []
    made.subscribe(told.append)
    clock.advance(1.5)
    members = [*MANY[:5], *MANY[6:], Endpoint("y", 80), Endpoint("x", 80, weight=0)]
    apply(made, *members)
    assert [type(event) for event in told] == [
        EndpointAdded, EndpointAdded, EndpointRemoved, StandingChanged, StandingChanged,
    ]  # fmt: skip
    assert [event.endpoint for event in told] == ["y:80", "x:80", "s5:80", "x:80", "s0:80"]
    assert [event.cause for event in told[3:]] == ["static", "time"]


def test_the_tier_behind_takes_over_when_the_last_of_the_best_goes_and_gives_back_when_one_comes():
    """Many in the tier behind, one and then two before."""
    behind = [Endpoint(name, 80, priority=1) for name in MANY]
    made, clock = balancer("a", *behind, scheduler=LeastConnections())
    assert use(made, 3) == "aaa"
    fail(made, "a")
    assert "a" not in reached(made, len(MANY))
    apply(made, "a", "b", *behind)
    assert use(made, 3) == "bbb"
    apply(made, *behind)
    assert reached(made, len(MANY)) <= set(MANY)
    clock.advance(60)
    assert reached(made, len(MANY)) <= set(MANY)


def test_in_an_outage_of_many_each_comes_back_by_itself():
    """All are out; time makes each half-open, in the order in which they are due, and a trial brings it back."""
    made, clock = balancer(*MANY, scheduler=LeastConnections())
    for name in MANY:
        fail(made, name)
    assert {one.state for one in made.stats().endpoints} == {"open"}
    for _ in MANY:
        due = made._roster.next_due
        clock.advance(due - clock())
        lease = made.acquire()
        assert lease.probe
        lease.release()
        assert made._roster.next_due > due
    assert {one.state for one in made.stats().endpoints} == {"ready"}


def test_of_many_that_come_back_the_better_tier_has_its_trial_first():
    """Although the other tier's was half-open before."""
    idle = [Endpoint(name, 80, weight=0) for name in MANY]
    made, clock = balancer(Endpoint("a", 80, priority=1), "b", *idle, scheduler=LeastConnections())
    fail(made, "a")
    clock.advance(0.5)
    fail(made, "b")
    clock.advance(2.0)
    assert use(made, 1) == "b"


def test_changes_of_membership_wait_for_each_other():
    """Two threads with one snapshot each: the later is compared with what the earlier has left."""
    made, _ = balancer(*MANY)
    other = threading.Thread(target=apply, args=(made, *MANY, "other"))

    def meanwhile():
        other.start()
        assert made._applying.locked()

    apply_while(made, [*MANY, "one"], meanwhile)
    other.join()
    assert made.endpoints() == {f"{name}:80" for name in [*MANY, "other"]}
    assert made.version == 3


def test_no_change_of_membership_is_under_way_in_a_fork():
    """Both locks are held over it, and free after."""
    made = Balancer("x", clock=ManualClock(), rng=Random(1))
    made.before_fork()
    assert made._applying.locked()
    assert made._lock.locked()
    made.after_fork(child=False)
    apply(made, "a")
    assert use(made, 1) == "a"
