"""Transports of the user's own under lbkit, mocks among them; and what is said to those who mix the kinds up."""

import contextlib
import time

import pytest
import respx

from lbkit import Cluster, ConfigError, RetryPolicy
from tests.rigs.ports import free_port
from tests.twins.faces import FACES, Face, attempts, in_flight
from tests.twins.twin import addresses, header, twin

HTTPX = [Face("httpx", kind) for kind in ("sync", "asyncio", "trio")]


@twin
async def test_a_mock_transport_sees_the_endpoint_in_the_url_and_the_logical_host(face):
    """HT-1, HT-24: the copy is aimed at the endpoint, the original request and the response's url are not touched."""
    seen = []

    def handle(request):
        seen.append(
            (str(request.url), request.headers["host"], request.extensions.get("sni_hostname"), request.content)
        )
        return face.http.Response(200, json={"ok": True})

    cluster = Cluster("orders", ["10.0.0.1:8080", "[fd00::1]:81"], scheduler="round_robin")
    async with face.balanced(cluster, inner=face.http.MockTransport(handle)) as client:
        answers = [await client.post("http://orders.test:99/path?q=1", content=b"body") for _ in range(2)]
    assert {str(answer.url) for answer in answers} == {"http://orders.test:99/path?q=1"}
    hosts = ("orders.test:99", "orders.test", b"body")
    assert sorted(seen) == [("http://10.0.0.1:8080/path?q=1", *hosts), ("http://[fd00::1]:81/path?q=1", *hosts)]
    assert in_flight(cluster) == 0


@twin
async def test_retries_statuses_and_bodies_work_over_an_inner_transport(face):
    """HT-5, HT-9, HT-14: what the pool's own path does, done with the user's transport."""
    closed = []

    class Broken(face.http.SyncByteStream if face.sync else face.http.AsyncByteStream):
        def __iter__(self):
            yield b"half"
            raise face.http.ReadError("broken off")

        async def __aiter__(self):
            yield b"half"
            raise face.http.ReadError("broken off")

        def close(self):
            closed.append(self)

        async def aclose(self):
            closed.append(self)

    def handle(request):
        match request.url.host, request.url.path:
            case "10.0.0.1", "/refused":
                raise face.http.ConnectError("refused")
            case "10.0.0.1", "/busy":
                return face.http.Response(503, headers={"Retry-After": "9"}, stream=Broken())
            case "10.0.0.1", "/broken":
                return face.http.Response(200, headers={"Content-Length": "8"}, stream=Broken())
            case "10.0.0.1", "/unframed":
                return face.http.Response(200, stream=Broken())
        return face.http.Response(200, text=request.url.host)

    def made():
        return Cluster("orders", ["10.0.0.1:80", "10.0.0.2:80"], scheduler="first")

    for path, failures in (("/refused", 1), ("/busy", 0), ("/broken", 1)):
        cluster = made()
        async with face.balanced(cluster, inner=face.http.MockTransport(handle)) as client:
            assert (await client.get(path)).text == "10.0.0.2"
        assert (cluster.stats().failures, attempts(cluster), in_flight(cluster)) == (failures, 2, 0)
    assert len(closed) == 2
    cluster = made()
    async with face.balanced(cluster, inner=face.http.MockTransport(handle)) as client:
        with pytest.raises(face.http.ReadError):
            await client.get("/unframed")
    assert (cluster.stats().failures, attempts(cluster), in_flight(cluster)) == (1, 1, 0)
    assert len(closed) == 3


@twin
async def test_a_factory_makes_one_transport_an_endpoint_and_the_client_closes_them(face, pair):
    """The library's own transports serve as inner ones."""
    made = {}

    def factory(endpoint):
        kind = face.http.HTTPTransport if face.sync else face.http.AsyncHTTPTransport
        made[endpoint.id] = kind(trust_env=False)
        return made[endpoint.id]

    cluster = Cluster("orders", addresses(pair), scheduler="round_robin")
    async with face.balanced(cluster, inner=factory) as client:
        answers = [await client.get("http://orders.test/headers") for _ in range(6)]
        assert {header(answer, "host") for answer in answers} == {"orders.test"}
        assert {answer.json()["pid"] for answer in answers} == {one.pid for one in pair}
        async with client.stream("GET", "/stream") as response:
            assert in_flight(cluster) == 1
            assert await response.read()
    assert sorted(made) == sorted(addresses(pair))
    assert (in_flight(cluster), attempts(cluster)) == (0, 7)


@twin
async def test_sync_and_async_inner_transports_are_not_mixed(face, pair):
    """HT-18: refused in words, and no attempt is held against the endpoint."""
    wrong = face.http.AsyncHTTPTransport if face.sync else face.http.HTTPTransport
    cluster = Cluster("orders", addresses(pair))
    with pytest.raises(ConfigError, match="sync and async do not mix"):
        async with face.balanced(cluster, inner=lambda endpoint: wrong()) as client:
            await client.get()
    with pytest.raises(ConfigError, match="sync and async do not mix"):
        async with face.balanced(cluster, inner=wrong()) as client:
            await client.get()
    assert (cluster.stats().failures, in_flight(cluster)) == (0, 0)


@pytest.mark.parametrize("face", [face for face in FACES if not face.sync], ids=str)
def test_an_asgi_application_serves_as_an_endpoint(face):
    """ASGITransport is an inner transport like any other."""

    async def app(scope, receive, send):
        assert scope["path"] == "/path"
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"x-host", dict(scope["headers"])[b"host"])]}
        )
        await send({"type": "http.response.body", "body": b"from the application"})

    async def scenario():
        cluster = Cluster("orders", ["10.0.0.1:80"])
        async with face.balanced(cluster, inner=face.http.ASGITransport(app)) as client:
            answer = await client.get("http://orders.test/path")
            assert (answer.text, answer.headers["x-host"]) == ("from the application", "orders.test")

    face.run(scenario)


@twin
async def test_the_deadline_bounds_an_inner_transport(face, pair):
    """HT-13: by the timeouts of the request under blocking code, and by cancelling under async code."""
    kind = face.http.HTTPTransport if face.sync else face.http.AsyncHTTPTransport
    transports = []

    def factory(endpoint):
        transports.append(kind(trust_env=False))
        return transports[-1]

    cluster = Cluster("orders", addresses(pair), retry=RetryPolicy(deadline=0.3, attempts=1))
    async with face.balanced(cluster, inner=factory) as client:
        began = time.monotonic()
        with pytest.raises(face.http.ReadTimeout):
            await client.get("/slow?ms=2000")
        assert time.monotonic() - began < 0.3 + 0.05 + 0.25
    assert in_flight(cluster) == 0


# mocks that patch httpcore


@pytest.mark.parametrize("face", HTTPX, ids=str)
def test_respx_works_and_sees_logical_urls(face):
    """The most used mock of httpx patches httpcore; requests, errors and retries go through it."""

    async def scenario():
        cluster = Cluster("orders", [f"127.0.0.1:{free_port()}" for _ in range(3)])
        with respx.mock(base_url="http://orders.test", assert_all_called=False) as mock:
            mock.get("/path").respond(200, json={"mocked": True})
            flaky = mock.get("/flaky")
            flaky.side_effect = [face.http.ConnectError("refused"), face.http.Response(200, text="second")]
            async with face.balanced(cluster) as client:
                assert (await client.get("http://orders.test/path")).json() == {"mocked": True}
                assert (await client.get("http://orders.test/flaky")).text == "second"
            assert mock.calls.call_count == 3
            assert str(mock.calls[0].request.url) == "http://orders.test/path"
        assert in_flight(cluster) == 0

    face.run(scenario)


@pytest.mark.parametrize("face", HTTPX, ids=str)
def test_respx_works_on_a_client_that_was_used_before_and_is_used_after(face, pair):
    """Pooled connections of lbkit's own are passed by while the mock is on, and used again afterwards."""

    async def scenario():
        cluster = Cluster("orders", addresses(pair))
        async with face.balanced(cluster) as client:
            assert (await client.get()).json()["pid"]
            with respx.mock as mock:
                mock.get("http://orders/").respond(418)
                assert (await client.get()).status_code == 418
            assert (await client.get()).json()["pid"]

    face.run(scenario)


# the wrong pairing


@contextlib.contextmanager
def no_request(cluster):
    yield
    assert attempts(cluster) == 0


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_blocking_transport_in_an_async_client_is_refused_in_words(library, pair):
    """HT-18: at the first use, by name, with what to write instead."""
    sync, other = Face(library, "sync"), Face(library, "asyncio")
    cluster = Cluster("orders", addresses(pair))

    async def plain():
        with pytest.raises(TypeError, match="give AsyncBalancedTransport"):
            await other.client(sync.transport(cluster)).get()

    async def entered():
        with pytest.raises(TypeError, match="give AsyncBalancedTransport"):
            async with other.client(sync.transport(cluster)):
                pass

    with no_request(cluster):
        other.run(plain)
        other.run(entered)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_an_async_transport_in_a_blocking_client_is_refused_in_words(library, pair):
    """HT-18: the same the other way round."""
    sync, other = Face(library, "sync"), Face(library, "asyncio")
    cluster = Cluster("orders", addresses(pair))
    with no_request(cluster):
        with pytest.raises(TypeError, match="give BalancedTransport"):
            sync.http.Client(transport=other.transport(cluster), trust_env=False).get("http://orders/")
        with pytest.raises(TypeError, match="give BalancedTransport"):
            with sync.http.Client(transport=other.transport(cluster), trust_env=False):
                pass


@twin
async def test_a_transport_of_one_library_in_a_client_of_the_other_is_refused_in_words(face, pair):
    """HT-18: before anything is sent, with the import to write."""
    cluster = Cluster("orders", addresses(pair))
    other = Face("httpx2" if face.library == "httpx" else "httpx", face.kind)
    async with other.client(face.transport(cluster)) as client:
        with pytest.raises(TypeError, match=f"import it from lbkit.{other.library}"):
            await client.get()
    assert attempts(cluster) == 0


@twin
async def test_a_proxy_in_the_environment_does_not_bypass_a_transport_that_is_given(face, pair, monkeypatch):
    """HT-20: httpx makes proxy mounts only where it makes the transport itself, or so the claim is that this holds to."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, client={"trust_env": True}) as client:
        assert (await client.get()).status_code == 200
        assert client.raw._mounts == {}
    kind = face.http.Client if face.sync else face.http.AsyncClient
    raw = kind(mounts={"http://orders": face.transport(cluster)}, trust_env=False, base_url="http://orders")
    async with type(client)(face, raw) as mounted:
        assert (await mounted.get()).status_code == 200
    assert attempts(cluster) == 2
