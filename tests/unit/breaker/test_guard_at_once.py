"""Many at once: threads, tasks under asyncio and trio, and processes that fork."""

import asyncio
import threading
from random import Random

import pytest
import trio
import trio.testing

from lbkit import CircuitBreaker, CircuitOpen
from lbkit.breaker import State
from tests.unit.breaker.guards import boom, guard, swallow


def in_threads(count, work):
    """Run `work(number)` in threads that begin together; raise what one of them raised."""
    barrier, errors = threading.Barrier(count), []

    def run(number):
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_calls_of_threads_run_at_the_same_time():
    """All eight are inside at once: no lock is held during a call."""
    made, _ = guard()
    inside = threading.Barrier(8)
    in_threads(8, lambda number: made.call(inside.wait, 30))
    assert made.stats().ok == 8


@pytest.mark.parametrize("probes", [1, 3])
def test_fifty_threads_get_exactly_the_trials(probes):
    """The others are refused at once, while the trials are still out."""
    made, clock = guard(probes=probes)
    swallow(made, count=2)
    clock.advance(1.0)
    admitted, refused = [], []
    all_came = threading.Barrier(50)

    def work(number):
        try:
            with made:
                admitted.append(number)
                all_came.wait(30)
        except CircuitOpen:
            refused.append(number)
            all_came.wait(30)

    in_threads(50, work)
    assert (len(admitted), len(refused)) == (probes, 50 - probes)
    assert made.stats().state is State.CLOSED


def test_fifty_tasks_get_exactly_the_trials():
    """Under asyncio and under trio."""

    def run(fifty):
        made, clock = guard(probes=3)
        swallow(made, count=2)
        clock.advance(1.0)
        admitted = []

        @made
        async def fetch(event):
            admitted.append(1)
            await event.wait()

        async def one(event):
            try:
                await fetch(event)
            except CircuitOpen:
                if made.stats().refused == 47:
                    event.set()

        fifty(one)
        assert (len(admitted), made.stats().refused, made.stats().state) == (3, 47, State.CLOSED)

    def with_asyncio(one):
        async def main():
            event = asyncio.Event()
            await asyncio.gather(*(one(event) for _ in range(50)))

        asyncio.run(main())

    def with_trio(one):
        async def main():
            event = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one, event)

        trio.run(main)

    run(with_asyncio)
    run(with_trio)


def test_threads_that_do_everything_at_once_leave_whole_counts():
    """Every call is counted once, the trials are given back, and control from outside breaks nothing."""
    made = CircuitBreaker(
        failures=3, probes=2, open_s=1e-4, open_max_s=1e-3, failure_rate=0.6, slow_rate=0.9, slow_s=5.0, min_calls=5
    ).guard("payments")
    kinds = (len, boom, boom, None)
    totals = [0, 0, 0, 0]
    lock = threading.Lock()

    def work(number):
        rng, mine = Random(number), [0, 0, 0, 0]
        for step in range(2000):
            kind = rng.randrange(4)
            try:
                if kind == 3:
                    made.call(boom, KeyboardInterrupt)
                elif kind == 2:
                    with made:
                        boom()
                else:
                    made.call(kinds[kind], *([""] if kind == 0 else []))
                mine[0] += 1
            except ValueError:
                mine[1] += 1
            except KeyboardInterrupt:
                mine[2] += 1
            except CircuitOpen:
                mine[3] += 1
            if step % 400 == 399:
                (made.reset, made.disable, made.enable, made.force_open, made.metrics_only, made.enable)[
                    rng.randrange(6)
                ]()
            made.stats()
        made.enable()
        with lock:
            totals[:] = [a + b for a, b in zip(totals, mine, strict=True)]

    in_threads(6, work)
    stats = made.stats()
    assert [stats.ok, stats.failed, stats.ignored, stats.refused] == totals
    assert sum(totals) == 6 * 2000
    made.reset()
    assert made.call(len, "") == 0


def cancelled_trial(run):
    made, clock = guard()
    swallow(made, count=1)
    run(made)
    assert (made.stats().failures, made.stats().ignored) == (1, 1)  # in closed: neither counted nor forgiven
    swallow(made, count=1)
    clock.advance(1.0)
    run(made)
    assert (made.stats().state, made.stats().ignored) == (State.HALF_OPEN, 2)  # half-open: the permit is back
    made.call(len, "")
    assert made.stats().state is State.CLOSED


@pytest.mark.parametrize("way", ["decorator", "with", "call"])
def test_cancellation_under_asyncio_counts_as_nothing(way):
    """By a task's `cancel` in the middle of a call."""

    def run(made):
        async def forever():
            await asyncio.Event().wait()

        async def block():
            async with made:
                await forever()

        async def main():
            works = {"decorator": made(forever), "with": block, "call": lambda: made.call(forever)}
            task = asyncio.ensure_future(works[way]())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

    cancelled_trial(run)


@pytest.mark.parametrize("way", ["decorator", "with", "call"])
def test_cancellation_under_trio_counts_as_nothing(way):
    """By a cancel scope in the middle of a call."""

    def run(made):
        async def block():
            async with made:
                await trio.sleep_forever()

        async def main():
            works = {
                "decorator": made(trio.sleep_forever), "with": block, "call": lambda: made.call(trio.sleep_forever),
            }  # fmt: skip
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(works[way])
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()

        trio.run(main)

    cancelled_trial(run)


def test_a_timeout_inside_the_call_is_a_failure():
    """It is the call's own TimeoutError, and no cancellation from outside."""
    made, _ = guard()

    @made
    async def fetch():
        async with asyncio.timeout(0):
            await asyncio.sleep(1)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(fetch())
    assert made.stats().state is State.OPEN


def test_blocks_of_tasks_do_not_meet():
    """Two tasks enter in one order and leave in the same: each ends its own block, and each trial is its own."""
    made, clock = guard(probes=2)
    swallow(made, count=2)
    clock.advance(1.0)

    async def one(first, second, error):
        async with made:
            first.set()
            await second.wait()
            if error:
                raise error

    async def main():
        a, b, c = (asyncio.Event() for _ in range(3))
        c.set()
        await asyncio.gather(one(a, b, None), one(b, c, ValueError()), return_exceptions=True)

    asyncio.run(main())
    assert (made.stats().state, made.stats().ok, made.stats().failed) == (State.OPEN, 1, 3)
