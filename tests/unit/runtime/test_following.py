"""A cluster follows a source: through a source of a user's own, which the test answers for."""

import importlib.util
import threading

import anyio
import pytest

from lbkit import (
    Cluster,
    ClusterClosed,
    ConfigError,
    FailClosed,
    Fallback,
    Merged,
    NoEndpointAvailable,
    NotReady,
    events,
)  # fmt: skip
from lbkit.discovery.base import Part, Upkeep
from lbkit.discovery.static import Static
from lbkit.errors import DiscoveryError
from lbkit.runtime import following
from lbkit.runtime.engine import THREAD_NAME, Job
from tests.rigs.leaks import leak_check
from tests.rigs.ports import eventually
from tests.rigs.sources import Scripted


def ids(cluster):
    return [one.endpoint for one in cluster.stats().endpoints]


def test_the_membership_follows_the_source():
    """What the source says is there soon after, and what is known of an endpoint that stays, stays."""
    source = Scripted()
    with Cluster("orders", source) as cluster:
        source.say("a:80", "b:80")
        cluster.wait_ready(5.0)
        lease = cluster.call(replayable=True).begin()
        assert ids(cluster) == ["a:80", "b:80"]
        source.say("b:80", "c:80", lease.endpoint.id)
        eventually(lambda: "c:80" in ids(cluster))
        stats = {one.endpoint: one for one in cluster.stats().endpoints}
        assert (stats[lease.endpoint.id].in_flight, stats[lease.endpoint.id].attempts) == (1, 1)
        lease.release()


def test_a_failure_keeps_the_last_good_set_and_is_shown():
    """DI-1: state, problem and age are in the statistics and told as events; then all is well again."""
    source, told = Scripted("mine"), []
    with Cluster("orders", source) as cluster:
        cluster.subscribe(told.append)
        source.say("a:80")
        cluster.wait_ready(5.0)
        source.fail(DiscoveryError("no leader"))
        eventually(lambda: cluster.stats().sources[0].state == "stale")
        [shown] = cluster.stats().sources
        assert (shown.source, shown.problem, shown.endpoints) == ("mine", "no leader", 1)
        assert "source mine: stale, 1 endpoint," in str(cluster.stats()) and "no leader" in str(cluster.stats())
        assert cluster.stats().to_json()
        assert ids(cluster) == ["a:80"]
        source.say("a:80")
        eventually(lambda: cluster.stats().sources[0].state == "live")
    states = [(one.before.value, one.after.value) for one in told if isinstance(one, events.SourceChanged)]
    assert states == [("starting", "live"), ("live", "stale"), ("stale", "live")]


def test_the_text_of_a_foreign_error_is_not_shown():
    """It may hold what must not be seen; the kind of it is shown."""
    source = Scripted()
    with Cluster("orders", source) as cluster:
        source.fail(ValueError("token=secret"))
        eventually(lambda: cluster.stats().sources[0].state == "failed")
        assert cluster.stats().sources[0].problem == "ValueError"
        with pytest.raises(NotReady, match="no membership is known yet: scripted: ValueError"):
            cluster.wait_ready(0.05)


def test_unchanged_content_is_no_event():
    """DI-2: twenty equal answers change the membership once."""
    source, told = Scripted(), []
    with Cluster("orders", source) as cluster:
        cluster.subscribe(told.append)
        for _ in range(20):
            source.say("a:80", "b:80")
        eventually(lambda: source.asked > 20)
        assert [type(one).__name__ for one in told] == ["EndpointAdded", "EndpointAdded", "SourceChanged"]
        assert cluster.balancer.snapshot.version == 1


def test_a_first_call_waits_for_the_membership_and_no_longer_than_it_may():
    """`start_timeout`: with 0 it fails at once, in words that name the source."""
    source = Scripted("mine")
    with Cluster("orders", source, start_timeout=0, on_empty=FailClosed()) as cluster:
        with pytest.raises(NotReady, match="mine: no answer yet"):
            next(iter(cluster.attempts()))
    source = Scripted()
    with Cluster("orders", source, start_timeout=30.0) as cluster:
        threading.Timer(0.1, source.say, ["a:80"]).start()
        for attempt in cluster.attempts():
            with attempt as endpoint:
                assert endpoint.id == "a:80"


def test_async_code_waits_without_blocking_its_loop():
    """`async_wait_ready` and `aclose`, under asyncio and trio."""
    for backend in ("asyncio", "trio"):
        source = Scripted()

        async def main(source=source):
            async with Cluster("orders", source) as cluster:
                async with anyio.create_task_group() as group:
                    group.start_soon(cluster.async_wait_ready)
                    await anyio.sleep(0.02)
                    source.say("a:80")
                assert ids(cluster) == ["a:80"]

        anyio.run(main, backend=backend)


def test_static_endpoints_start_no_thread():
    """Also in a combination."""

    class Both:
        sources = (Static("a:80"), Static("b:80"))

        def combine(self, parts: tuple[Part, ...]):
            return tuple(one for part in parts for one in part.endpoints)

    def names():
        return {thread.name for thread in threading.enumerate()}

    eventually(lambda: THREAD_NAME not in names())  # the one of the test before may be about to end
    with leak_check(settle_s=0), Cluster("orders", Both()) as cluster:
        assert ids(cluster) == ["a:80", "b:80"]
        assert THREAD_NAME not in names()


def test_connections_that_fail_have_the_source_asked_at_once():
    """DI-6: the pause before the next query ends, and only one query is under way."""
    source = Scripted(ask_again_s=3600.0)
    with Cluster("orders", source) as cluster:
        source.say("a:1")
        cluster.wait_ready(5.0)
        eventually(lambda: cluster.stats().sources[0].next_s)
        assert source.asked == 1
        with pytest.raises(ConnectionRefusedError):
            for attempt in cluster.attempts():
                with attempt:
                    raise ConnectionRefusedError(111, "refused")
        eventually(lambda: source.asked == 2)


def test_what_fails_during_a_query_leaves_the_next_hurry_unused():
    """The answer under way is news enough; a connection that fails after it has the source asked at once again."""
    source = Scripted(ask_again_s=3600.0)
    source.upkeep = Upkeep(hurry_s=3600.0)
    with Cluster("orders", source) as cluster:
        eventually(lambda: source.asked == 1)
        cluster.balancer.on_unreachable()
        source.say("a:80")
        eventually(lambda: cluster.stats().sources[0].next_s)

        def asked_again():
            cluster.balancer.on_unreachable()
            return source.asked == 2

        eventually(asked_again)


def test_many_failing_connections_wake_the_engine_seldom(monkeypatch):
    """Each of them is a moment of a request's thread: nearly all only read the time."""
    source, woken = Scripted(), []
    with Cluster("orders", source) as cluster:
        monkeypatch.setattr(Job, "soon", lambda job, function: woken.append(job))
        for _ in range(10_000):
            cluster.balancer.on_unreachable()
        monkeypatch.undo()
    assert 1 <= len(woken) < 5_000


def test_closing_ends_everything_in_the_middle_of_a_query():
    """DI-7: nothing is left, and a closed cluster cannot be opened."""
    source = Scripted()
    with leak_check():
        cluster = Cluster("orders", source)
        cluster.open()
        eventually(lambda: source.asked)
        cluster.close()
        cluster.close()


def test_a_cluster_that_is_dropped_without_closing_follows_no_more():
    """Its job ends with it."""
    with leak_check():
        source = Scripted()
        cluster = Cluster("orders", source)
        cluster.open()
        eventually(lambda: source.asked)
        del cluster


def test_a_watch_that_breaks_is_reported_and_asked_again():
    """DI-7: a mistake in `query`, `answer` or `failed` ends no task."""

    class Broken(Scripted):
        def query(self, now):
            if self.failures < 2:
                raise RuntimeError("query")
            return super().query(now)

        def failed(self, now):
            super().failed(now)
            raise RuntimeError("failed")

    source = Broken()
    source.say("a:80")
    with Cluster("orders", source) as cluster:
        cluster.wait_ready(5.0)
        assert source.failures == 2


def test_what_is_written_down_is_not_waited_for():
    """Beside a source that has not answered, the error names that source alone."""
    cluster = Cluster("orders", Merged("a:80", Scripted("mine")), start_timeout=0.0)
    with cluster, pytest.raises(NotReady) as caught:
        cluster.wait_ready(0.0)
    assert caught.value.waits_for == "mine: no answer yet"


def test_only_a_static_membership_can_be_replaced():
    """`update` would be undone by the next answer."""
    with Cluster("orders", Scripted("mine")) as cluster, pytest.raises(ConfigError, match="orders follows mine"):
        cluster.update("a:80")


def test_a_membership_that_could_not_be_taken_is_tried_again_with_the_next_answer():
    """A picker of a user's own failed once; the source says the same as before."""

    class FailsOnce:
        def __init__(self):
            self.ready, self.rebuilt = (), 0

        def build(self, rng):
            return self

        def rebuild(self, ready, now):
            self.rebuilt += 1
            if self.rebuilt == 1:
                raise RuntimeError("wrong")
            self.ready = ready

        def pick(self, info, now):
            return self.ready[0]

    source = Scripted()
    with Cluster("orders", source, scheduler=FailsOnce()) as cluster:
        source.say("a:80")
        eventually(lambda: source.asked == 2)
        source.say("a:80")
        eventually(lambda: source.asked == 3)
        for attempt in cluster.attempts():
            with attempt as endpoint:
                assert endpoint.id == "a:80"


@pytest.mark.parametrize("deed", ["open", "close", "stats"])
def test_a_source_may_use_its_own_cluster_while_that_opens(deed):
    """It ends in a moment, and a cluster that was closed meanwhile is closed."""

    class Meddles(Scripted):
        def watch(self, rng):
            getattr(cluster, deed)()
            return self

    with leak_check():
        source = Meddles()
        cluster = Cluster("orders", source)
        worker = threading.Thread(target=cluster.open, daemon=True)
        worker.start()
        worker.join(10.0)
        assert not worker.is_alive()
        source.say("a:80")
        if deed == "close":
            with pytest.raises(ClusterClosed):
                cluster.wait_ready(5.0)
        else:
            cluster.wait_ready(5.0)
        cluster.close()


def test_a_source_that_answers_without_waiting_is_asked_a_little_apart():
    """A hundred times a second, and not as often as a core can."""
    source = Scripted()
    for _ in range(10_000):
        source.say("a:80")
    with Cluster("orders", source) as cluster:
        cluster.wait_ready(5.0)
        eventually(lambda: source.asked >= 5)
        assert source.replies.qsize() > 9_000


def test_a_fallback_does_not_wait_for_a_source_that_hangs(monkeypatch):
    """The next one is used after a moment, less than first calls wait for; when the first one answers it has its place."""
    monkeypatch.setattr(following, "PATIENCE_S", 0.05)
    hangs = Scripted("hangs")
    with Cluster("orders", Fallback(hangs, ["b:80"])) as cluster:
        with pytest.raises(NotReady, match="hangs: no answer yet"):
            cluster.wait_ready(0.0)
        cluster.wait_ready(5.0)
        assert ids(cluster) == ["b:80"]
        assert cluster.stats().sources[0].problem == "no answer in 0.05 s yet"
        hangs.say("a:80")
        eventually(lambda: ids(cluster) == ["a:80"])


def test_waiting_for_endpoints_does_not_end_with_an_empty_answer():
    """A program that waits at its start learns that it could serve nothing, and why."""
    source = Scripted("mine")
    source.say()
    with Cluster("orders", source) as cluster:
        eventually(lambda: cluster.balancer.is_ready)
        with pytest.raises(NoEndpointAvailable, match="no endpoints are known: mine: the source has no endpoints"):
            cluster.wait_ready(0.05)
        source.say("a:80")
        cluster.wait_ready(5.0)


def test_a_missing_package_is_told_at_construction(monkeypatch):
    """Nobody waits for an answer that cannot come, also within a combination."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for target in ("dns://orders:80", "dns+srv://_http._tcp.orders", Fallback("dns://orders:80", "a:80")):
        with pytest.raises(ConfigError, match=r"DNS needs the package dnspython: pip install 'lbkit-client\[dns\]'"):
            Cluster("orders", target)
