"""Connections: how many, for how long, who waits for whom, and what remains when endpoints go or the transport closes."""

import pytest

from lbkit import Cluster, ConfigError, RetryPolicy
from tests.rigs.faulty import FaultServer
from tests.rigs.h2server import H2Server
from tests.twins.faces import attempts, in_flight
from tests.twins.twin import addresses, pools, twin


@twin
async def test_connections_are_kept_and_used_again(face, pair):
    """20 requests in turn go by one connection an endpoint."""
    cluster = Cluster("orders", addresses(pair), scheduler="round_robin")
    before = [one.stats()["connections"] for one in pair]
    async with face.balanced(cluster) as client:
        for _ in range(20):
            await client.get()
        assert [one.stats()["connections"] for one in pair] == [count + 1 for count in before]


@twin
async def test_an_idle_connection_that_expired_is_not_used(face, pair):
    """keepalive_expiry: after it, a new connection is made and the old one is closed."""
    cluster = Cluster("orders", addresses(pair[:1]))
    limits = face.http.Limits(keepalive_expiry=0.05)
    before = pair[0].stats()["connections"]
    async with face.balanced(cluster, limits=limits) as client:
        for _ in range(3):
            await client.get()
            await face.sleep(0.08)
        assert pair[0].stats()["connections"] == before + 3
        [pool] = pools(client)
        assert (pool._open, len(pool._idle)) == (1, 1)


@twin
async def test_a_connection_takes_no_requests_beyond_its_age(face, pair):
    """HT-23: recycled although it was never idle for long, each at a moment of its own."""
    cluster = Cluster("orders", addresses(pair[:1]))
    before = pair[0].stats()["connections"]
    async with face.balanced(cluster, max_age_s=0.1) as client:
        for _ in range(30):
            await client.get()
            await face.sleep(0.01)
        made = pair[0].stats()["connections"] - before
        assert 2 <= made <= 8, made
        [pool] = pools(client)
        assert pool._open == 1
        ages = {pool.retire_at(0.0) for _ in range(50)}
        assert len(ages) == 50
        assert all(0.09 <= age <= 0.11 for age in ages)


@twin
async def test_a_dead_idle_connection_is_noticed_before_it_is_used(face):
    """HT-9: the server closed it while it was idle; even a POST goes through, on a new connection, without a failure."""
    with FaultServer("idle_close") as server:
        server.pace.idle_close_s = 0.01
        cluster = Cluster("orders", [server.address], retry=RetryPolicy(attempts=1))
        async with face.balanced(cluster) as client:
            for number in range(1, 5):
                assert (await client.post(content=b"x")).status_code == 200
                await face.sleep(0.06)
                assert server.connections == number
        assert cluster.stats().failures == 0


@twin
async def test_limits_bound_the_connections_and_those_who_wait_are_served_in_order(face, pair):
    """Twelve requests over two connections: never more than two at the server, all served, first come first served."""
    cluster = Cluster("orders", addresses(pair[:1]))
    limits = face.http.Limits(max_connections=2)
    before = pair[0].stats()["connections"]
    arrived, order = [], []
    async with face.balanced(cluster, limits=limits) as client:

        def ask(number):
            async def work():
                await face.sleep(number * 0.02)
                arrived.append(number)
                answer = await client.get("/slow?ms=60")
                order.append(number)
                return answer.status_code

            return work

        assert await face.together(*[ask(number) for number in range(12)]) == [200] * 12
        assert pair[0].stats()["connections"] - before == 2
        # Neighbours finish at nearly the same time; who came three places later must not overtake.
        assert all(abs(arrived.index(number) - place) <= 2 for place, number in enumerate(order)), (arrived, order)
        [pool] = pools(client)
        assert (pool._open, len(pool._idle), len(pool._waiters)) == (2, 2, 0)
    assert in_flight(cluster) == 0


@twin
async def test_a_pool_timeout_goes_to_another_endpoint_and_is_not_held_against_the_first(face, pair):
    """HT-10, HT-9: the first endpoint's connection is busy, so the second serves, also a POST."""
    cluster = Cluster("orders", addresses(pair), scheduler="first")
    async with face.balanced(cluster, limits=face.http.Limits(max_connections=1)) as client:
        async with client.stream("GET", "/sse?n=1000&interval_ms=20") as response:
            assert await response.first_part()
            timeout = face.http.Timeout(5.0, pool=0.1)
            answer = await client.post("/headers", content=b"x", timeout=timeout)
            assert answer.json()["pid"] == pair[1].pid
            await response.close()
    stats = cluster.stats()
    assert (stats.failures, [one.state for one in stats.endpoints]) == (0, ["ready", "ready"])
    assert in_flight(cluster) == 0


@twin
async def test_a_pool_timeout_with_nowhere_else_to_go_is_the_users_after_one_wait(face, pair):
    """HT-10: the library's PoolTimeout, after the timeout asked for, and no more; the queue is bounded too."""
    cluster = Cluster("orders", addresses(pair[:1]))
    limits = face.http.Limits(max_connections=1)
    async with face.balanced(cluster, limits=limits, max_waiting=1) as client:
        async with client.stream("GET", "/sse?n=1000&interval_ms=20") as response:
            assert await response.first_part()
            timeout = face.http.Timeout(5.0, pool=0.2)
            results = await face.together(*[lambda: client.get(timeout=timeout)] * 3)
            assert [type(result) for result in results] == [face.http.PoolTimeout] * 3
            words = sorted(str(result) for result in results)
            assert sum(word.startswith("too many requests wait") for word in words) == 2
            await response.close()
        assert (await client.get()).status_code == 200
    assert (cluster.stats().failures, in_flight(cluster)) == (0, 0)


@twin
async def test_an_endpoint_that_leaves_while_it_streams_finishes_its_stream(face, pair):
    """HT-22: nothing new goes there, the response is whole, and its connection closes with it."""
    cluster = Cluster("orders", addresses(pair[:1]))
    async with face.balanced(cluster) as client:
        async with client.stream("GET", "/sse?n=8&interval_ms=20") as response:
            cluster.update(pair[1].address)
            for _ in range(3):
                assert (await client.get()).json()["pid"] == pair[1].pid
            assert b"data: 7" in await response.read()
        assert len(pools(client)) == 1
        await face.eventually(lambda: len(sockets_to(pair[0])) == 0)
        cluster.update(*addresses(pair))
        for _ in range(4):
            assert (await client.get()).status_code == 200
    assert cluster.stats().failures == 0


def sockets_to(server):
    """The client's open connections to a server, as the kernel sees them."""
    with open("/proc/self/net/tcp") as table:
        lines = [line.split() for line in table.readlines()[1:]]
    return [line for line in lines if line[2].endswith(f":{server.port:04X}") and line[3] == "01"]


@twin
async def test_a_closed_transport_closes_what_is_idle_and_lets_a_stream_finish(face, pair):
    """HT-22: closing is idempotent; a new request is refused in words."""
    cluster = Cluster("orders", addresses(pair[:1]))
    transport = face.transport(cluster)
    client = face.client(transport)
    await client.get()
    async with client.stream("GET", "/sse?n=8&interval_ms=20") as response:
        await close(face, transport)
        await close(face, transport)
        with pytest.raises(RuntimeError, match="closed"):
            await client.get()
        assert b"data: 7" in await response.read()
    await face.eventually(lambda: sockets_to(pair[0]) == [])
    assert in_flight(cluster) == 0
    await client.close()


async def close(face, transport):
    if face.sync:
        transport.close()
    else:
        await transport.aclose()


@twin
async def test_a_closed_cluster_is_refused_by_name(face, pair):
    """The error says which cluster and what to do."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        await client.get()
        cluster.close()
        with pytest.raises(RuntimeError, match="orders was closed"):
            await client.get()


@twin
async def test_one_cluster_serves_several_transports(face, pair):
    """HT-18: in-flight, pauses and standing are the cluster's, whoever asks."""
    from tests.twins.faces import Face

    cluster = Cluster("orders", addresses(pair))
    other = Face("httpx2" if face.library == "httpx" else "httpx", face.kind)
    async with face.balanced(cluster) as one, other.balanced(cluster) as two:
        async with one.stream("GET", "/stream?chunks=2") as response:
            assert in_flight(cluster) == 1
            assert (await two.get()).status_code == 200
            await response.read()
    assert (attempts(cluster), in_flight(cluster)) == (2, 0)


@pytest.mark.parametrize(
    "options",
    [{"limit": 3}, {"max_age_s": 0}, {"max_waiting": -1}, {"buffer_bytes": -1}, {"http1": False}, {"limits": 7}],
)
@twin
async def test_wrong_options_are_refused_at_construction(face, pair, options):
    """RL-6: ConfigError names what was wrong, and what was given stays as it was."""
    given = dict(options)
    with pytest.raises(ConfigError):
        face.transport(Cluster("orders", addresses(pair)), **options)
    assert options == given
    with pytest.raises(ConfigError):
        face.transport(Cluster("orders", addresses(pair)), limits=face.http.Limits(max_connections=0))
    with pytest.raises(ConfigError):
        face.transport("orders")


@twin
async def test_a_dead_idle_http2_connection_is_noticed_before_it_is_used(face, authority):
    """HT-9 over HTTP/2: after a crash and after a GOAWAY a POST goes by a new connection, without a failure."""
    with H2Server(tls=authority.issue("orders.test")) as server:
        cluster = Cluster("orders", [server.address], retry=RetryPolicy(attempts=1))
        options = {"verify": authority.client_context(), "http2": True}
        async with face.balanced(cluster, client={"base_url": "https://orders.test"}, **options) as client:
            for end in (server.kill, server.terminate):
                assert (await client.post(content=b"x")).http_version == "HTTP/2"
                end()
                server.restart()
                await face.sleep(0.01)
                assert (await client.post(content=b"x")).status_code == 200
        assert cluster.stats().failures == 0
