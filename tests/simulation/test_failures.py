"""Replicas that fail must not look good: not by answering errors fast, and not by being idle because they are dead."""

import pytest

from lbkit.breaker import CircuitBreaker
from lbkit.scheduler import LeastRequest, PeakEwma, ShortestExpectedDelay
from tests.simulation.world import NETWORK_S, Server, Steady, cell, rate_for, simulate

NEVER_OPENS = CircuitBreaker(failures=10**9)
"""The scheduler alone: no breaker takes the failing replica out."""


def failing_share(scheduler, fails_ratio, *, servers=20, clients=10, load=0.7):
    """Return the failing replica's share of the traffic, in multiples of its fair share."""
    pool = cell("fifo1 homog", servers, 1)
    pool[0].fails_ratio = fails_ratio
    run = simulate(
        pool, scheduler=scheduler, rate=rate_for(pool, load), requests=20_000, clients=clients, breaker=NEVER_OPENS
    )
    return run.share(0) * servers


@pytest.mark.parametrize("load", [0.3, 0.9])
@pytest.mark.parametrize("scheduler", [ShortestExpectedDelay(), PeakEwma()], ids=["expected_delay", "peak_ewma"])
def test_a_replica_that_fails_every_request_at_once_gets_almost_nothing(scheduler, load):
    """Errors in a twentieth of the normal time repel: less than a tenth of the fair share, with no breaker at all."""
    assert failing_share(scheduler, 1.0, load=load) < 0.1


@pytest.mark.parametrize("load", [0.3, 0.9])
@pytest.mark.parametrize("scheduler", [ShortestExpectedDelay(), PeakEwma()], ids=["expected_delay", "peak_ewma"])
def test_a_replica_that_fails_half_of_its_requests_at_once_gets_less_than_its_share(scheduler, load):
    """Half errors are still bad: less than half of the fair share."""
    assert failing_share(scheduler, 0.5, load=load) < 0.5


def test_a_replica_that_fails_now_and_then_is_not_preferred():
    """5 % of fast errors make a replica look no better: at most its fair share, within the noise of 1,000 requests."""
    # 20,000 requests over 20 replicas: 1,000 expected, standard deviation about 32, three of them are 10 %.
    assert failing_share(ShortestExpectedDelay(), 0.05) < 1.1


def test_counting_requests_in_flight_alone_does_attract():
    """The trap is real: least requests sends the fast-failing replica more than its share (so the breaker must act)."""
    assert failing_share(LeastRequest(), 1.0) > 1.1


def test_with_four_replicas_a_failing_one_is_repelled_while_the_others_have_room():
    """Three replicas can carry the load of 0.7 times four only just, and the failing one still gets a tenth at most."""
    assert failing_share(ShortestExpectedDelay(), 1.0, servers=4, clients=2) < 0.15
    assert failing_share(ShortestExpectedDelay(), 0.5, servers=4, clients=2) < 0.5


def test_a_replica_ten_times_slower_is_known_after_a_hundred_of_its_own_requests():
    """From then on it gets 5 % at most, where a fair share were 25 %; but it is asked now and then: it may recover."""
    for seed in (1, 2, 3):
        pool = [Server(8, Steady(0.1)), *(Server(8, Steady()) for _ in range(3))]
        order = []
        simulate(
            pool,
            scheduler=ShortestExpectedDelay(),
            rate=rate_for(pool, 0.7),
            requests=12_000,
            clients=1,
            seed=seed,
            on_answer=lambda at, server, ok, order=order: order.append(server),
        )
        hundredth = [number for number, server in enumerate(order) if server == 0][99]
        later = order[hundredth + 1 :]
        assert 0 < later.count(0) <= 0.05 * len(later)


def test_a_replica_that_dies_is_left_alone_and_found_again_when_it_returns():
    """Each client loses a handful of requests; after the return the replica has its fair share again."""
    pool = cell("fifo1 homog", 4, 1)
    pool[0].down = [(10.0, 30.0)]
    sent, failed = [], []

    def note(at, server, ok):
        sent.append((at, server))
        if not ok:
            failed.append(at)

    clients, rate = 2, rate_for(pool, 0.6)
    simulate(
        pool,
        scheduler=ShortestExpectedDelay(),
        rate=rate,
        requests=int(70 * rate),
        clients=clients,
        breaker=CircuitBreaker(),
        on_answer=note,
    )
    # Five failures open the circuit; a refused connection takes 2 x 0.25 ms, in which few others are sent. The open
    # times 1, 2, 4 and 8 s, jittered by 10 %, let at most five trials through in 20 s.
    assert 2 * NETWORK_S * rate < 1
    assert 5 * clients <= len(failed) <= (5 + 1 + 5) * clients
    # The last open time before the return was at most 16 s (+ 10 %), so the circuit is closed 18 s after it.
    final = [server for at, server in sent if at > 50.0]
    assert final.count(0) / len(final) == pytest.approx(0.25, abs=0.05)
