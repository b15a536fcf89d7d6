"""A client that sends one request after another has nothing in flight to compare: who gets its requests?"""

import math
from random import Random

import pytest

from lbkit.core.outcome import OK
from lbkit.scheduler import LeastConnections, LeastRequest, PeakEwma, ShortestExpectedDelay
from tests.simulation.world import MEAN_S, Clock, make_clients


def shares(scheduler, *, nodes, requests, sigma, seed, slow=None):
    """Send requests one after another to equal replicas; return the shares of the replicas."""
    clock = Clock()
    rng = Random(seed)
    (balancer,) = make_clients(scheduler, nodes, 1, clock, seed)
    counts = [0] * nodes
    for _ in range(requests):
        lease = balancer.acquire()
        number = int(lease.endpoint.host[1:])
        counts[number] += 1
        clock.now += MEAN_S * math.exp(sigma * rng.gauss(0.0, 1.0)) * (10.0 if number == slow else 1.0)
        lease.release(OK)
    return [count / requests for count in counts]


@pytest.mark.parametrize(("sigma", "most"), [(0.0, 0.3), (0.1, 0.4), (0.3, 0.45), (1.2, 0.7)])
def test_four_equal_replicas_share_sequential_requests(sigma, most):
    """Without the charge for recent use one replica took up to 99 % of 1,000 requests, as the least of equals."""
    for seed in range(1, 6):
        found = shares(ShortestExpectedDelay(), nodes=4, requests=1_000, sigma=sigma, seed=seed)
        assert max(found) <= most
        assert min(found) > 0.01


def test_thirty_equal_replicas_share_sequential_requests():
    """In the heap as in the scan: nobody has five times its share of 3,000 requests, nobody a tenth of it."""
    found = shares(ShortestExpectedDelay(), nodes=30, requests=3_000, sigma=0.3, seed=1)
    assert max(found) < 5 / 30
    assert min(found) > 0.1 / 30


def test_the_charge_for_recent_use_does_not_hide_a_slow_replica():
    """A replica ten times slower gets less than 3 % of sequential requests."""
    for seed in range(1, 4):
        assert shares(ShortestExpectedDelay(), nodes=4, requests=2_000, sigma=0.3, seed=seed, slow=2)[2] < 0.03


@pytest.mark.parametrize("nodes", [4, 20, 21, 100])
@pytest.mark.parametrize("scheduler", [LeastConnections(), LeastRequest(choices=None), LeastRequest(), PeakEwma()])
def test_idle_replicas_are_equals_and_share_sequential_requests(scheduler, nodes):
    """Ties go round in the scan and in the heap, which once gave all of them to one replica."""
    # 100 requests a replica expected; a fair coin's standard deviation is 10. Four of these, and latency-aware choices
    # have twice that.
    wide = 2 if isinstance(scheduler, PeakEwma) else 1
    found = shares(scheduler, nodes=nodes, requests=100 * nodes, sigma=0.0, seed=1)
    assert max(found) * nodes <= 1 + 0.4 * wide
    assert min(found) * nodes >= 1 - 0.4 * wide


def test_many_clients_that_send_one_request_each_do_not_herd():
    """400 fresh clients choose among 20 replicas on their own: each gets 20 of the first requests, ± 4 sigma."""
    clock = Clock()
    clients = make_clients(ShortestExpectedDelay(), 20, 400, clock, 3)
    leases = [client.acquire() for client in clients]
    counts = [sum(lease.endpoint.host == f"s{number}" for lease in leases) for number in range(20)]
    for lease in leases:
        lease.release()
    # Binomial(400, 1/20): standard deviation 4.4.
    assert all(abs(count - 20) <= 18 for count in counts)
