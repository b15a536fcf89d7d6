"""The HTTP/2 rigs do what they say, and so do the certificates."""

import asyncio

import httpx
import pytest

from tests.rigs.certs import Authority
from tests.rigs.h2server import H2Server, h2_servers
from tests.rigs.ledger import Ledger
from tests.rigs.ports import eventually, is_listening
from tests.rigs.replica import Replica


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "orders")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


def order(client, server, path, order_id):
    return client.post(f"https://{server.address}{path}", content=b"z" * 1000, headers={"X-Order-Id": order_id})


H2_FAULTS = {
    "stall": "timed out", "goaway_graceful": "last_stream_id:3", "rst_internal": "error_code:2",
    "rst_in_body": "error_code:8", "refused_stream": "error_code:7", "calm": "error_code:11",
    "goaway_zero": "last_stream_id:0",
}  # fmt: skip


def test_http2_faults_are_what_they_are_called_and_only_acted_orders_are_on_record(authority, ledger):
    """Every mode after a good request on the same connection; refusals leave nothing in the ledger."""
    with H2Server(tls=authority.issue("127.0.0.1"), ledger=ledger) as server:
        for mode, message in H2_FAULTS.items():
            patience = 0.3 if mode == "stall" else 5
            with httpx.Client(http2=True, verify=authority.client_context(), timeout=patience) as client:
                assert order(client, server, "/warm", f"warm-{mode}").http_version == "HTTP/2"
                with pytest.raises(httpx.TransportError, match=message):
                    order(client, server, f"/fault/{mode}", mode)
        assert server.stats()["connections"] == len(H2_FAULTS)
    acted = {order for order in ledger.counts() if not order.startswith("warm")}
    assert acted == {"stall", "goaway_graceful", "rst_internal", "rst_in_body"}
    assert not ledger.duplicates()


def test_goaway_below_disowns_the_stream_and_finishes_earlier_ones(authority, ledger):
    """The stream is ignored, httpcore repeats it on a new connection, and it is carried out once."""
    with H2Server(tls=authority.issue("127.0.0.1"), mode="goaway_below", ledger=ledger) as server:
        with httpx.Client(http2=True, verify=authority.client_context()) as client:
            assert order(client, server, "/", "first").json()["stream"] == 1
            assert order(client, server, "/", "second").json()["stream"] == 1
        assert [(stream, sent) for stream, _, _, sent in server.stats()["requests"]] == [
            (1, "first"), (3, "second"), (1, "second"),
        ]  # fmt: skip
    assert ledger.counts() == {"first": 1, "second": 1}


def test_http2_multiplexes_many_streams_on_one_connection(authority):
    """Fifty requests are in the server's hands at the same time, over a single connection."""

    async def many(server):
        async with httpx.AsyncClient(http2=True, verify=authority.client_context()) as client:
            url = f"https://{server.address}/?ms=1000"
            calls = [asyncio.create_task(client.post(url, content=b"q" * 5000)) for _ in range(50)]
            await asyncio.to_thread(eventually, lambda: server.stats()["in_flight"] == 50)
            return await asyncio.gather(*calls)

    with H2Server(tls=authority.issue("127.0.0.1")) as server:
        answers = asyncio.run(many(server))
        assert len({answer.json()["stream"] for answer in answers}) == 50
        assert server.stats()["connections"] == 1


def test_http2_servers_are_controlled_frozen_and_killed_as_processes(authority):
    """The same handle as a replica's; control needs no connection."""
    with h2_servers(2, tls=authority.issue("127.0.0.1")) as (one, two):
        assert one.control(mode="calm", delay_ms=5)["mode"] == "calm"
        one.freeze()
        with pytest.raises(TimeoutError):
            one.control(timeout=0.1)
        one.thaw()
        assert one.control(mode="ok")["mode"] == "ok"
        two.kill()
        assert not is_listening(two.host, two.port)
        assert two.restart().stats()["name"] == "h1"
        two.terminate()
        assert two.wait_exit() == 0


@pytest.mark.parametrize("bad", ["wrong_name", "untrusted", "expired"])
def test_bad_certificates_are_refused_for_their_own_reason(authority, bad):
    """Each kind of broken TLS is really that kind."""
    tls = authority.wrong_name() if bad == "wrong_name" else getattr(authority, bad)("127.0.0.1")
    reason = {"wrong_name": "IP address mismatch", "untrusted": "unable to get local issuer", "expired": "expired"}
    with Replica(tls=tls) as replica, pytest.raises(httpx.ConnectError, match=reason[bad]):
        httpx.get(replica.url, verify=authority.client_context())


# proxies
