"""TLS: names and certificates go by the logical host, and nothing is ever downgraded."""

import ssl
import threading

import pytest

from lbkit import Cluster, Endpoint, RetryPolicy
from lbkit._http.homes import shared_context
from tests.rigs.faulty import FaultServer
from tests.rigs.leaks import leak_check
from tests.rigs.ports import free_port
from tests.rigs.replica import Replica
from tests.twins.faces import FACES, in_flight
from tests.twins.twin import addresses, twin


class TwoNames:
    """One ip:port with a certificate for each of two names; keeps the SNI of every handshake."""

    def __init__(self, authority):
        self.seen = []
        self.contexts = {}
        for name in ("one.test", "two.test"):
            files = authority.issue(name)
            context = self.contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.cert, files.key)
        self.front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.front.load_cert_chain(files.cert, files.key)
        self.front.sni_callback = self.choose
        self.port = free_port()

    def choose(self, sock, name, context):
        self.seen.append(name)
        if name in self.contexts:
            sock.context = self.contexts[name]

    def __enter__(self):
        import http.server

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.headers["Host"].encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.socket = self.front.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *_: None
        self.server.block_on_close = True
        self.server.daemon_threads = False
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize("face", FACES, ids=str)
def test_two_logical_names_on_one_address_are_two_sessions(face, authority):
    """HT-2: the server sees both SNIs, each answer is verified against its own name, and neither pool mixes."""

    async def scenario():
        cluster = Cluster("orders", [f"127.0.0.1:{server.port}"])
        async with face.balanced(cluster, verify=authority.client_context()) as client:
            for _ in range(2):
                for name in ("one.test", "two.test"):
                    assert (await client.get(f"https://{name}/")).text == name
            assert server.seen == ["one.test", "two.test"]
            with pytest.raises(face.http.ConnectError, match="match|verify"):
                await client.get("https://three.test/")
            with pytest.raises(face.http.ConnectError, match="match|verify"):
                await client.get(f"https://127.0.0.1:{server.port}/")

    with TwoNames(authority) as server, leak_check():
        face.run(scenario)


@twin
async def test_an_endpoint_may_have_a_name_of_its_own(face, authority):
    """`server_name` is SNI and verified, while Host stays logical; so may the request's `sni_hostname`."""
    with Replica(tls=authority.issue("replica-7.internal")) as server:
        named = Endpoint(server.host, server.port, server_name="replica-7.internal")
        for endpoint, extensions in ((named, {}), (server.address, {"sni_hostname": "replica-7.internal"})):
            cluster = Cluster("orders", [endpoint])
            async with face.balanced(cluster, verify=authority.client_context()) as client:
                answer = await client.get("https://orders.test/headers", extensions=extensions)
                assert ["Host", "orders.test"] in answer.json()["headers"]
        cluster = Cluster("orders", [server.address])
        async with face.balanced(cluster, verify=authority.client_context()) as client:
            with pytest.raises(face.http.ConnectError):
                await client.get("https://orders.test/")


@pytest.mark.parametrize("bad", ["wrong_name", "expired", "untrusted"])
@twin
async def test_a_bad_certificate_is_refused_for_its_reason_and_the_good_endpoint_serves(face, authority, bad):
    """G4, HT-9: any method goes elsewhere; with no other endpoint it fails, and never in plain text."""
    tls = authority.wrong_name() if bad == "wrong_name" else getattr(authority, bad)("orders.test")
    reason = {"wrong_name": "mismatch", "untrusted": "unable to get local issuer", "expired": "expired"}[bad]
    context = authority.client_context()
    with Replica("bad", tls=tls) as wrong, Replica("good", tls=authority.issue("orders.test")) as good:
        cluster = Cluster("orders", addresses([wrong, good]), scheduler="first")
        async with face.balanced(cluster, verify=context, client={"base_url": "https://orders.test"}) as client:
            assert (await client.post("/headers", content=b"x")).json()["name"] == "good"
        cluster = Cluster("orders", [wrong.address], retry=RetryPolicy(attempts=1))
        async with face.balanced(cluster, verify=context, client={"base_url": "https://orders.test"}) as client:
            with pytest.raises(face.http.ConnectError, match=reason):
                await client.get()
        assert wrong.stats()["requests"] == 0
        assert in_flight(cluster) == 0


@twin
async def test_a_plain_text_server_on_the_tls_port_is_never_spoken_to_in_plain_text(face, authority):
    """G4: the handshake fails, nothing of the request is seen; an endpoint's scheme is kept to as well."""
    with FaultServer() as plain:
        cluster = Cluster("orders", [plain.address], retry=RetryPolicy(attempts=1))
        async with face.balanced(cluster, verify=authority.client_context()) as client:
            with pytest.raises(face.http.ConnectError):
                await client.get("https://orders.test/")
        cluster = Cluster("orders", [f"https://{plain.address}"])
        async with face.balanced(cluster, verify=authority.client_context()) as client:
            with pytest.raises(face.http.UnsupportedProtocol, match="https"):
                await client.get("http://orders.test/")
        assert plain.requests == []


@twin
async def test_a_stalled_handshake_ends_at_the_connect_timeout(face, authority):
    """And counts as never reached."""
    with FaultServer("stall_on_accept") as server:
        cluster = Cluster("orders", [server.address], retry=RetryPolicy(attempts=1))
        async with face.balanced(cluster, verify=authority.client_context(), client={"timeout": 0.2}) as client:
            with pytest.raises(face.http.ConnectTimeout):
                await client.get("https://orders.test/")
        assert cluster.stats().failures == 1


@pytest.mark.parametrize("face", FACES, ids=str)
def test_two_hundred_endpoints_share_one_context(face, monkeypatch):
    """HT-19: contexts are made once for each set of options, and never one for HTTP/1 and HTTP/2."""
    made = []
    create = face.http.create_ssl_context

    def counted(*args, **options):
        made.append(create(*args, **options))
        return made[-1]

    monkeypatch.setattr(face.http, "create_ssl_context", counted)
    shared_context.cache_clear()
    cluster = Cluster("orders", [f"127.0.0.1:{port}" for port in range(2000, 2200)])
    transports = [face.transport(cluster, **options) for options in ({}, {}, {"http2": True}, {"http2": True})]
    contexts = [transport._core.homes._context() for transport in transports for _ in range(200)]
    assert len(made) == 2
    assert len({id(context) for context in contexts}) == 2
    assert transports[0]._core.homes._context() is not transports[2]._core.homes._context()
    shared_context.cache_clear()


@twin
async def test_the_users_own_context_is_used_as_it_is(face, authority, h2_pair):
    """The one context serves a transport that speaks HTTP/2 and one that does not, at the same time."""
    context = authority.client_context()
    with Replica(tls=authority.issue("orders.test")) as one:
        old = Cluster("old", [one.address])
        new = Cluster("new", addresses(h2_pair))
        options = {"verify": context, "client": {"base_url": "https://orders.test"}}
        async with face.balanced(old, **options) as h1, face.balanced(new, http2=True, **options) as h2:
            for _ in range(3):
                assert (await h1.get()).http_version == "HTTP/1.1"
                assert (await h2.get()).http_version == "HTTP/2"


@twin
async def test_a_transport_that_offers_http2_speaks_http1_with_those_who_do_not(face, authority, h2_pair):
    """ALPN decides for each connection; both kinds in one cluster, several requests at a time."""
    with Replica(tls=authority.issue("orders.test")) as old:
        cluster = Cluster("orders", [old.address, h2_pair[0].address], scheduler="round_robin")
        limits = face.http.Limits(max_connections=4)
        options = {"verify": authority.client_context(), "http2": True, "limits": limits}
        async with face.balanced(cluster, client={"base_url": "https://orders.test"}, **options) as client:
            answers = []
            for _ in range(3):
                answers += await face.together(*[client.get] * 8)
            assert {answer.http_version for answer in answers} == {"HTTP/1.1", "HTTP/2"}
            if not face.sync:
                assert old.stats()["connections"] > 1, "those who waited for ALPN had the other connections to open"
