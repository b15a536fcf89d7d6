"""What an endpoint costs in memory, whether churn leaves anything behind, and where the scan should end. Run by hand.

    python tests/benchmarks/bench_memory.py [--quick] [--json FILE]

Bytes are those of tracemalloc: what Python has allocated and not freed, after a collection.
"""

import gc
import sys
import tracemalloc
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).resolve().parents[2]))

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.lease import Lease
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import OK, Outcome, Result
from lbkit.scheduler import LeastConnections, LeastRequest, ShortestExpectedDelay, least
from tests.benchmarks.bench_pick import in_turns, one_at_a_time, with_some_in_flight
from tests.benchmarks.pairing import Report, arguments

PRESENT = 10
"""Endpoints of the cluster through which others pass."""
FAILED = Outcome(Result.ERROR, cause="500")


def held() -> int:
    """Return the bytes in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def addresses(start: int, count: int) -> Iterator[Endpoint]:
    """Make endpoints that no other call with a higher start makes again."""
    for number in range(start, start + count):
        yield Endpoint(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 8080)


def per_endpoint(report: Report, count: int) -> None:
    """Bytes per endpoint, each of which has had requests and one failure."""
    report.head(f"a balancer of {count:,} endpoints after traffic to each")
    for name, scheduler in (("ShortestExpectedDelay", ShortestExpectedDelay()), ("two choices", LeastRequest())):
        tracemalloc.start()
        before = held()
        made = Balancer("orders", scheduler=scheduler, rng=Random(1))
        made.apply(Snapshot.of(addresses(0, count)))
        seen: set[str] = set()
        for number in range(60 * count):  # two random choices need about ln(n) / 2 picks per endpoint to see them all
            lease = made.acquire()
            first = lease.endpoint.id not in seen
            seen.add(lease.endpoint.id)
            lease.release(FAILED if first else OK)
            if len(seen) == count and number > 2 * count:
                break
        reached, total = len(seen), 0
        del seen, lease
        total = held() - before
        tracemalloc.stop()
        assert reached == count, f"only {reached} endpoints had traffic"
        report.add(f"{name}: bytes per endpoint, the Endpoint included", [total / count], unit="bytes", bound="<= 2048")
        del made


def pass_through(made: Balancer, ring: "deque[Lease]", source: Random, start: int, passing: int) -> None:
    """Replace one endpoint at a time by a new one; a few leases live longer than their endpoint."""
    for gone in range(start, start + passing):
        made.apply(Snapshot.of(addresses(gone, PRESENT)))
        for _ in range(20):
            ring.append(made.acquire())
            if len(ring) > 30:
                ring.popleft().release(FAILED if source.random() < 0.02 else OK)


def churn(report: Report, count: int) -> None:
    """Bytes left behind by endpoints that came and went."""
    report.head(f"{count:,} endpoints pass through a cluster of {PRESENT}, with traffic and requests in flight")
    for name, scheduler in (
        ("ShortestExpectedDelay", ShortestExpectedDelay()),
        ("LeastConnections", LeastConnections()),
        ("two choices", LeastRequest()),
    ):
        made = Balancer("orders", scheduler=scheduler, rng=Random(1))
        ring: deque[Lease] = deque()

        source = Random(2)
        pass_through(made, ring, source, 0, count // 10)
        tracemalloc.start()
        pass_through(made, ring, source, count // 10, count // 10)
        before = held()
        pass_through(made, ring, source, count // 5, count)
        grown = held() - before
        tracemalloc.stop()
        report.add(f"{name}: growth per endpoint that passed", [grown / count], unit="bytes", bound="<= 1")
        ring.clear()
        del made


def crossover(report: Report, calls: int, rounds: int) -> None:
    """Where the heap of `LeastIndex` overtakes its scan: both forced at each size, in turns."""
    limit = least.SCAN_LIMIT
    report.head(f"LeastIndex: time of a scan against the heap; SCAN_LIMIT is {limit}")
    sizes = (4, 8, 12, 16, 20, 24, 32, 48, 64)
    mixes = {"one at a time": one_at_a_time, "50 in flight": with_some_in_flight}
    for name, scheduler in (
        ("ShortestExpectedDelay", ShortestExpectedDelay()),
        ("LeastConnections", LeastConnections()),
    ):
        for mix, work in mixes.items():
            for count in sizes:
                ways = {}
                for way, forced in ((0, 1 << 30), (1, 2)):
                    least.SCAN_LIMIT = forced
                    made = Balancer("orders", scheduler=scheduler, rng=Random(count))
                    made.apply(Snapshot.of(addresses(0, count)))
                    ways[way] = work(made)
                # The heap's own rebuilding asks the limit too: it must stay low while the heap is at work.
                least.SCAN_LIMIT = 2
                figures = in_turns(ways, calls, rounds)
                ratios = [scan / heap for scan, heap in zip(figures[0], figures[1], strict=True)]
                report.add(f"{name}, {mix}: {count} endpoints, scan / heap", ratios)
    least.SCAN_LIMIT = limit


def main() -> None:
    """Run everything."""
    options = arguments(__doc__.partition("\n")[0])
    report = Report("bench_memory")
    per_endpoint(report, 10_000)
    churn(report, 10_000)
    crossover(report, *((1_000, 5) if options.quick else (3_000, 15)))
    report.end(options.json)


if __name__ == "__main__":
    main()
