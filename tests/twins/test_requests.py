"""Plain use: what the user sees and what the endpoint sees go by the logical name, whichever endpoint serves."""

import hashlib
import io
import json

from lbkit import Cluster
from tests.twins.faces import attempts, in_flight
from tests.twins.twin import addresses, header, twin


@twin
async def test_get_and_post_reach_every_endpoint_in_turn(face, pair):
    """RL-1: the plain calls, balanced."""
    cluster = Cluster("orders", addresses(pair), scheduler="round_robin")
    async with face.balanced(cluster) as client:
        pids = [(await client.get("/")).json()["pid"] for _ in range(4)]
        assert set(pids) == {one.pid for one in pair}
        answer = await client.post("/headers", json={"a": 1})
        assert header(answer, "content-type") == "application/json"
        assert answer.http_version == "HTTP/1.1"
        assert answer.extensions["lbkit"]["endpoint"] in addresses(pair)
    assert in_flight(cluster) == 0


@twin
async def test_host_is_the_logical_authority_with_its_port(face, pair):
    """HT-3 over HTTP/1.1: default and other ports."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        for url, host in (("http://orders/headers", "orders"), ("http://orders:8123/headers", "orders:8123"),
                          ("http://orders:80/headers", "orders"), ("http://[::1]:81/headers", "[::1]:81")):  # fmt: skip
            assert header(await client.get(url), "host") == host


@twin
async def test_authority_is_the_logical_one_over_http2(face, h2_pair, authority):
    """HT-3 over HTTP/2: default and other ports."""
    cluster = Cluster("orders", addresses(h2_pair))
    async with face.balanced(cluster, verify=authority.client_context(), http2=True) as client:
        for url, host in (("https://orders.test/", "orders.test"), ("https://orders.test:8443/", "orders.test:8443")):
            answer = await client.get(url)
            assert (answer.http_version, answer.json()["authority"]) == ("HTTP/2", host)


@twin
async def test_the_callers_request_is_never_changed_and_urls_stay_logical(face, pair):
    """HT-1: request.url, response.url and relative redirects use the logical host."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, client={"follow_redirects": True}) as client:
        answer = await client.get("http://orders.test/redirect?to=/headers")
        assert str(answer.url) == str(answer.request.url) == "http://orders.test/headers"
        assert header(answer, "host") == "orders.test"
        request = client.raw.build_request("GET", "http://orders.test/headers", extensions={"lbkit": {"deadline": 3}})
        before = (str(request.url), list(request.headers.raw), dict(request.extensions))
        await client.send(request)
        assert (str(request.url), list(request.headers.raw), dict(request.extensions)) == before


@twin
async def test_cookies_belong_to_the_logical_host(face, pair):
    """HT-1: set by one endpoint, sent to all of them, kept under the logical name."""
    cluster = Cluster("orders", addresses(pair), scheduler="round_robin")
    async with face.balanced(cluster) as client:
        await client.get("http://orders.test/set-cookie")
        assert [cookie.domain for cookie in client.raw.cookies.jar] == ["orders.test"]
        for _ in pair:
            assert header(await client.get("http://orders.test/headers"), "cookie").startswith("replica=")
        assert header(await client.get("http://elsewhere.test/headers"), "cookie") is None


@twin
async def test_a_redirect_to_an_endpoints_own_address_gets_no_credentials(face, pair):
    """HT-4: it is another origin to the client, so Authorization stays behind; the balancer still serves it."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, client={"follow_redirects": True}) as client:
        target = f"http://{pair[0].address}/headers"
        answer = await client.get(f"/redirect?to={target}", headers={"Authorization": "Bearer secret"})
        assert str(answer.url) == target
        assert header(answer, "authorization") is None


@twin
async def test_each_hop_of_redirects_and_authentication_is_a_pick(face, pair):
    """HT-21: two hops each, and hooks see both."""
    seen = []

    class Retried(face.http.Auth):
        def auth_flow(self, request):
            response = yield request
            assert response.status_code == 401
            request.url = request.url.copy_with(path="/headers")
            request.headers["Authorization"] = "Bearer fresh"
            yield request

    def hook(request):
        seen.append(request.url.path)

    async def async_hook(request):
        hook(request)

    cluster = Cluster("orders", addresses(pair), scheduler="round_robin")
    hooks = {"event_hooks": {"request": [hook if face.sync else async_hook]}, "follow_redirects": True}
    async with face.balanced(cluster, client=hooks) as client:
        answer = await client.get("/redirect?to=/")
        assert {one.extensions["lbkit"]["endpoint"] for one in (*answer.history, answer)} == set(addresses(pair))
        assert (attempts(cluster), seen) == (2, ["/redirect", "/"])
        answer = await client.get("/status/401", auth=Retried())
        assert header(answer, "authorization") == "Bearer fresh"
        assert attempts(cluster) == 4
        assert [endpoint.attempts for endpoint in cluster.stats().endpoints] == [2, 2]


@twin
async def test_bodies_arrive_whole_whatever_they_are_made_of(face, pair, orders):
    """Bytes, iterators, files, forms and multipart, small and large."""
    big = bytes(range(256)) * 2000

    def parts():
        yield from (big[:1000], big[1000:])

    async def async_parts():
        for part in parts():
            yield part

    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        for name, body in (
            ("bytes", {"content": big}),
            ("iterator", {"content": parts() if face.sync else async_parts()}),
            ("file", {"content": io.BytesIO(big)} if face.sync else {"content": big}),
        ):
            answer = await client.post("/orders", headers={"X-Order-Id": f"{face}-{name}"}, **body)
            assert answer.status_code == 201
            assert (answer.json()["length"], answer.json()["sha256"]) == (len(big), hashlib.sha256(big).hexdigest())
        for name, body in (
            ("form", {"data": {"a": "b" * 10}}),
            ("multipart", {"files": {"file": ("name.txt", io.BytesIO(big))}, "data": {"k": "v"}}),
        ):
            answer = await client.post("/orders", headers={"X-Order-Id": f"{face}-{name}"}, **body)
            assert answer.json()["length"] >= 12
        empty = await client.post("/orders", headers={"X-Order-Id": f"{face}-empty"})
        assert empty.json()["length"] == 0
    assert all(count == 1 for order, count in orders.counts().items() if order.startswith(f"{face}-"))


@twin
async def test_responses_without_a_body_leave_the_connection_usable(face, pair):
    """HEAD, 204 and 304: one connection serves all of them."""
    cluster = Cluster("orders", addresses(pair[:1]))
    async with face.balanced(cluster) as client:
        before = pair[0].stats()["connections"]
        head = await client.request("HEAD", "/")
        assert int(head.headers["content-length"]) > 0
        assert head.content == b""
        for status in (204, 304, 299):
            answer = await client.get(f"/status/{status}")
            assert answer.status_code == status
        assert pair[0].stats()["connections"] == before + 1
        assert cluster.stats().failures == 0


@twin
async def test_a_download_streams_and_holds_its_endpoint_to_the_end(face, pair):
    """HT-6: in flight until the body is read, and not a moment longer."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        async with client.stream("GET", "/sse?n=5&interval_ms=20") as response:
            parts = []
            async for part in response.parts():
                assert in_flight(cluster) == 1
                parts.append(part)
        assert b"".join(parts) == b"".join(b"data: %d\n\n" % number for number in range(5))
        assert len(parts) >= 3, "events were held back"
        assert in_flight(cluster) == 0
        async with client.stream("GET", "/bytes?n=3000000") as response:
            assert len(await response.read()) == 3_000_000
        assert in_flight(cluster) == 0
    assert cluster.stats().failures == 0


@twin
async def test_a_response_that_is_closed_early_gives_back_its_lease_and_is_no_failure(face, pair):
    """HT-6: after the head, within the body, and twice; the next request is served."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster, limits=face.http.Limits(max_connections=1)) as client:
        for at in range(3):
            async with client.stream("GET", "/stream?chunks=1000&interval_ms=5") as response:
                if at:
                    assert await response.first_part()
                await response.close()
                assert in_flight(cluster) == 0
                if at == 2:
                    await response.close()
        assert [answer.status_code for answer in await face.together(*[client.get] * 4)] == [200] * 4
        assert in_flight(cluster) == 0
    assert cluster.stats().failures == 0


@twin
async def test_the_trace_extension_works(face, pair):
    """Traced requests go by httpcore's own connection, which dials the endpoint all the same."""
    events = []

    def trace(name, info):
        events.append(name)

    async def async_trace(name, info):
        events.append(name)

    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        answer = await client.get("/headers", extensions={"trace": trace if face.sync else async_trace})
        assert header(answer, "host") == "orders"
        async with client.stream(
            "GET", "/stream", extensions={"trace": trace if face.sync else async_trace}
        ) as response:
            assert await response.read()
    assert {"connection.connect_tcp.started", "http11.receive_response_headers.complete"} <= set(events)
    assert in_flight(cluster) == 0


@twin
async def test_ipv6_and_unix_sockets_serve_and_keep_the_logical_host(face, tmp_path):
    """HT-24: the address is the endpoint's, the name is the request's."""
    from tests.rigs.replica import Replica

    with Replica(host="::1") as six, Replica(unix=tmp_path / "socket") as unix:
        cluster = Cluster("orders", addresses([six, unix]), scheduler="round_robin")
        async with face.balanced(cluster) as client:
            answers = [await client.get("http://orders.test/headers") for _ in range(4)]
            assert {answer.json()["pid"] for answer in answers} == {six.pid, unix.pid}
            assert {header(answer, "host") for answer in answers} == {"orders.test"}
            for mark in ("trace",):

                async def tracer(*_):
                    pass

                traced = await client.get("/headers", extensions={mark: (lambda *_: None) if face.sync else tracer})
                assert traced.status_code == 200


@twin
async def test_names_with_other_letters_reach_the_wire_as_idna(face, pair):
    """HT-24: the logical host is encoded once, by the library."""
    cluster = Cluster("orders", addresses(pair))
    async with face.balanced(cluster) as client:
        assert header(await client.get("http://bücher.test/headers"), "host") == "xn--bcher-kva.test"


@twin
async def test_informational_answers_are_skipped(face):
    """103 before 200 is not the answer."""
    from tests.rigs.faulty import FaultServer

    with FaultServer("informational_103") as server:
        async with face.balanced(Cluster("orders", [server.address])) as client:
            answers = [await client.get() for _ in range(3)]
            assert [json.loads(answer.content)["mode"] for answer in answers] == ["informational_103"] * 3
            assert server.connections == 1
