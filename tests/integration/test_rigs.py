"""The rigs do what they say: every fault the other tests rely on is seen here once, with a plain httpx client."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tests.rigs.certs import Authority
from tests.rigs.fault_modes import CONNECT_MODES, NOT_ACTED, REQUEST_MODES
from tests.rigs.faulty import FaultServer
from tests.rigs.leaks import LeakError, leak_check
from tests.rigs.ledger import Ledger
from tests.rigs.ports import eventually, free_port, is_listening, wait_for_port
from tests.rigs.process import RIGS
from tests.rigs.proxies import BODY, haproxy_proxy, have_haproxy, have_nginx, nginx_proxy, nginx_replicas
from tests.rigs.replica import Replica, replicas


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "orders")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def replica():
    with Replica("a") as running:
        yield running


# ports


def test_free_ports_differ_and_are_never_ephemeral():
    """A port that was given out cannot become the source port of some connection before its server is restarted."""
    ports = [free_port() for _ in range(50)]
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        assert max(ports) < int(file.read().split()[0])
    assert len(set(ports)) == 50


def test_waiting_for_a_port_names_the_port_that_never_came():
    """The failure says what was waited for."""
    port = free_port()
    with pytest.raises(AssertionError, match=str(port)):
        wait_for_port("127.0.0.1", port, timeout=0.05)
    with pytest.raises(AssertionError, match="not true within"):
        eventually(lambda: False, timeout=0.01)


# replica


def test_a_replica_answers_every_route_as_told(replica):
    """Statuses, bodies and framing of the ordinary routes."""
    with httpx.Client(base_url=replica.url) as client:
        assert client.get("/").json() == {"name": "a", "pid": replica.pid}
        answer = client.get("/status/503?retry_after=2")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert client.get("/status/204").content == b""
        assert client.get("/stream?chunks=2").headers["transfer-encoding"] == "chunked"
        assert client.get("/sse?n=2&interval_ms=5").text == "data: 0\n\ndata: 1\n\n"
        assert len(client.get("/bytes?n=300000").content) == 300_000
        assert client.get("/redirect?to=/x").headers["location"] == "/x"
        assert client.get("/set-cookie").cookies["replica"] == "a"
        assert client.head("/").headers["content-length"] == str(len(client.get("/").content))
        seen = client.put("/headers?q=%2F", headers={"X-Some": "Thing"}).json()
        assert (seen["method"], seen["target"]) == ("PUT", "/headers?q=%2F")
        assert ["X-Some", "Thing"] in seen["headers"]


def test_a_replica_keeps_connections_alive_and_counts_them(replica):
    """Many requests by one client go by one connection; control messages are not counted."""
    before = replica.stats()
    with httpx.Client(base_url=replica.url) as client:
        for _ in range(5):
            client.get("/")
    after = replica.stats()
    assert (after["requests"] - before["requests"], after["connections"] - before["connections"]) == (5, 1)


def test_control_changes_delay_status_and_retry_after_at_runtime():
    """One message makes a replica slow or unwilling, and another heals it."""
    with Replica() as replica, httpx.Client(base_url=replica.url) as client:
        replica.control(status=503, retry_after=7, delay_ms=50)
        answer = client.get("/bytes")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert answer.elapsed.total_seconds() >= 0.05
        replica.control(status=0, delay_ms=0)
        assert client.get("/").status_code == 200


def test_an_order_is_in_the_ledger_once_with_its_body_digested(ledger):
    """Replicas share one ledger file, and a forced status answers without acting."""
    with replicas(2, ledger=ledger) as (one, two), httpx.Client() as client:
        body = b"x" * 100_000
        answer = client.post(f"{one.url}/orders", content=body, headers={"X-Order-Id": "o1"})
        assert answer.status_code == 201
        assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
        chunked = client.post(f"{two.url}/orders", content=iter([b"a", b"b"]), headers={"X-Order-Id": "o2"})
        assert chunked.json()["length"] == 2
        client.post(f"{two.url}/orders", headers={"X-Order-Id": "o2"})
        assert client.post(f"{two.url}/orders").status_code == 400
        two.control(status=503)
        client.post(f"{two.url}/orders", headers={"X-Order-Id": "o3"})
    assert ledger.counts() == {"o1": 1, "o2": 2}
    assert ledger.duplicates() == {"o2": ["r1", "r1"]}


def test_a_replica_killed_before_its_answer_has_acted(ledger):
    """The ambiguous case is real: the client sees a broken connection, the ledger has the order."""
    with Replica(ledger=ledger, delay_ms=5000) as replica, concurrent.futures.ThreadPoolExecutor() as pool:
        order = pool.submit(httpx.post, f"{replica.url}/orders", headers={"X-Order-Id": "o"}, timeout=10)
        eventually(lambda: ledger.counts()["o"] == 1)
        replica.kill()
        assert isinstance(order.exception(timeout=5), (httpx.RemoteProtocolError, httpx.ReadError))
        with pytest.raises(httpx.ConnectError):
            httpx.get(replica.url)
        assert replica.restart().stats()["pid"] == replica.pid


def test_a_frozen_replica_accepts_but_answers_only_when_thawed():
    """SIGSTOP looks like a hang, not like a refusal."""
    with Replica() as replica:
        replica.freeze()
        assert is_listening(replica.host, replica.port)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(replica.url, timeout=0.2)
        replica.thaw()
        assert httpx.get(replica.url).status_code == 200
        replica.freeze()  # and the exit must cope with it


def test_sigterm_finishes_what_is_in_flight_and_says_goodbye():
    """A lame duck refuses new connections, answers what it has with Connection: close, and exits."""
    with Replica(linger_ms=50) as replica, httpx.Client() as idle, concurrent.futures.ThreadPoolExecutor() as pool:
        idle.get(replica.url)
        slow = pool.submit(httpx.get, f"{replica.url}/slow?ms=400")
        eventually(lambda: replica.stats()["in_flight"] == 1)
        replica.terminate(wait=False)
        eventually(lambda: not is_listening(replica.host, replica.port))
        answer = slow.result(timeout=5)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert replica.wait_exit() == 0


def test_replicas_serve_unix_sockets_ipv6_and_tls(tmp_path, authority):
    """The same server behind the other kinds of address."""
    with Replica(unix=tmp_path / "socket") as replica:
        with httpx.Client(transport=httpx.HTTPTransport(uds=replica.address)) as client:
            assert client.get("http://any/").json()["pid"] == replica.pid
    with Replica(host="::1") as replica:
        assert httpx.get(f"http://{replica.address}/").json()["pid"] == replica.pid
    with Replica(tls=authority.issue("127.0.0.1")) as replica:
        assert httpx.get(replica.url, verify=authority.client_context()).json()["pid"] == replica.pid


def test_the_replica_runs_as_a_plain_command_from_anywhere(tmp_path):
    """No working directory and no import path is needed."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, str(RIGS / "replica_process.py"), "--name", "b", "--port", str(port)], cwd=tmp_path
    ) as process:
        try:
            wait_for_port("127.0.0.1", port)
            assert httpx.get(f"http://127.0.0.1:{port}").json()["name"] == "b"
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_server_that_cannot_start_says_why_at_once():
    """The server's own words are in the error, and nobody waits for a timeout."""
    with Replica() as first, pytest.raises(RuntimeError, match="Address already in use"):
        Replica(port=first.port).__enter__()


# faults

RESET, BROKEN, TIMEOUT = httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout

OUTCOMES = {
    "ok": 200, "close_after_request": BROKEN, "rst_after_request": RESET, "rst_mid_headers": RESET,
    "fin_mid_body": BROKEN, "rst_mid_body": RESET, "fin_mid_chunked": BROKEN, "rst_mid_chunked": RESET,
    "never_answer": TIMEOUT, "slow_headers": 200, "slow_body": 200, "garbage": BROKEN, "early_413_then_rst": 413,
    "retry_after_503": 503, "idle_close": 200, "rst_second": 200, "informational_103": 200, "connection_close": 200,
    "unknown_mode": 404, "close_on_accept": (RESET, BROKEN), "rst_on_accept": (RESET, BROKEN, httpx.ConnectError),
    "stall_on_accept": TIMEOUT, "accept_queue_full": httpx.ConnectTimeout,
}  # fmt: skip


def test_the_table_below_covers_every_fault():
    """No mode without a proof."""
    assert set(OUTCOMES) == {*REQUEST_MODES, *CONNECT_MODES}


@pytest.mark.parametrize("mode", OUTCOMES)
def test_a_fault_server_fails_exactly_as_named(mode, ledger):
    """Each mode, seen by a client; orders are in the ledger when a server in that state may have acted."""
    patience = 0.3 if OUTCOMES[mode] in (TIMEOUT, httpx.ConnectTimeout) else 5
    with leak_check(), FaultServer(mode, ledger=ledger) as server, httpx.Client(timeout=patience) as client:
        server.pace.byte_s = server.pace.chunk_s = 0.01
        send = {"content": b"z" * 100_000, "headers": {"X-Order-Id": "o"}}
        if isinstance(OUTCOMES[mode], int):
            assert client.post(server.url, **send).status_code == OUTCOMES[mode]
        else:
            with pytest.raises(OUTCOMES[mode]):
                client.post(server.url, **send)
        assert server.orders == ([] if mode in CONNECT_MODES else ["o"])
        assert ledger.counts() == ({} if mode in {*CONNECT_MODES, *NOT_ACTED} else {"o": 1})


def test_the_path_chooses_a_fault_whatever_the_mode():
    """One server can show several faults, and what it saw is on record."""
    with FaultServer() as server, httpx.Client() as client:
        assert client.get(f"{server.url}/fault/retry_after_503?x=1").headers["retry-after"] == "1"
        assert client.get(server.url).json() == {"name": "faulty", "mode": "ok"}
        assert client.get(f"{server.url}/fault/mispelt").status_code == 404
        assert server.connections == 1
        assert [seen.target for seen in server.requests] == ["/fault/retry_after_503?x=1", "/", "/fault/mispelt"]


def test_the_second_request_of_a_connection_is_reset():
    """rst_second lets a connection into the pool, and breaks it in use."""
    with FaultServer("rst_second") as server, httpx.Client() as client:
        assert client.get(server.url).status_code == 200
        with pytest.raises(httpx.ReadError):
            client.get(server.url)
        assert (server.connections, len(server.requests)) == (1, 2)


def test_idle_close_makes_a_client_reconnect():
    """The pooled connection is gone when it is wanted again."""
    with FaultServer("idle_close") as server, httpx.Client() as client:
        for _ in range(2):
            assert client.get(server.url).status_code == 200
            eventually(lambda: not any("connection" in thread.name for thread in threading.enumerate()))
        assert server.connections == 2


def test_a_full_accept_queue_heals_when_the_mode_changes():
    """The connections that filled the queue are not counted."""
    with leak_check(), FaultServer("accept_queue_full") as server:
        assert not is_listening(server.host, server.port, timeout=0.2)
        server.mode = "ok"
        assert httpx.get(server.url).status_code == 200
        assert server.connections == 1


def test_dropping_connections_resets_those_in_use():
    """Like a crash of the server, without a restart."""
    with leak_check(), FaultServer("never_answer") as server, concurrent.futures.ThreadPoolExecutor() as pool:
        request = pool.submit(httpx.get, server.url, timeout=5)
        eventually(lambda: server.requests)
        server.drop_connections()
        assert isinstance(request.exception(timeout=2), httpx.ReadError)


def test_a_misspelt_mode_is_refused_and_changes_nothing():
    """A typing error must not make a fault test pass."""
    with FaultServer("garbage") as server:
        with pytest.raises(ValueError, match="rst_mid_body"):
            server.mode = "rst_body"
        assert server.mode == "garbage"


# HTTP/2


@pytest.mark.skipif(not have_nginx(), reason="nginx is not installed")
@pytest.mark.parametrize("front", [nginx_proxy, haproxy_proxy])
def test_proxies_spread_over_replicas_and_show_their_cpu_time(front):
    """A request through the proxy gets a replica's answer; all its processes are gone afterwards."""
    if front is haproxy_proxy and not have_haproxy():
        pytest.skip("haproxy is not installed")
    with nginx_replicas(3, workers=2) as backends:
        assert len(backends.pids) == 3
        assert all(httpx.get(f"http://{address}/x").content == BODY for address in backends.addresses)
        with front(backends.addresses) as proxy, httpx.Client() as client:
            assert client.get(proxy.url).content == BODY
            before = proxy.cpu_s()
            eventually(lambda: client.get(proxy.url) and proxy.cpu_s() > before, interval_s=0)
            pids = proxy.pids
        backends.freeze()
        pids += backends.pids
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


# leaks


def test_a_leaked_socket_is_named_with_its_peer():
    """The message says where the socket leads."""
    with FaultServer() as server, contextlib.ExitStack() as kept:
        with pytest.raises(LeakError, match=f"-> {server.address} ESTABLISHED"), leak_check(settle_s=0.05):
            kept.enter_context(socket.create_connection((server.host, server.port)))


def test_a_leaked_thread_is_named_unless_it_is_to_be_ignored():
    """Threads that are meant to stay can be excepted by name."""
    stop = threading.Event()
    with pytest.raises(LeakError, match="thread 'forgotten'"), leak_check(settle_s=0.05):
        threading.Thread(target=stop.wait, name="forgotten").start()
    with leak_check(ignore_threads=["known"]):
        threading.Thread(target=stop.wait, name="known-1").start()
    stop.set()


def test_a_leaked_task_is_named_and_a_finishing_one_is_waited_for():
    """Inside asyncio the check settles without blocking the loop."""

    async def body():
        async with leak_check():
            short = asyncio.create_task(asyncio.sleep(0.05))
        with pytest.raises(LeakError, match=r"task .*sleep"):
            async with leak_check(settle_s=0.05):
                endless = asyncio.create_task(asyncio.sleep(60))
        assert short.done()
        endless.cancel()

    asyncio.run(body())


def test_the_failure_of_the_body_is_not_hidden_by_its_leaks():
    """A failing test reports its own error."""
    with contextlib.ExitStack() as kept, pytest.raises(json.JSONDecodeError), leak_check(settle_s=0.05):
        kept.enter_context(socket.socket())
        json.loads("not json")
