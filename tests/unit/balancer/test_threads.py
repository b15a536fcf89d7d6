"""Many threads at one balancer: choices stay even and no count is lost."""

import contextlib
import gc
import sys
import threading
import warnings
from collections import Counter
from random import Random

import pytest

from lbkit.balancer.balancer import Balancer
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import CANCELLED, OK
from lbkit.errors import LeaseMisuse
from lbkit.scheduler import by_name
from tests.unit.balancer.worlds import ERROR, endpoints


@pytest.fixture(autouse=True)
def frequent_switches():
    """Switch threads as often as the interpreter can, so that races are likely."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(count, work):
    """Run `work(number)` in `count` threads that start at once; raise what any of them raised."""
    barrier = threading.Barrier(count)
    raised = []

    def body(number):
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_round_robin_is_even_over_a_hundred_threads_of_one_pick_each():
    """100 picks over 5 endpoints from 100 threads are 20 each."""
    balancer = Balancer("x", scheduler=by_name("round_robin"), rng=Random(1))
    balancer.apply(Snapshot.of(endpoints(*"abcde")))
    chosen = []
    run_together(100, lambda number: chosen.append(balancer.acquire()))
    assert Counter(lease.endpoint.host for lease in chosen) == dict.fromkeys("abcde", 20)
    for lease in chosen:
        lease.release()


@pytest.mark.parametrize("scheduler", ["round_robin", "least_connections", "shortest_expected_delay"])
@pytest.mark.parametrize("count", [4, 40])
def test_eight_threads_lose_no_count(scheduler, count):
    """Every attempt, failure and drop is counted exactly, while the membership changes and endpoints are drained."""
    balancer = Balancer("x", scheduler=by_name(scheduler), rng=Random(1))
    members = [Endpoint(host=f"s{number}", port=80) for number in range(count)]
    balancer.apply(Snapshot.of(members))
    rounds = 300

    def work(number):
        rng = Random(number)
        for step in range(rounds):
            lease = balancer.acquire()
            extra = balancer.acquire()
            lease.report(OK if rng.random() < 0.7 else CANCELLED)
            extra.release(ERROR if rng.random() < 0.02 else OK)
            lease.release()
            if number == 0 and step % 10 == 0:
                balancer.apply(Snapshot.of(members[: count - step % 3] if step % 20 else members))
            if number == 1 and step % 10 == 0:
                balancer.drain("s0:80", draining=step % 20 == 0)

    run_together(8, work)
    balancer.apply(Snapshot.of(members))
    balancer.drain("s0:80", draining=False)
    stats = balancer.stats()
    assert stats.calls == stats.attempts == 8 * rounds * 2
    rngs = [Random(number) for number in range(8)]
    failures = 0
    for rng in rngs:
        for _ in range(rounds):
            rng.random()
            failures += rng.random() < 0.02
    assert stats.failures == failures
    assert all(one.in_flight == 0 for one in stats.endpoints)
    assert stats.abandoned == 0


def test_leases_dropped_in_many_threads_are_all_settled():
    """Finalizers append without the lock; nothing is lost and nothing deadlocks."""
    balancer = Balancer("x", rng=Random(1))
    balancer.apply(Snapshot.of(endpoints("a", "b")))

    def work(number):
        cycle = []
        for _ in range(200):
            lease = balancer.acquire()
            cycle.append([lease, cycle])  # only the collector can free these

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run_together(8, work)
        gc.collect()
        stats = balancer.stats()
    assert stats.abandoned == 1_600
    assert all(one.in_flight == 0 for one in stats.endpoints)


def test_two_threads_that_release_one_lease_free_one_slot():
    """One of them may hear of its misuse; the count is right whoever wins."""
    balancer = Balancer("x", rng=Random(1))
    balancer.apply(Snapshot.of(endpoints("a")))
    for _ in range(200):
        lease = balancer.acquire()

        def release(number, lease=lease):
            with contextlib.suppress(LeaseMisuse):
                lease.release()

        run_together(2, release)
        assert balancer.stats().endpoints[0].in_flight == 0
