"""A world of servers and clients in virtual time: what choosing does to latency, without a second of waiting.

Events happen in the order of their times and nothing runs in between, so that a run is exact and can be repeated. The
clients are real: each has its own `Balancer`, whose clock is the world's. Only the servers are modelled, and a FIFO
server needs no event of its own: when a request arrives, it is already certain when it will be done.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from random import Random

from lbkit.balancer.balancer import Balancer
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import OK, Outcome, Result
from lbkit.health import OutlierDetection
from lbkit.scheduler import Scheduler

MEAN_S = 0.01
"""Mean service time of a server of speed 1."""
NETWORK_S = 0.025 * MEAN_S
"""One way between any client and any server."""
SIGMA = 1.2
"""Spread of the sizes: of the logarithm, so 1 % of the requests are 7.9 times the mean or more."""
FAILED = Outcome(Result.ERROR, cause="500")


class Clock:
    """The world's time, for balancers."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def size(rng: Random, sigma: float = SIGMA) -> float:
    """Draw the work of one request in seconds at speed 1: log-normal with mean `MEAN_S`."""
    return MEAN_S * math.exp(sigma * rng.gauss(0.0, 1.0) - sigma * sigma / 2)


class Steady:
    """A server that always works at one speed."""

    def __init__(self, speed: float = 1.0) -> None:
        self.mean = speed
        self.speed = speed

    def at(self, now: float) -> float:
        return self.speed

    def finish(self, start: float, work: float) -> float:
        return start + work / self.speed


class Antagonised:
    """A server that drops to 0.4 of its speed now and then, as when a neighbour eats its machine.

    Slow for 100 mean service times on average, well for 400, both exponential.
    """

    SLOW, ON_S, OFF_S = 0.4, 100 * MEAN_S, 400 * MEAN_S

    def __init__(self, rng: Random) -> None:
        self.mean = (self.OFF_S + self.SLOW * self.ON_S) / (self.OFF_S + self.ON_S)
        self._rng = rng
        self._slow = rng.random() < self.ON_S / (self.OFF_S + self.ON_S)
        self._changes = [0.0]  # the speed alternates at these times; index parity says which
        self._seen = 0

    def _until(self, index: int) -> float:
        while index + 1 >= len(self._changes):
            slow = self._slow == (len(self._changes) % 2 == 1)
            self._changes.append(self._changes[-1] + self._rng.expovariate(1 / (self.ON_S if slow else self.OFF_S)))
        return self._changes[index + 1]

    def _rate(self, index: int) -> float:
        return self.SLOW if self._slow == (index % 2 == 0) else 1.0

    def at(self, now: float) -> float:
        while self._until(self._seen) <= now:  # asked with rising times
            self._seen += 1
        return self._rate(self._seen)

    def finish(self, start: float, work: float) -> float:
        index = self._seen
        while self._until(index) <= start:
            index += 1
        while True:
            rate, end = self._rate(index), self._until(index)
            if start + work / rate <= end:
                return start + work / rate
            work -= (end - start) * rate
            start, index = end, index + 1


Speed = Steady | Antagonised


class Server:
    """Some workers behind one FIFO queue.

    Attributes:
        fails_ratio: Share of its requests that it refuses with an error, at once and out of turn.
        down: Pairs of times between which it refuses every connection.
    """

    FAIL_S = 0.05 * MEAN_S

    def __init__(self, workers: int, speed: Speed, *, fails_ratio: float = 0.0) -> None:
        self.speed = speed
        self.fails_ratio = fails_ratio
        self.down: list[tuple[float, float]] = []
        self._free = [0.0] * workers

    def serve(self, arrival: float, work: float) -> float:
        """Return when a request that arrives then is done; arrivals do not go back in time."""
        self.speed.at(arrival)
        start = max(arrival, self._free[0])
        end = self.speed.finish(start, work)
        heapreplace(self._free, end)
        return end


@dataclass
class Run:
    """What came of a simulation, the warm-up left out.

    Attributes:
        latencies: Of the good answers, in mean service times, sorted.
        sent: Requests by number of the server.
        failed: Failed requests by number of the server.
    """

    latencies: list[float] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)

    def quantile(self, ratio: float) -> float:
        return self.latencies[int(ratio * len(self.latencies))]

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    def share(self, server: int) -> float:
        return self.sent[server] / self.sent.total()


def cell(kind: str, servers: int, seed: int) -> list[Server]:
    """Make the servers of one cell of the table, such as "fifo1 slow".

    `fifo1`, `fifo8`: workers per server. `homog`: equal; `slow`: a tenth of them three times slower; `antag`: see
    `Antagonised`.
    """
    queue, variant = kind.split()
    workers = int(queue.removeprefix("fifo"))
    rng = Random(seed)
    speeds: list[Speed] = []
    for number in range(servers):
        if variant == "antag":
            speeds.append(Antagonised(Random(rng.random())))
        else:
            speeds.append(Steady(1 / 3 if variant == "slow" and number % 10 == 0 else 1.0))
    return [Server(workers, speed) for speed in speeds]


def rate_for(servers: list[Server], load: float) -> float:
    """Return the requests per second that keep the servers busy for `load` of the time."""
    return load * sum(len(server._free) * server.speed.mean for server in servers) / MEAN_S


def make_clients(
    scheduler: Scheduler, servers: int, clients: int, clock: Clock, seed: int, **options
) -> list[Balancer]:
    """Make balancers that all know the same servers, and nothing of each other."""
    snapshot = Snapshot.of([Endpoint(host=f"s{number}", port=80) for number in range(servers)])
    balancers = []
    for number in range(clients):
        balancer = Balancer("sim", scheduler=scheduler, clock=clock, rng=Random(seed * 1009 + number), **options)
        balancer.apply(snapshot)
        balancers.append(balancer)
    return balancers


def simulate(
    servers: list[Server],
    *,
    scheduler: Scheduler,
    rate: float,
    requests: int,
    clients: int = 10,
    seed: int = 1,
    sigma: float = SIGMA,
    warmup: float = 0.1,
    breaker: CircuitBreaker | None = None,
    outliers: OutlierDetection | None = None,
    on_answer: Callable[[float, int, bool], None] | None = None,
) -> Run:
    """Let Poisson arrivals hit random clients, each request being one attempt; return what came of it."""
    rng = Random(seed)
    clock = Clock()
    balancers = make_clients(scheduler, len(servers), clients, clock, seed, breaker=breaker, outliers=outliers)
    run = Run()
    done: list = []
    arrival = 0.0
    counted_from = warmup * requests
    refused = Outcome(Result.UNREACHABLE, cause="ConnectError")
    for number in range(requests):
        arrival += rng.expovariate(rate)
        while done and done[0][0] <= arrival:
            at, _, lease, outcome = heappop(done)
            clock.now = at
            lease.release(outcome)
        clock.now = arrival
        lease = balancers[int(rng.random() * clients)].acquire()
        chosen = int(lease.endpoint.host[1:])
        server = servers[chosen]
        reached = arrival + NETWORK_S
        outcome = OK
        if server.down and any(start <= reached < end for start, end in server.down):
            end, outcome = reached, refused
        elif server.fails_ratio and rng.random() < server.fails_ratio:
            end, outcome = reached + server.FAIL_S, FAILED
        else:
            end = server.serve(reached, size(rng, sigma))
        heappush(done, (end + NETWORK_S, number, lease, outcome))
        if number >= counted_from:
            run.sent[chosen] += 1
            if outcome is OK:
                run.latencies.append((end + NETWORK_S - arrival) / MEAN_S)
            else:
                run.failed[chosen] += 1
        if on_answer is not None:
            on_answer(arrival, chosen, outcome is OK)
    for at, _, lease, outcome in sorted(done, key=lambda event: event[:2]):
        clock.now = at
        lease.release(outcome)
    run.latencies.sort()
    return run


def central_queue(
    servers: list[Server], *, rate: float, requests: int, seed: int = 1, sigma: float = SIGMA, warmup: float = 0.1
) -> Run:
    """Serve the same arrivals from one queue: every request goes to the fastest idle worker, or waits for the first.

    No client-side choice can beat it without sending requests twice: it wastes no worker and knows everything.
    """
    rng = Random(seed)
    run = Run()
    busy: list[tuple[float, int]] = []
    idle = [number for number, server in enumerate(servers) for _ in server._free]
    varying = any(isinstance(server.speed, Antagonised) for server in servers)
    if not varying:
        idle = [(-servers[number].speed.mean, rng.random(), number) for number in idle]
        heapify(idle)
    arrival = 0.0
    for number in range(requests):
        arrival += rng.expovariate(rate)
        reached = arrival + NETWORK_S
        while busy and (busy[0][0] <= reached or not idle):
            start, worker = heappop(busy)
            if varying:
                idle.append(worker)
            else:
                heappush(idle, (-servers[worker].speed.mean, rng.random(), worker))
            if start > reached:
                reached = start
        if varying:
            best = max(range(len(idle)), key=lambda place: servers[idle[place]].speed.at(reached))
            worker = idle.pop(best)
        else:
            worker = heappop(idle)[2]
        end = servers[worker].speed.finish(reached, size(rng, sigma))
        heappush(busy, (end, worker))
        if number >= warmup * requests:
            run.sent[worker] += 1
            run.latencies.append((end + NETWORK_S - arrival) / MEAN_S)
    run.latencies.sort()
    return run
