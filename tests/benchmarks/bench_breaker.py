"""What a circuit breaker costs around a call that does nothing: ours beside the others. Run by hand; takes half a minute.

    python tests/benchmarks/bench_breaker.py [--quick] [--json FILE]

Microseconds of CPU on top of the bare call. All take turns in every round, so that a ratio compares what was measured
within the same second. The others are not dependencies: `pip install pybreaker aiobreaker purgatory circuitbreaker`;
who is absent is left out, and the script says so.
"""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

from lbkit import CircuitBreaker, CircuitOpen
from tests.benchmarks.pairing import Report, arguments

Work = Callable[[int], None]
OURS = "lbkit, consecutive failures (the default)"
WINDOWS = {
    OURS: CircuitBreaker(),
    "lbkit, failure rate over 10 s": CircuitBreaker(failure_rate=0.5),
    "lbkit, failure rate over 100 calls": CircuitBreaker(failure_rate=0.5, window_calls=100),
    "lbkit, failure and slow-call rate over 10 s": CircuitBreaker(failure_rate=0.5, slow_rate=0.5, slow_s=1.0),
}


def nothing() -> None:
    """Do nothing."""


async def nothing_async() -> None:
    """Do nothing, in a coroutine."""


def repeat(function: Callable[[], object]) -> Work:
    """Call a function so many times."""

    def work(calls: int) -> None:
        for _ in range(calls):
            function()

    return work


def repeat_async(function: Callable[[], Coroutine[Any, Any, object]]) -> Work:
    """Await a coroutine function so many times, in one loop."""

    async def all_of_them(calls: int) -> None:
        for _ in range(calls):
            await function()

    return lambda calls: asyncio.run(all_of_them(calls))


def blocks(guard: Any) -> Work:
    """Run through a `with` block so many times."""

    def work(calls: int) -> None:
        for _ in range(calls):
            with guard:
                pass

    return work


def refusals(function: Callable[[], object], refused: type[Exception]) -> Work:
    """Be refused so many times."""

    def work(calls: int) -> None:
        for _ in range(calls):
            try:
                function()
            except refused:
                pass
            else:
                raise AssertionError("it was let in")

    return work


def peers() -> dict[str, tuple[Callable[[], object] | None, Callable[[], Coroutine[Any, Any, object]] | None]]:
    """Return what the others make of the two functions; None where they cannot."""
    found: dict[str, Any] = {}
    try:
        import pybreaker

        found["pybreaker"] = pybreaker.CircuitBreaker()(nothing), None  # its call_async is Tornado's
    except ImportError:
        print("pybreaker is not installed: left out")
    try:
        import aiobreaker

        breaker = aiobreaker.CircuitBreaker()
        found["aiobreaker"] = breaker(nothing), breaker(nothing_async)
    except ImportError:
        print("aiobreaker is not installed: left out")
    try:
        import purgatory

        found["purgatory"] = (
            purgatory.SyncCircuitBreakerFactory()("a")(nothing),
            purgatory.AsyncCircuitBreakerFactory()("a")(nothing_async),
        )
    except ImportError:
        print("purgatory is not installed: left out")
    try:
        import circuitbreaker

        made = circuitbreaker.CircuitBreaker(name="sync"), circuitbreaker.CircuitBreaker(name="async")
        found["circuitbreaker"] = made[0](nothing), made[1](nothing_async)
    except ImportError:
        print("circuitbreaker is not installed: left out")
    return found


def in_turns(works: dict[str, Work], calls: int, rounds: int) -> dict[str, list[float]]:
    """Return microseconds of CPU per call on top of the first, one figure a round."""
    figures: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            gc.collect()
            start = time.process_time()
            work(calls)
            if number:  # the first round warms up
                figures[name].append((time.process_time() - start) / calls * 1e6)
    bare = next(iter(figures))
    return {
        name: [one - floor for one, floor in zip(values, figures[bare], strict=True)]
        for name, values in figures.items()
        if name != bare
    }


def told(report: Report, title: str, works: dict[str, Work], calls: int, rounds: int) -> None:
    """Measure, and report each and how ours compares with the others."""
    report.head(title)
    figures = in_turns(works, calls, rounds)
    for name, values in figures.items():
        report.add(name, values, unit="us", bound="<= 1" if name.startswith("lbkit") else "")
    for name, values in figures.items():
        if not name.startswith("lbkit"):
            ratios = [ours / theirs for ours, theirs in zip(figures[OURS], values, strict=True)]
            report.add(f"lbkit, default, against {name}", ratios, bound="<= 1")


def at_once(report: Report, sleep_s: float) -> None:
    """Eight threads whose calls sleep: who locks the call makes them wait for each other."""
    report.head(f"eight threads, each in a call that sleeps {sleep_s} s: wall time, in units of that sleep")

    def sleep() -> None:
        time.sleep(sleep_s)

    around: dict[str, Callable[[Callable[[], None]], Callable[[], object]]] = {OURS: CircuitBreaker().guard("threads")}
    try:
        import pybreaker

        around["pybreaker"] = pybreaker.CircuitBreaker()
    except ImportError:
        print("pybreaker is not installed: left out")
    for name, guard in around.items():
        threads = [threading.Thread(target=guard(sleep)) for _ in range(8)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report.add(name, [(time.perf_counter() - start) / sleep_s], bound="<= 2" if name == OURS else "")


def main() -> None:
    """Run everything."""
    options = arguments(__doc__.partition("\n")[0])
    report = Report("bench_breaker")
    calls, rounds = (5_000, 5) if options.quick else (20_000, 15)
    others = peers()
    guards = {name: config.guard(name) for name, config in WINDOWS.items()}

    sync: dict[str, Work] = {"bare": repeat(nothing)}
    sync |= {name: repeat(guard(nothing)) for name, guard in guards.items()}
    sync |= {name: repeat(made) for name, (made, _) in others.items() if made is not None}
    told(report, "a decorated function that succeeds", sync, calls, rounds)

    awaited: dict[str, Work] = {"bare": repeat_async(nothing_async)}
    awaited |= {name: repeat_async(guard(nothing_async)) for name, guard in guards.items()}
    awaited |= {name: repeat_async(made) for name, (_, made) in others.items() if made is not None}
    told(report, "a decorated coroutine function that succeeds", awaited, calls, rounds)

    report.head("other ways, and a call that is refused")
    forced = CircuitBreaker().guard("forced")
    forced.force_open()
    more: dict[str, Work] = {
        "bare": repeat(nothing),
        "lbkit, a `with` block": blocks(guards[OURS]),
        "lbkit, refused, with its exception": refusals(forced(nothing), CircuitOpen),
    }
    for name, values in in_turns(more, calls, rounds).items():
        report.add(name, values, unit="us", bound="<= 1" if "block" in name else "")
    at_once(report, 0.05 if options.quick else 0.1)
    report.end(options.json)


if __name__ == "__main__":
    main()
