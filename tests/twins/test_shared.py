"""Several requests on one HTTP/2 connection: each has limits of its own, and none ends another."""

import time

import anyio
import pytest

from lbkit import Cluster, RetryPolicy
from tests.rigs.h2server import H2Server, h2_servers
from tests.rigs.ledger import Ledger
from tests.twins.faces import FACES, in_flight
from tests.twins.twin import addresses, pools, twin

SCHEDULING_NOISE_S = 0.25
"""What a busy machine adds to a timeout."""


@pytest.fixture(params=[face for face in FACES if not face.sync], ids=str)
def face(request):
    return request.param


@pytest.fixture
def options(authority):
    return {"verify": authority.client_context(), "http2": True, "client": {"base_url": "https://orders.test"}}


ONCE = RetryPolicy(attempts=1)


@twin
async def test_many_requests_share_one_connection(face, h2_pair, options):
    """Thirty at once, and one connection an endpoint."""
    cluster = Cluster("orders", addresses(h2_pair))
    before = [one.stats()["connections"] for one in h2_pair]
    async with face.balanced(cluster, **options) as client:
        answers = await face.together(*[lambda: client.post("/?ms=20", content=b"q" * 3000)] * 30)
        assert [answer.status_code for answer in answers] == [200] * 30
    assert [one.stats()["connections"] for one in h2_pair] == [count + 1 for count in before]


@twin
async def test_a_read_timeout_ends_its_own_request_and_no_other(face, h2_pair, options):
    """Httpcore's timeout would end all on the connection; here five siblings finish."""
    cluster = Cluster("orders", addresses(h2_pair[:1]), retry=ONCE)
    async with face.balanced(cluster, **options) as client:

        def impatient():
            return client.get("/?ms=2000", timeout=face.http.Timeout(5.0, read=0.1))

        results = await face.together(impatient, *[lambda: client.get("/?ms=400")] * 5)
        assert type(results[0]) is face.http.ReadTimeout
        assert [getattr(result, "status_code", result) for result in results[1:]] == [200] * 5
    assert (cluster.stats().failures, in_flight(cluster)) == (1, 0)


@twin
async def test_a_stalled_request_times_out_although_others_keep_the_connection_busy(face, h2_pair, options):
    """The read timeout is the request's, not the connection's."""
    cluster = Cluster("orders", addresses(h2_pair[:1]), retry=ONCE)
    async with face.balanced(cluster, **options) as client:

        async def stalled():
            began = time.monotonic()
            with pytest.raises(face.http.ReadTimeout):
                await client.get("/fault/stall", timeout=face.http.Timeout(5.0, read=0.3))
            return time.monotonic() - began

        async def busy():
            for _ in range(15):
                assert (await client.get("/?ms=30")).status_code == 200

        took_s, *others = await face.together(stalled, busy, busy)
        assert others == [None, None]
        assert 0.29 <= took_s <= 0.35 + SCHEDULING_NOISE_S
    assert in_flight(cluster) == 0


@twin
async def test_an_upload_may_take_longer_than_the_read_timeout(face, h2_pair, options):
    """The user's generator is slow; the wait for the answer begins when it has ended."""

    async def slowly():
        for _ in range(5):
            yield b"part"
            await anyio.sleep(0.06)

    cluster = Cluster("orders", addresses(h2_pair[:1]), retry=ONCE)
    async with face.balanced(cluster, **options) as client:
        answer = await client.post("/", content=slowly(), timeout=face.http.Timeout(5.0, read=0.15, write=0.15))
        assert answer.json()["length"] == 20
        with pytest.raises(face.http.ReadTimeout):
            await client.post("/?ms=2000", content=slowly(), timeout=face.http.Timeout(5.0, read=0.15))


@twin
async def test_an_error_of_the_users_generator_is_the_users_and_harms_nobody(face, h2_pair, options):
    """HT-10 over HTTP/2: also a TimeoutError of its own is not taken for the endpoint's."""

    async def broken(error):
        yield b"part"
        raise error

    cluster = Cluster("orders", addresses(h2_pair[:1]), retry=ONCE)
    async with face.balanced(cluster, **options) as client:
        for error in (ZeroDivisionError(), TimeoutError("mine")):
            with pytest.raises(type(error)) as caught:
                await client.post("/", content=broken(error))
            assert caught.value is error
        assert (await client.get()).status_code == 200
    assert (cluster.stats().failures, in_flight(cluster)) == (0, 0)


@twin
async def test_a_header_that_http2_forbids_is_the_users_mistake(face, h2_pair, options):
    """HT-10 over HTTP/2: h2 refuses to send it; that is no failure of the endpoint, and the next request is well."""
    cluster = Cluster("orders", addresses(h2_pair[:1]))
    async with face.balanced(cluster, **options) as client:
        for _ in range(2):
            with pytest.raises(face.http.LocalProtocolError):
                await client.post("/", content=b"x", headers={"TE": "gzip"})
            assert (await client.get()).status_code == 200
    assert (cluster.stats().failures, cluster.stats().retries, in_flight(cluster)) == (0, 0, 0)


@twin
async def test_refusals_leave_nothing_behind_on_the_connection(face, h2_pair, options):
    """A server that refuses for long must not make a connection that lives as long grow with each refusal."""
    cluster = Cluster("orders", addresses(h2_pair), scheduler="first")
    async with face.balanced(cluster, **options) as client:
        assert (await client.post("/", content=b"x")).status_code == 200
        h2_pair[0].control(mode="refused_stream")
        try:
            for _ in range(4):
                assert (await client.post("/", content=b"x")).status_code == 200
        finally:
            h2_pair[0].control(mode="ok")
        kept = [channel.connection for pool in pools(client) for channel in (*pool._idle, *pool._shared)]
        assert kept
        assert [connection.refused for connection in kept] == [{}] * len(kept)


@twin
async def test_a_server_that_leaves_in_good_order_answers_what_it_has(face, options, authority, tmp_path):
    """G2: GOAWAY with twelve POSTs under way; all are answered, none is sent twice, and the next ones go elsewhere."""
    ledger = Ledger(tmp_path / "orders")
    with h2_servers(2, tls=authority.issue("orders.test"), ledger=ledger) as (one, two):
        cluster = Cluster("orders", addresses([one, two]), scheduler="first")
        async with face.balanced(cluster, **options) as client:

            def post(number):
                return lambda: client.post("/?ms=300", content=b"x" * 100, headers={"X-Order-Id": str(number)})

            async def leave():
                await face.eventually(lambda: len(ledger.entries()) == 12)
                one.terminate(wait=False)
                await face.sleep(0.05)
                late = await client.post("/", headers={"X-Order-Id": "late"})
                assert late.json()["pid"] == two.pid

            results = await face.together(*[post(number) for number in range(12)], leave)
            assert [getattr(result, "status_code", result) for result in results] == [200] * 12 + [None]
            assert {result.json()["pid"] for result in results[:12]} == {one.pid}
    assert len(ledger.entries()) == 13
    assert not ledger.duplicates()
    assert in_flight(cluster) == 0


@twin
async def test_the_deadline_holds_for_head_and_body(face, options, authority):
    """HT-13 over HTTP/2: a stall before the head."""
    with H2Server(tls=authority.issue("orders.test"), mode="stall") as server:
        cluster = Cluster("orders", [server.address], retry=RetryPolicy(deadline=0.3))
        async with face.balanced(cluster, **options) as client:

            async def ask():
                began = time.monotonic()
                with pytest.raises(face.http.TimeoutException):
                    await client.get()
                return time.monotonic() - began

            for took_s in await face.together(*[ask] * 5):
                assert 0.29 <= took_s <= 0.35 + SCHEDULING_NOISE_S
        assert in_flight(cluster) == 0


@twin
async def test_a_cancelled_request_leaves_the_others_on_its_connection_alone(face, h2_pair, options):
    """HT-6: its stream is given up, theirs go on, and the connection takes nothing new."""
    cluster = Cluster("orders", addresses(h2_pair[:1]), retry=ONCE)
    async with face.balanced(cluster, **options) as client:
        await client.get()

        async def cancelled():
            with anyio.move_on_after(0.05):
                await client.get("/?ms=1000")

        results = await face.together(*[cancelled] * 3, *[lambda: client.get("/?ms=200")] * 5)
        assert [getattr(result, "status_code", result) for result in results[3:]] == [200] * 5
        assert (await client.get()).status_code == 200
        [pool] = client.raw._transport._core.homes.pools()
        assert (pool._open, len(pool._shared)) == (1, 1)
    assert (cluster.stats().failures, in_flight(cluster)) == (0, 0)
