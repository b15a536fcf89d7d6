"""Event loops, threads, forks and the end of the interpreter: nothing is lost, shared by mistake, or left behind."""

import gc
import os
import socket
import threading
import warnings

import anyio
import pytest

from lbkit import Cluster
from tests.rigs.leaks import leak_check, open_sockets
from tests.rigs.replica import replicas
from tests.twins.faces import Face, in_flight

SYNC = [Face("httpx", "sync"), Face("httpx2", "sync")]
ASYNC = [Face(library, kind) for library in ("httpx", "httpx2") for kind in ("asyncio", "trio")]


@pytest.fixture(scope="module")
def pair():
    with replicas(2) as both:
        yield both


def cluster(servers, **options):
    return Cluster("orders", [server.address for server in servers], **options)


# event loops


@pytest.mark.parametrize("face", ASYNC, ids=str)
def test_one_transport_serves_loops_one_after_another_and_each_closes_its_connections(face, pair):
    """RL-5, RL-4: connections end with their loop, although nobody closed the transport in it."""
    made = cluster(pair)
    transport = face.transport(made)

    async def use():
        client = face.client(transport)
        for _ in range(5):
            assert (await client.get()).status_code == 200
        assert sum(len(pool._idle) for pool in transport._core.homes.pools()) >= 1

    with leak_check():
        for _ in range(3):
            face.run(use)
            gc.collect()
    assert len(transport._core.homes._homes) <= 1
    assert in_flight(made) == 0


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_one_transport_serves_loops_in_several_threads_at_once(library, pair):
    """RL-5: asyncio and trio loops side by side, endpoints coming and going, and one of them closes the transport."""
    made = cluster(pair)
    faces = [Face(library, "asyncio"), Face(library, "trio")] * 3
    transport = faces[0].transport(made)
    errors = []
    all_done = threading.Barrier(len(faces))

    def work(face, number):
        async def use():
            client = face.client(transport)
            for turn in range(40):
                if number == 0 and turn % 10 == 5:
                    made.update(pair[turn % 20 // 10].address)
                elif number == 0 and turn % 10 == 9:
                    made.update(*[one.address for one in pair])
                assert (await client.get()).status_code == 200
            await anyio.to_thread.run_sync(all_done.wait)
            if number == 1:
                await client.close()
                await client.close()
            await anyio.to_thread.run_sync(all_done.wait)
            await anyio.sleep(0.05)
            assert not transport._core.homes.pools()

        try:
            face.run(use)
        except BaseException as error:
            errors.append(error)
            all_done.abort()

    with leak_check(ignore_threads=["AnyIO worker thread", "Trio thread"]):
        threads = [threading.Thread(target=work, args=(face, number)) for number, face in enumerate(faces)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        del threads
    assert made.stats().failures == 0


@pytest.mark.parametrize("face", ASYNC, ids=str)
def test_closing_under_cancellation_leaves_nothing_open(face, pair):
    """RL-4: `aclose` in a `finally` whose task is cancelled, with idle connections and an open response."""
    made = cluster(pair)

    async def use():
        with anyio.move_on_after(0.2):
            client = face.balanced(made)
            try:
                await client.get()
                async with client.stream("GET", "/sse?n=1000&interval_ms=20") as response:
                    async for _ in response.parts():
                        pass
            finally:
                await client.close()

    with leak_check():
        face.run(use)
    assert in_flight(made) == 0


@pytest.mark.parametrize("face", ASYNC, ids=str)
def test_a_client_that_is_forgotten_is_cleaned_up_with_its_loop(face, pair):
    """RL-4: no close anywhere, and no warning: connections end with the loop."""
    made = cluster(pair)

    async def use():
        client = face.balanced(made)
        for _ in range(4):
            await client.get()

    with leak_check(), warnings.catch_warnings():
        warnings.simplefilter("error")
        face.run(use)
        gc.collect()


# threads


@pytest.mark.parametrize("face", SYNC, ids=str)
@pytest.mark.parametrize("most", [3, None])
def test_eight_threads_share_one_transport(face, most, pair):
    """RL-2: 8 x 250 requests with and without a limit; the limit holds, and all slots are there afterwards."""
    made = cluster(pair)
    limits = face.http.Limits(max_connections=most, max_keepalive_connections=2)

    async def use():
        async with face.balanced(made, limits=limits) as client:

            async def work():
                for turn in range(250):
                    if turn % 25 == 7:
                        async with client.stream("GET", "/stream?chunks=5") as response:
                            if turn % 2:
                                assert len(await response.read()) == 40
                    else:
                        assert (await client.get()).status_code == 200
                    for pool in pools:
                        assert most is None or pool._open <= most

            await client.get()
            await client.get()
            pools = client.raw._transport._core.homes.pools()
            assert await face.together(*[work] * 8) == [None] * 8
            assert in_flight(made) == 0
            for pool in pools:
                assert pool._open == len(pool._idle) <= 2
                assert not pool._waiters

    with leak_check():
        face.run(use)
    stats = made.stats()
    assert (stats.failures, stats.abandoned, stats.attempts) == (0, 0, 2002)


@pytest.mark.parametrize("face", SYNC, ids=str)
def test_endpoints_come_and_go_under_threads(face, pair):
    """HT-22, RL-2: the membership changes while threads pick, stream and close; nothing fails and nothing is left."""
    made = cluster(pair)

    async def use():
        async with face.balanced(made) as client:

            async def work():
                for _ in range(100):
                    assert (await client.get()).status_code == 200

            async def change():
                for turn in range(60):
                    made.update(pair[turn % 2].address)
                    made.update(*[one.address for one in pair])

            assert await face.together(change, *[work] * 7) == [None] * 8

    with leak_check():
        face.run(use)
    assert (in_flight(made), made.stats().failures) == (0, 0)


# fork


def in_child(action):
    """Run in a forked child; True if it did not raise."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("face", SYNC, ids=str)
def test_a_transport_used_before_a_fork_works_in_parent_and_children(face, pair):
    """RL-3: like a preforking server; the children dial anew and keep none of the parent's sockets."""
    made = cluster(pair, scheduler="round_robin")

    async def use():
        async with face.balanced(made, limits=face.http.Limits(max_connections=2)) as client:
            await face.together(*[client.get] * 4)
            inherited = set(open_sockets())
            assert inherited
            mine = pair[0].stats()["connections"], pair[1].stats()["connections"]

            def child():
                assert not inherited & set(open_sockets()), "the parent's sockets are still open"

                async def in_here():
                    assert in_flight(made) == 0
                    for _ in range(10):
                        assert (await client.get()).status_code == 200
                    results = await face.together(*[client.get] * 6)
                    assert [result.status_code for result in results] == [200] * 6
                    await client.close()

                face.run(in_here)

            for _ in range(3):
                assert in_child(child)
            now = pair[0].stats()["connections"], pair[1].stats()["connections"]
            assert all(3 <= after - before <= 6 for before, after in zip(mine, now, strict=True))
            for _ in range(10):
                assert (await client.get()).status_code == 200
            # The parent's connections were not touched: it made no new one.
            assert (pair[0].stats()["connections"], pair[1].stats()["connections"]) == now

    before = set(open_sockets())
    assert not before, "another test has left a socket"
    with leak_check():
        face.run(use)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("face", ASYNC, ids=str)
def test_a_fork_beside_an_event_loop_disturbs_neither_side(face, pair):
    """RL-3: the child closes its copies and uses a loop of its own; the parent's loop still hears its connections."""
    made = cluster(pair)
    transport = face.transport(made)

    async def use():
        client = face.client(transport)
        for _ in range(4):
            await client.get()
        async with client.stream("GET", "/sse?n=20&interval_ms=10") as response:
            assert await response.first_part()
            before = pair[0].stats()["connections"] + pair[1].stats()["connections"]

            def child():
                ours = [inode for inode, fd in open_sockets().items() if peer_port(fd) in {one.port for one in pair}]
                assert not ours, "the parent's connections are still open"

            assert in_child(child)
            assert b"data: 19" in await response.rest()
        for _ in range(6):
            assert (await client.get()).status_code == 200
        assert pair[0].stats()["connections"] + pair[1].stats()["connections"] <= before + 1

    face.run(use)

    # And a child that starts a loop of its own, once the parent's has ended.
    def child():
        async def fresh():
            client = face.client(transport)
            for _ in range(4):
                assert (await client.get()).status_code == 200

        face.run(fresh)

    assert in_child(child)


def peer_port(fd):
    """The port that a socket of this process is connected to."""
    sock = socket.socket(fileno=os.dup(fd))
    try:
        peer = sock.getpeername()
        return peer[1] if len(peer) > 1 else None
    except OSError:
        return None
    finally:
        sock.close()


# the end of the interpreter
