"""What is tried again, where, and what the user is told when nothing helped."""

import contextlib
import io
import time

import pytest

from lbkit import (
    CircuitBreaker,
    Cluster,
    ConfigError,
    FailClosed,
    LbkitError,
    NoEndpointAvailable,
    RetryBudget,
    RetryPolicy,
)
from tests.rigs.faulty import FaultServer
from tests.rigs.ports import free_port
from tests.twins.faces import attempts, in_flight
from tests.twins.twin import addresses, twin

SCHEDULING_NOISE_S = 0.25
"""What a busy machine adds to a deadline."""


def refusing():
    """An address where nobody listens."""
    return f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def answering(replica, **changes):
    """A replica that answers otherwise for a while."""
    replica.control(**changes)
    try:
        yield
    finally:
        replica.control(status=0, retry_after=None, delay_ms=0)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@twin
async def test_a_refused_connection_is_tried_elsewhere_whatever_the_method(face, pair, method):
    """HT-9: nothing was sent, so nothing can happen twice. The body is sent whole at the second endpoint."""
    cluster = Cluster("orders", [refusing(), *addresses(pair)], scheduler="round_robin")
    async with face.balanced(cluster) as client:
        for _ in range(6):
            answer = await client.request(method, "/headers", content=b"body" if method != "GET" else b"")
            assert answer.status_code == 200
        assert answer.extensions["lbkit"]["attempt"] in (1, 2)
    stats = cluster.stats()
    assert stats.failures == stats.retries > 0
    assert in_flight(cluster) == 0


@pytest.mark.parametrize(
    "mode", ["close_after_request", "rst_after_request", "fin_mid_body", "garbage", "never_answer"]
)
@twin
async def test_what_may_have_been_acted_on_is_sent_again_only_if_it_may_run_twice(face, pair, mode):
    """HT-9: GET, an Idempotency-Key and `replayable` go elsewhere; a bare POST fails, and PUT said not to be does."""
    policy = RetryPolicy(per_try_timeout=0.15)
    with FaultServer(mode) as bad:

        async def ask(method, **options):
            cluster = Cluster("orders", [bad.address, pair[0].address], scheduler="first", retry=policy)
            async with face.balanced(cluster) as client:
                try:
                    return await client.request(method, "/headers", **options)
                finally:
                    assert in_flight(cluster) == 0
                    assert cluster.stats().failures == 1

        assert (await ask("GET")).status_code == 200
        assert (await ask("PUT", content=b"x")).status_code == 200
        assert (await ask("POST", headers={"Idempotency-Key": "1"})).status_code == 200
        assert (await ask("POST", extensions={"lbkit": {"replayable": True}})).status_code == 200
        before = len(bad.requests)
        for method, options in (("POST", {}), ("PUT", {"extensions": {"lbkit": {"replayable": False}}})):
            with pytest.raises(face.http.TransportError) as caught:
                await ask(method, **options)
            assert caught.value.request.url.host == "orders"
        assert len(bad.requests) == before + 2


@twin
async def test_a_connection_that_breaks_while_a_body_of_unknown_length_streams_is_one_failure_and_no_retry(face, pair):
    """HT-7: the head was good; the body's end is the user's to see, and counts against the endpoint once."""
    with FaultServer("fin_mid_chunked") as bad:
        cluster = Cluster("orders", [bad.address, pair[0].address], scheduler="first")
        async with face.balanced(cluster) as client:
            with pytest.raises(face.http.RemoteProtocolError):
                await client.get()
            stats = cluster.stats()
            assert (stats.attempts, stats.failures, stats.retries) == (1, 1, 0)
            assert in_flight(cluster) == 0


class Unrewindable(io.RawIOBase):
    """A file without seek."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, into):
        return self._file.readinto(into)


@twin
async def test_a_body_that_cannot_be_produced_again_is_never_sent_again(face, pair):
    """HT-8: a generator and file content after the first byte; what never left may still go elsewhere."""

    def generate():
        yield from (b"one", b"two")

    async def async_generate():
        for part in generate():
            yield part

    def bodies():
        yield "generator", generate() if face.sync else async_generate(), None
        if face.sync:
            yield "file", io.BytesIO(b"content"), None
        yield "multipart file without seek", None, {"file": Unrewindable(b"content")}

    async def ask(address, **options):
        cluster = Cluster("orders", [address, pair[0].address], scheduler="first")
        async with face.balanced(cluster) as client:
            answer = await client.request("PUT", "/headers", **options)
        return answer, attempts(cluster)

    with FaultServer("close_after_request") as bad:
        for _, content, files in bodies():
            if files is None:
                with pytest.raises(face.http.RemoteProtocolError):
                    await ask(bad.address, content=content)
        for name, content, files in bodies():
            answer, count = await ask(refusing(), content=content, files=files)
            assert (answer.status_code, count) == (200, 2), name
        for again in ({"content": b"bytes"}, {"files": {"file": io.BytesIO(b"seekable")}}, {"data": {"a": "b"}}):
            answer, count = await ask(bad.address, **again)
            assert (answer.status_code, count) == (200, 2)


@twin
async def test_an_early_413_is_the_answer_even_when_the_upload_is_cut(face):
    """The server has answered and reset: what it said counts, and is no failure."""
    with FaultServer("early_413_then_rst") as server:
        cluster = Cluster("orders", [server.address])
        async with face.balanced(cluster) as client:
            answer = await client.post(content=b"small")
            assert answer.status_code == 413
        assert cluster.stats().failures == 0


@twin
async def test_a_real_answer_is_preferred_to_a_later_transport_error(face, pair):
    """HT-14: the 503 of the first endpoint reaches the user when the others only refuse."""
    with answering(pair[0], status=503):
        cluster = Cluster("orders", [pair[0].address, refusing()], scheduler="first", retry=RetryPolicy(attempts=2))
        async with face.balanced(cluster) as client:
            answer = await client.get()
            assert (answer.status_code, answer.json()["name"]) == (503, pair[0].name)
            assert attempts(cluster) == 2
        assert in_flight(cluster) == 0


@twin
async def test_the_last_error_is_the_librarys_own_and_lists_every_attempt(face):
    """HT-14: a RequestError with .request, and a note with endpoint, cause and duration of each attempt."""
    dead = [refusing() for _ in range(4)]
    cluster = Cluster("orders", dead)
    async with face.balanced(cluster) as client:
        with pytest.raises(face.http.ConnectError) as caught:
            await client.get("http://orders.test/path")
    error = caught.value
    assert isinstance(error, face.http.RequestError)
    assert str(error.request.url) == "http://orders.test/path"
    assert type(error).__module__.startswith(face.library)
    [note] = error.__notes__
    assert note.startswith("lbkit: 3 attempts: ")
    assert note.count("ConnectError after 0.0") == 3
    assert len({address for address in dead if address in note}) == 3


@twin
async def test_nowhere_to_go_is_our_error_and_the_librarys(face):
    """HT-14: `except NoEndpointAvailable` and `except ConnectError` both catch it, and it has a request."""
    cluster = Cluster("orders", ["127.0.0.1:1"], on_empty=FailClosed())
    cluster.drain("127.0.0.1:1")
    async with face.balanced(cluster) as client:
        with pytest.raises(face.http.ConnectError) as caught:
            await client.get()
    assert isinstance(caught.value, NoEndpointAvailable)
    assert isinstance(caught.value, LbkitError)
    assert caught.value.request.url.host == "orders"
    assert caught.value.reasons == {"draining": 1}


@twin
async def test_500_is_delivered_and_counted_but_not_tried_again(face, pair):
    """The endpoint has acted; only the statuses of the policy go elsewhere, and they can be chosen."""
    with answering(pair[0], status=500):
        for statuses, wanted in ((frozenset({503}), 500), (frozenset({500}), 200)):
            cluster = Cluster("orders", addresses(pair), scheduler="first", retry=RetryPolicy(statuses=statuses))
            async with face.balanced(cluster) as client:
                assert (await client.get()).status_code == wanted
                assert (await client.post("/headers")).status_code == 500, "a POST that was acted on is not sent again"
            assert cluster.stats().failures == 2


@twin
async def test_discarded_answers_leave_nothing_open(face, pair):
    """HT-5: 300 times a 503 and then a 200, with bodies of both kinds; no connection is lost to them."""
    with answering(pair[0], status=503):
        limits = face.http.Limits(max_connections=2)
        cluster = Cluster(
            "orders", addresses(pair), scheduler="first", breaker=CircuitBreaker(failures=10**6),
            budget=RetryBudget(ratio=2, floor=1000),
        )  # fmt: skip
        async with face.balanced(cluster, limits=limits, buffer_bytes=0) as client:
            for _ in range(50):
                assert (await client.get()).status_code == 200
        async with face.balanced(cluster, limits=limits) as client:
            for _ in range(250):
                assert (await client.get()).status_code == 200
            assert in_flight(cluster) == 0
        assert cluster.stats().retries == 300


@pytest.mark.parametrize("mode", ["never_answer", "slow_headers", "slow_body", "accept_queue_full"])
@twin
async def test_the_deadline_covers_attempts_waiting_and_body(face, mode):
    """HT-13: by the extension and by the policy; the error is the library's, or ours and the library's."""
    with FaultServer(mode) as server:
        server.pace.byte_s = server.pace.chunk_s = 0.1
        for policy, extension in ((RetryPolicy(deadline=0.3), {}), (None, {"lbkit": {"deadline": 0.3}})):
            cluster = Cluster("orders", [server.address], retry=policy)
            async with face.balanced(cluster) as client:
                began = time.monotonic()
                with pytest.raises(face.http.TimeoutException):
                    await client.get(extensions=extension)
                assert 0.29 <= time.monotonic() - began <= 0.35 + SCHEDULING_NOISE_S
            assert in_flight(cluster) == 0


@twin
async def test_timeouts_may_be_absent_or_none(face, pair):
    """HT-13: a request made by hand has no timeout extension, and each of its entries may be None."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, client={"timeout": None}) as client:
        assert (await client.get()).status_code == 200
        request = face.http.Request("GET", "http://orders/")
        assert "timeout" not in request.extensions
        assert (await client.send(request)).status_code == 200
        for name in ("connect", "read", "write", "pool"):
            timeout = face.http.Timeout(3.0, **{name: None})
            assert (await client.get(timeout=timeout)).status_code == 200
        partial = face.http.Request("GET", "http://orders/", extensions={"timeout": {"read": 3.0}})
        assert (await client.send(partial)).status_code == 200


@pytest.mark.parametrize(
    "extension",
    [{"dedline": 1}, {"deadline": 0}, {"deadline": "soon"}, {"replayable": "yes"}, {"hash_key": 3}, 7, ["deadline"]],
)
@twin
async def test_a_bad_extension_is_refused_before_anything_is_sent(face, pair, extension):
    """RL-6: ConfigError, and no attempt."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        with pytest.raises(ConfigError):
            await client.get(extensions={"lbkit": extension})
    assert attempts(cluster) == 0


@twin
async def test_the_users_own_mistakes_are_not_the_endpoints_fault(face, pair):
    """HT-10: a body that raises, a scheme nobody speaks, a header that is none, a content that cannot be decoded."""

    def broken():
        yield b"one"
        raise ZeroDivisionError

    async def async_broken():
        yield b"one"
        raise ZeroDivisionError

    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, limits=face.http.Limits(max_connections=1)) as client:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await client.post("/headers", content=broken() if face.sync else async_broken())
            with pytest.raises(face.http.LocalProtocolError):
                await client.get(headers={"X-Bad": "line\nbreak"})
            for url in ("ftp://orders/", "ws://orders/"):
                with pytest.raises(face.http.UnsupportedProtocol):
                    await client.get(url)
        assert [answer.status_code for answer in await face.together(*[client.get] * 4)] == [200] * 4
    stats = cluster.stats()
    assert (stats.failures, in_flight(cluster)) == (0, 0)
    assert {one.state for one in stats.endpoints} == {"ready"}


@twin
async def test_a_relative_url_without_base_is_refused_as_by_the_library(face, pair):
    """HT-10: the library's own words and class."""
    async with face.balanced(Cluster("orders", addresses(pair)), client={"base_url": ""}) as client:
        with pytest.raises(face.http.UnsupportedProtocol):
            await client.get("/path")
