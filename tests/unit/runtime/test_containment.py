"""Code of the user's that runs in the engine's thread harms its own cluster at worst: all others are followed on."""

import asyncio
import sys
import threading
from itertools import count

import anyio
import anyio.to_thread
import pytest

from lbkit import Callback, Cluster, ClusterClosed, Endpoint
from lbkit.discovery.base import Part, Run
from tests.rigs.ports import eventually


async def never_waits():
    while True:
        yield ["a:80"]


class NeverWaits:
    """A watch that is never content, with a query that is answered at once."""

    def watch(self, rng):
        return self

    def query(self, now):
        return Run(self.ask)

    async def ask(self):
        return None

    def answer(self, reply, now):
        return None

    def failed(self, now):
        pass


class Exits(NeverWaits):
    """A watch that ends the process, or would like to."""

    def answer(self, reply, now):
        sys.exit("no such table")


class ExitsLater:
    """A combination that does, as soon as it has something to combine."""

    def __init__(self):
        self.sources = (Callback(lambda: ["a:80"]),)

    def combine(self, parts: tuple[Part, ...]):
        if parts[0].endpoints:
            sys.exit("no such table")


def follows_on():
    """Make a source whose endpoints are others with each call, and the function that says whether it is followed."""
    numbers, seen = count(1), []

    async def changing():
        for number in numbers:
            yield [f"10.0.0.{number % 250 + 1}:80"]
            seen.append(number)
            await anyio.sleep(0.002)

    def moves():
        before = len(seen)
        eventually(lambda: len(seen) > before + 3)

    return Callback(changing), moves


@pytest.mark.parametrize("source", [Callback(never_waits), NeverWaits()], ids=["generator", "watch"])
def test_a_source_that_never_waits_does_not_keep_others_from_being_followed(source):
    """Nor its own cluster from closing."""
    other, moves = follows_on()
    with Cluster("busy", source) as busy, Cluster("other", other) as cluster:
        cluster.wait_ready(5.0)
        moves()
        busy.close()
        assert busy._following.job.ended.is_set()


@pytest.mark.parametrize("source", [Exits(), ExitsLater()], ids=["watch", "combination"])
def test_a_source_that_exits_ends_nothing(source):
    """SystemExit in a thread ends that thread; here it would be the one that follows all clusters."""
    other, moves = follows_on()
    with Cluster("other", other) as cluster, Cluster("exits", source) as exits:
        cluster.wait_ready(5.0)
        eventually(lambda: exits.stats().sources[0].state != "starting")
        moves()
        assert not exits._following.job.ended.is_set()


def test_what_becomes_of_a_source_is_told_although_a_combination_raises():
    """A change that was not told when it was noticed would never be."""

    class Raises(ExitsLater):
        def combine(self, parts):
            if parts[0].endpoints:
                raise ValueError("no such table")

    heard = []
    cluster = Cluster("orders", Raises())
    cluster.subscribe(heard.append)
    with cluster:
        eventually(lambda: heard)
    assert [(type(one).__name__, one.after.value) for one in heard] == [("SourceChanged", "live")]


def test_a_listener_that_exits_ends_nothing():
    """It hears of the next event as well."""
    other, moves = follows_on()
    heard = []

    def listener(event):
        heard.append(event)
        sys.exit("enough")

    with Cluster("other", other) as cluster:
        cluster.subscribe(listener)
        cluster.wait_ready(5.0)
        moves()
        assert len(heard) > 1


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit])
def test_a_generator_that_will_not_be_closed_properly_is_begun_again(error):
    """Closing it because of a bad item raises what would end the following of its source, or of all."""
    begun = []

    async def unruly():
        begun.append(1)
        try:
            while True:
                yield ["a:80"] if len(begun) > 1 else [1]
                await anyio.sleep(60.0)
        finally:
            if len(begun) == 1:
                raise error

    with Cluster("orders", Callback(unruly)) as cluster:
        cluster.wait_ready(10.0)
        assert cluster.balancer.endpoints() == {"a:80"}


def test_closing_takes_no_thread_from_an_application_that_has_none_left():
    """`aclose` is shielded from cancellation: it must not wait for the limit on the application's own threads."""

    async def main():
        limiter = anyio.to_thread.current_default_thread_limiter()
        cluster = Cluster("orders", Callback(lambda: ["a:80"]))
        await cluster.async_wait_ready(5.0)
        for _ in range(int(limiter.total_tokens)):
            await limiter.acquire_on_behalf_of(object())
        asyncio.get_running_loop().call_later(10.0, setattr, limiter, "total_tokens", 1000)
        await cluster.aclose()
        assert limiter.total_tokens < 1000

    anyio.run(main)


def test_who_waits_for_a_cluster_that_is_closed_waits_no_longer():
    """The membership can never come."""
    release = threading.Event()
    with Cluster("orders", Callback(release.wait)) as cluster:
        waiting = cluster._until_ready(60.0)
        next(waiting)
        cluster.close()
        release.set()
        with pytest.raises(ClusterClosed, match="orders was closed"):
            next(waiting)


def test_a_combination_that_gives_an_address_twice_adds_it_once():
    """The first counts, as with every source."""

    class Doubled:
        sources = (Callback(lambda: ["a:80"]),)

        def combine(self, parts):
            return parts[0].endpoints and [Endpoint("a", 80), Endpoint("a", 80, weight=2.0)]

    heard = []
    with Cluster("orders", Doubled()) as cluster:
        cluster.subscribe(heard.append)
        cluster.wait_ready(5.0)
        eventually(lambda: len(heard) >= 2)
        assert [type(one).__name__ for one in heard] == ["EndpointAdded", "SourceChanged"]
        assert [one.weight for one in cluster.balancer.snapshot.endpoints] == [1.0]
