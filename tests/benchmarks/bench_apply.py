"""What changes of a large cluster cost, and how long they hold up requests. Run by hand; takes a minute.

    python tests/benchmarks/bench_apply.py [--quick] [--json FILE]

A snapshot of 10,000 endpoints of which 50 are new and 50 others gone is applied again and again. Measured are the time
that it takes, the longest time that the balancer's lock is held in it, and the longest request (acquire and release)
that another thread sees meanwhile. Where there is a global interpreter lock, a thread that works keeps the others from
working for 5 ms at a time, whatever it does; so that request is compared with the longest while the same snapshots are
applied to another cluster. Standing changes are drains and restores of one endpoint.
"""

import gc
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from lbkit.balancer import roster
from lbkit.balancer.balancer import Balancer
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import OK
from lbkit.scheduler import LeastConnections, LeastRequest, RoundRobin, Scheduler, ShortestExpectedDelay
from tests.benchmarks.bench_pick import balancer, in_turns
from tests.benchmarks.pairing import Report, arguments

COUNT = 10_000
NEW = 50
APPLIES = 20
"""Snapshots in each round beside requests."""
SCHEDULERS: dict[str, Scheduler] = {
    "ShortestExpectedDelay": ShortestExpectedDelay(),
    "LeastConnections": LeastConnections(),
    "two choices (LeastRequest)": LeastRequest(),
    "RoundRobin": RoundRobin(),
}


class TimedLock:
    """A lock that knows the longest time for which it was held, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = 0.0
        self.longest_s = 0.0

    def acquire(self) -> None:
        """Lock."""
        self._lock.acquire()
        self._since = time.perf_counter()

    def release(self) -> None:
        """Unlock."""
        self.longest_s = max(self.longest_s, time.perf_counter() - self._since)
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def snapshots(count: int = COUNT, new: int = NEW) -> Iterator[Snapshot]:
    """Yield memberships without end: each has `new` endpoints that the one before had not, and none is the same object."""
    start = 0
    while True:
        start += new
        yield Snapshot(
            tuple(Endpoint(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 8080) for n in range(start, start + count))
        )


def used(scheduler: Scheduler, count: int = COUNT) -> Balancer:
    """Make a balancer whose picker has seen some traffic."""
    made = balancer(scheduler, count)
    for _ in range(2 * count):
        made.acquire().release(OK)
    return made


def timed(made: Balancer, snapshot: Snapshot) -> tuple[float, float]:
    """Apply a snapshot; return the milliseconds that it takes, and for which the lock is held."""
    lock = TimedLock()
    made._lock = lock  # type: ignore[assignment]
    gc.collect()
    start = time.perf_counter()
    made.apply(snapshot)
    return (time.perf_counter() - start) * 1e3, lock.longest_s * 1e3


def applies(report: Report, rounds: int) -> None:
    """The time that a snapshot takes, and the part of it that requests may have to wait for."""
    report.head(f"{COUNT:,} endpoints, {NEW} new and {NEW} gone")
    for name, scheduler in SCHEDULERS.items():
        made = used(scheduler)
        whole, held = [], []
        for _, snapshot in zip(range(rounds), snapshots(), strict=False):
            took, locked = timed(made, snapshot)
            whole.append(took)
            held.append(locked)
        report.add(f"{name}: the snapshot applied", whole, unit="ms", bound="<= 50")
        report.add(f"{name}: the lock held", held, unit="ms", bound="<= 1" if made._roster._updates else "")


class Applier(threading.Thread):
    """Applies snapshots to a balancer, or sleeps for as long as that takes, one every 20 ms."""

    def __init__(self, made: Balancer | None) -> None:
        super().__init__()
        self.step = 0
        """Grows by one when a snapshot begins to be applied, and again when it is."""
        self._made = made
        self._snapshots = [snapshot for _, snapshot in zip(range(APPLIES), snapshots(), strict=False)]

    def run(self) -> None:
        """Apply all."""
        for snapshot in self._snapshots:
            time.sleep(0.02)
            self.step += 1
            if self._made is None:
                time.sleep(0.006)
            else:
                self._made.apply(snapshot)
            self.step += 1


def longest_requests(made: Balancer, applied: Balancer | None) -> list[float]:
    """Send requests one at a time; return the longest beside each snapshot that is applied, in milliseconds."""
    applier = Applier(applied)
    applier.start()
    longest = [0.0] * APPLIES
    clock, acquire = time.perf_counter, made.acquire
    before, step = clock(), 0
    while step < 2 * APPLIES:
        acquire().release(OK)
        now, began_at, step = clock(), step, applier.step
        if began_at % 2 or step > began_at:
            longest[began_at // 2] = max(longest[began_at // 2], now - before)
        before = now
    applier.join()
    return [one * 1e3 for one in longest]


def requests(report: Report, rounds: int) -> None:
    """The longest request beside a change of membership."""
    report.head("the longest request while another thread applies such a snapshot, default scheduler")
    made, other = used(ShortestExpectedDelay()), used(ShortestExpectedDelay())
    figures: dict[str, list[float]] = {"nowhere": [], "to another cluster": [], "to this cluster": []}
    gc.disable()  # a collection stops all threads, whatever they do
    for _ in range(rounds):
        for name, target in zip(figures, (None, other, made), strict=True):
            figures[name].append(statistics.median(longest_requests(made, target)))
            gc.collect()
    gc.enable()
    for name, values in figures.items():
        report.add(f"applied {name}", values, unit="ms")
    pairs = zip(figures["to this cluster"], figures["to another cluster"], strict=True)
    report.add("to this cluster against to another", [one / two for one, two in pairs], bound="<= 1.5")


def standings(report: Report, rounds: int) -> None:
    """One endpoint goes or returns."""
    report.head("change of standing of one endpoint, all of it under the lock")

    def change(made: Balancer) -> Callable[[int], None]:
        identity = next(iter(made.endpoints()))

        def work(times: int) -> None:
            for number in range(times):
                made.drain(identity, draining=number % 2 == 0)

        return work

    sizes = (100, 1_000, 10_000)
    for name, scheduler in SCHEDULERS.items():
        figures = in_turns({count: change(balancer(scheduler, count)) for count in sizes}, 20, rounds)
        for count, values in figures.items():
            report.add(f"{name}, {count:,} endpoints", values, unit="us")
        growth = [large / small for small, large in zip(figures[100], figures[10_000], strict=True)]
        singly = name in ("ShortestExpectedDelay", "LeastConnections")
        report.add(f"{name}, 10,000 against 100", growth, bound="<= 2" if singly else "")


def singly_or_all(report: Report, rounds: int) -> None:
    """Where moving nodes one by one stops to pay: `MUCH_RATIO`."""
    report.head(f"{COUNT:,} endpoints, of which a share is replaced: nodes moved singly against all listed anew")
    usual = roster.MUCH_RATIO
    for share in (0.125, 0.25, 0.5, 1.0):
        ratios = []
        singly, anew = used(ShortestExpectedDelay()), used(ShortestExpectedDelay())
        for _, snapshot in zip(range(rounds), snapshots(new=int(COUNT * share / 2)), strict=False):
            roster.MUCH_RATIO = 2.0
            one = timed(singly, snapshot)[1]
            roster.MUCH_RATIO = 0.0
            ratios.append(one / timed(anew, snapshot)[1])
        roster.MUCH_RATIO = usual
        report.add(f"{share:.1%} changed, lock held singly against anew", ratios)


def main() -> None:
    """Run everything."""
    options = arguments(__doc__.partition("\n")[0])
    report = Report("bench_apply")
    logging.getLogger("lbkit").setLevel(logging.CRITICAL)
    rounds = 5 if options.quick else 15
    applies(report, rounds)
    requests(report, rounds)
    standings(report, rounds)
    singly_or_all(report, rounds)
    report.end(options.json)


if __name__ == "__main__":
    main()
