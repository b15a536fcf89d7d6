"""What choosing costs: acquire and release of every scheduler, with 4 to 10,000 endpoints. Run by hand; takes a minute.

    python tests/benchmarks/bench_pick.py [--quick] [--json FILE]

Microseconds of CPU for one acquire and one release, lock, lease object and learning included. The sizes take turns in
every round, so that a ratio between two of them compares what was measured within the same second. Three mixes: one
request at a time; 50 in flight, the oldest given back each time, so that indexes by load change; and the same with 30 %
of the endpoints' circuits open.
"""

import gc
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).resolve().parents[2]))

from lbkit import Cluster, OutlierDetection
from lbkit.balancer.balancer import Balancer
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import OK, Result
from lbkit.health.outlier import OutlierDetector, Sibling
from lbkit.scheduler import (
    First,
    LeastConnections,
    LeastRequest,
    PeakEwma,
    RoundRobin,
    Scheduler,
    ShortestExpectedDelay,
)
from lbkit.scheduler import Random as RandomChoice
from tests.benchmarks.pairing import Report, arguments

SIZES = (4, 100, 1_000, 10_000)
IN_FLIGHT = 50
SCHEDULERS: dict[str, Scheduler] = {
    "two choices (LeastRequest)": LeastRequest(),
    "ShortestExpectedDelay": ShortestExpectedDelay(),
    "PeakEwma": PeakEwma(),
    "LeastRequest(choices=None)": LeastRequest(choices=None),
    "LeastConnections": LeastConnections(),
    "RoundRobin": RoundRobin(),
    "Random": RandomChoice(),
    "First": First(),
}
FOREVER = CircuitBreaker(failures=1, open_s=3600.0, open_max_s=3600.0)
"""An open circuit stays so for the whole benchmark."""

Work = Callable[[int], None]


def snapshot(count: int) -> Snapshot:
    """Return so many endpoints."""
    return Snapshot.of(Endpoint(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 8080) for n in range(count))


def balancer(scheduler: Scheduler, count: int, *, open_ratio: float = 0.0) -> Balancer:
    """Make a balancer that has seen some traffic, with a share of its circuits open."""
    rng = Random(count)
    made = Balancer("orders", scheduler=scheduler, breaker=FOREVER, rng=rng)
    made.apply(snapshot(count))
    if open_ratio:
        now = made.clock()
        failed = list(made._roster.nodes.values())[: int(count * open_ratio)]
        for node in failed:
            node.health.circuit.record(Result.ERROR, node.health.circuit.generation, now=now)
        made._roster.stand(failed, "benchmark", now)
    return made


def one_at_a_time(made: Balancer) -> Work:
    """Acquire, release, and so on."""

    def work(calls: int) -> None:
        acquire = made.acquire
        for _ in range(calls):
            acquire().release(OK)

    return work


def with_some_in_flight(made: Balancer) -> Work:
    """Acquire one, release the oldest of 50."""
    ring = deque(made.acquire() for _ in range(IN_FLIGHT))

    def work(calls: int) -> None:
        acquire, append, popleft = made.acquire, ring.append, ring.popleft
        for _ in range(calls):
            append(acquire())
            popleft().release(OK)

    return work


def in_turns(works: dict[int, Work], calls: int, rounds: int) -> dict[int, list[float]]:
    """Return microseconds of CPU per call of each, one figure a round."""
    figures: dict[int, list[float]] = {key: [] for key in works}
    for work in works.values():
        work(calls)
    for _ in range(rounds):
        for key, work in works.items():
            gc.collect()
            start = time.process_time()
            work(calls)
            figures[key].append((time.process_time() - start) / calls * 1e6)
    return figures


def told(report: Report, what: str, figures: dict[int, list[float]], bounds: dict[int, str], growth: str = "") -> None:
    """Report microseconds for each size, and how the largest compares with the smallest."""
    for count, values in figures.items():
        report.add(f"{what}, {count:,} endpoints", values, unit="us", bound=bounds.get(count, ""))
    small, large = figures[SIZES[0]], figures[SIZES[-1]]
    report.add(
        f"{what}, {SIZES[-1]:,} against {SIZES[0]}", [b / a for a, b in zip(small, large, strict=True)], bound=growth
    )


def picks(report: Report, calls: int, rounds: int) -> None:
    """Every scheduler in every mix."""
    mixes: dict[str, Callable[[Scheduler, int], Work]] = {
        "one at a time": lambda scheduler, count: one_at_a_time(balancer(scheduler, count)),
        f"{IN_FLIGHT} in flight": lambda scheduler, count: with_some_in_flight(balancer(scheduler, count)),
        f"{IN_FLIGHT} in flight, 30 % open": lambda scheduler, count: with_some_in_flight(
            balancer(scheduler, count, open_ratio=0.3)
        ),
    }
    for mix, make in mixes.items():
        report.head(f"acquire and release, {mix}")
        for name, scheduler in SCHEDULERS.items():
            figures = in_turns({count: make(scheduler, count) for count in SIZES}, calls, rounds)
            bounds, growth = {}, ""
            if isinstance(scheduler, LeastRequest) and scheduler.choices == 2:
                bounds, growth = {4: "<= 3"}, "<= 1.5"
            elif isinstance(scheduler, ShortestExpectedDelay):
                bounds = {4: "<= 4", 100: "<= 6", 1_000: "<= 6", 10_000: "<= 6"}
            told(report, name, figures, bounds, growth)


def calls_and_changes(report: Report, calls: int, rounds: int) -> None:
    """What a whole call costs where nothing fails, and a change of standing, which lists the endpoints anew."""
    cluster = Cluster("orders", [f"10.0.0.{number}:80" for number in range(1, 5)])
    cluster.open()

    def lease_alone(times: int) -> None:
        acquire = cluster.balancer.acquire
        for _ in range(times):
            acquire().release(OK)

    def whole_call(times: int) -> None:
        for _ in range(times):
            lease = cluster.call(replayable=True).begin()
            lease.mark_head()
            lease.release(OK)

    report.head("a call that succeeds at once, 4 endpoints, default scheduler")
    figures = in_turns({0: lease_alone, 1: whole_call}, calls, rounds)
    report.add("acquire and release", figures[0], unit="us")
    report.add("Call, lease, mark of the head, release", figures[1], unit="us")
    report.add("the call on top of the lease", [b - a for a, b in zip(figures[0], figures[1], strict=True)], unit="us")

    def change(made: Balancer) -> Work:
        identity = next(iter(made.endpoints()))

        def work(times: int) -> None:
            for number in range(times):
                made.drain(identity, draining=number % 2 == 0)

        return work

    report.head("one endpoint goes or returns, default scheduler: the lock is held meanwhile")
    figures = in_turns({count: change(balancer(ShortestExpectedDelay(), count)) for count in SIZES}, 4, rounds)
    for count, values in figures.items():
        report.add(f"change of standing, {count:,} endpoints", values, unit="us")


def comparing(report: Report, calls: int, rounds: int) -> None:
    """What outlier detection adds to a pick, and what the end of an interval costs under the lock."""
    report.head("outlier detection, 4 endpoints, default scheduler")
    plain, compared = (Balancer("orders", outliers=outliers, rng=Random(1)) for outliers in (None, OutlierDetection()))
    for made in (plain, compared):
        made.apply(snapshot(4))
    figures = in_turns({0: one_at_a_time(plain), 1: one_at_a_time(compared)}, calls, rounds)
    report.add("acquire and release without it", figures[0], unit="us")
    report.add("acquire and release with it", figures[1], unit="us")
    report.add("with it against without", [b / a for a, b in zip(figures[0], figures[1], strict=True)])
    report.head("the end of an interval in which every endpoint had 100 calls: the lock is held meanwhile")
    for count in SIZES[1:]:
        detector = OutlierDetector(OutlierDetection(), Random(1))
        siblings = [Sibling(str(number)) for number in range(count)]
        detector.join(siblings, 0.0)
        took = []
        for interval in range(1, 6):
            now = interval * detector.config.interval_s
            for sibling in siblings:
                for _ in range(100):
                    detector.good(sibling, now - 1.0, now - 1.0)
            start = time.process_time()
            detector.advance(now)
            took.append((time.process_time() - start) * 1e6)
        report.add(f"end of an interval, {count:,} endpoints", took, unit="us")


def main() -> None:
    """Run everything."""
    options = arguments(__doc__.partition("\n")[0])
    report = Report("bench_pick")
    logging.getLogger("lbkit").setLevel(logging.CRITICAL)  # thousands of endpoints are taken out on purpose
    calls, rounds = (2_000, 5) if options.quick else (10_000, 15)
    picks(report, calls, rounds)
    calls_and_changes(report, calls, rounds)
    comparing(report, calls, rounds)
    report.end(options.json)


if __name__ == "__main__":
    main()
