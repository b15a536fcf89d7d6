"""Every fault, on every way through the HTTP integration, with real processes and sockets.

One endpoint of three misbehaves, two are well. What must hold in each cell: no idempotent request fails, none ends after
its deadline, and afterwards nothing is in flight and nothing is left behind.
"""

import socket
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from lbkit import Cluster, RetryPolicy
from tests.rigs.certs import Authority
from tests.rigs.faulty import FaultServer
from tests.rigs.h2server import H2Server, h2_servers
from tests.rigs.leaks import leak_check
from tests.rigs.ports import free_port
from tests.rigs.replica import replicas
from tests.twins.faces import Face, in_flight

PER_TRY_S = 0.3
DEADLINE_S = 3.0
POLICY = RetryPolicy(per_try_timeout=PER_TRY_S, deadline=DEADLINE_S)
OVERRUN_S = 0.05
"""What a call may take beyond its deadline: the goal (G11)."""
SCHEDULING_NOISE_S = 0.25
"""What a busy machine adds to that: the time that a thread or a task waits for its turn, not the library's."""
WORKERS = 6
EACH = 15


class Column:
    """A way through the integration: a face and a protocol."""

    def __init__(self, library, kind, protocol):
        self.face = Face(library, kind)
        self.protocol = protocol

    def __str__(self):
        return f"{self.face}-{self.protocol}"


H1 = [Column("httpx", "sync", "h1"), Column("httpx", "asyncio", "h1"), Column("httpx2", "trio", "h1")]
H2 = [Column("httpx", "asyncio", "h2"), Column("httpx2", "asyncio", "h2"), Column("httpx2", "trio", "h2")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def leaf(authority):
    return authority.issue("orders", "127.0.0.1")


class Rig:
    """Two good servers of a column's protocol, a cluster on them and on a bad one, and the record of what happened."""

    def __init__(self, column, authority, leaf, stack, ledger=None):
        self.column = column
        self.face = column.face
        self.leaf = leaf
        self.ledger = ledger
        self.stack = stack
        if column.protocol == "h2":
            self.good = stack.enter_context(h2_servers(2, tls=leaf, ledger=ledger))
            self.options = {"http2": True, "verify": authority.client_context()}
            self.base = {"base_url": "https://orders"}
        else:
            self.good = stack.enter_context(replicas(2, ledger=ledger))
            self.options, self.base = {}, {}
        self.answers = Counter()
        self.failures = []
        self.worst_s = 0.0

    def bad_server(self):
        """A third server of the same kind, to be killed, frozen or told to misbehave."""
        kind = H2Server("bad", tls=self.leaf, ledger=self.ledger) if self.column.protocol == "h2" else None
        return self.stack.enter_context(kind) if kind else self.stack.enter_context(replicas(1, ledger=self.ledger))[0]

    def fault_server(self, mode):
        """A third server that misbehaves on the level of bytes."""
        return self.stack.enter_context(FaultServer(mode, name="bad", ledger=self.ledger))

    def cluster(self, bad_address, **more):
        options = {"retry": POLICY, "scheduler": "round_robin"} | more
        return Cluster("orders", [bad_address, *(server.address for server in self.good)], **options)

    async def load(self, client, path="/", each=EACH):
        """Workers that send GETs in turn; what failed is kept with its time."""

        async def worker():
            for _ in range(each):
                began = time.monotonic()
                try:
                    response = await client.get(path)
                    self.answers[response.status_code] += 1
                    assert response.json()
                except Exception as error:
                    self.failures.append(error)
                self.worst_s = max(self.worst_s, time.monotonic() - began)

        for result in await self.face.together(*[worker] * WORKERS):
            if result is not None:
                raise result

    def check(self, cluster, bad_address):
        """What must hold after any fault."""
        assert not self.failures, [(repr(error), error.__notes__) for error in self.failures[:3]]
        assert set(self.answers) == {200}
        assert self.worst_s <= DEADLINE_S + OVERRUN_S + SCHEDULING_NOISE_S
        stats = cluster.stats()
        assert [endpoint.in_flight for endpoint in stats.endpoints] == [0, 0, 0]
        assert stats.abandoned == 0
        return next(endpoint for endpoint in stats.endpoints if endpoint.endpoint == bad_address)


def play(column, authority, leaf, fault, *, path="/", counts=True):
    """Run a fault in its column: `fault(rig)` returns the bad address and what is to happen after a first good load."""
    with ExitStack() as stack:
        rig = Rig(column, authority, leaf, stack)
        bad_address, strike = fault(rig)

        async def scenario():
            cluster = rig.cluster(bad_address)
            async with rig.face.balanced(cluster, client=rig.base, **rig.options) as client:
                if strike is not None:
                    await rig.load(client, each=3)
                    strike()
                await rig.load(client, path)
            return cluster

        with leak_check():
            cluster = rig.face.run(scenario)
        bad = rig.check(cluster, bad_address)
        assert bad.attempts > 0
        if counts:
            assert bad.failures > 0 or bad.state == "paused", "the fault was not met"
        print(f"{column}: worst {rig.worst_s * 1000:.0f} ms, {cluster.stats().attempts} attempts")


def killed(rig):
    server = rig.bad_server()
    return server.address, server.kill


def frozen(rig):
    server = rig.bad_server()
    return server.address, server.freeze


def refused(rig):
    return f"127.0.0.1:{free_port()}", None


def restarted(rig):
    """All pooled connections are dead, and the endpoint is well."""
    server = rig.bad_server()
    return server.address, server.restart


def terminated(rig):
    server = rig.bad_server()
    return server.address, lambda: server.terminate(wait=False)


def by_bytes(mode):
    def fault(rig):
        return rig.fault_server(mode).address, None

    fault.__name__ = mode
    return fault


def overloaded(rig):
    server = rig.bad_server()
    server.control(status=503, retry_after=1)
    return server.address, None


def by_mode(mode):
    """An HTTP/2 server that begins to misbehave while its connection is in use."""

    def fault(rig):
        server = rig.bad_server()
        return server.address, lambda: server.control(mode=mode)

    fault.__name__ = mode
    return fault


BYTES = (
    "close_on_accept", "rst_on_accept", "accept_queue_full", "close_after_request", "rst_after_request",
    "rst_mid_headers", "fin_mid_body", "rst_mid_body", "never_answer", "slow_headers", "garbage",
    "stall_on_accept", "rst_second",
)  # fmt: skip
H1_FAULTS = [killed, frozen, refused, restarted, terminated, overloaded, *map(by_bytes, BYTES)]
H2_FAULTS = [
    killed, frozen, refused, restarted, terminated,
    *map(by_bytes, ("close_on_accept", "rst_on_accept", "accept_queue_full", "stall_on_accept", "garbage")),
    *map(by_mode, ("goaway_graceful", "goaway_below", "goaway_zero", "refused_stream", "calm", "rst_internal",
                   "rst_in_body", "stall")),
]  # fmt: skip
NO_FAULT_OF_ITS = {"restarted", "terminated", "goaway_graceful", "goaway_below", "goaway_zero", "rst_second"}
"""Faults that need not count against the endpoint: it leaves in good order, or the client notices in time."""

CELLS = [(column, fault) for column in H1 for fault in H1_FAULTS] + [
    (column, fault) for column in H2 for fault in H2_FAULTS
]


@pytest.mark.parametrize(("column", "fault"), CELLS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_no_idempotent_request_fails_while_one_endpoint_of_three_does(column, fault, authority, leaf):
    """G1 to G4, HT-9, HT-14: each fault on each way through, and nothing is left behind (G18)."""
    play(column, authority, leaf, fault, counts=fault.__name__ not in NO_FAULT_OF_ITS)


ALL_DOWN = [
    (H1[0], "refused"), (H1[0], "never_answer"), (H1[1], "refused"), (H1[1], "accept_queue_full"),
    (H1[2], "close_after_request"), (H2[0], "refused"), (H2[0], "stall_on_accept"), (H2[2], "stall_on_accept"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "mode"), ALL_DOWN, ids=str)
def test_with_all_endpoints_down_the_load_stays_bounded_and_every_call_ends_in_time(column, mode, authority):
    """G9, HT-15: 500 requests make at most 1.2 times as many attempts that reach anybody, and none outlives its deadline.

    Requests that waited in vain for a shared connection to be made are attempts as well, but nobody saw them.
    """
    deadline_s, workers, each = 0.4, 50, 10
    worst_s = []
    with ExitStack() as stack:
        servers = [] if mode == "refused" else [stack.enter_context(FaultServer(mode)) for _ in range(3)]
        bad = [server.address for server in servers] or [f"127.0.0.1:{free_port()}" for _ in range(3)]
        policy = RetryPolicy(per_try_timeout=0.1, deadline=deadline_s)
        cluster = Cluster("orders", bad, retry=policy)
        options = {"http2": True, "verify": authority.client_context()} if column.protocol == "h2" else {}
        base = {"base_url": "https://orders" if column.protocol == "h2" else "http://orders"}

        async def scenario():
            async with column.face.balanced(cluster, client=base, **options) as client:

                async def worker():
                    for _ in range(each):
                        began = time.monotonic()
                        with pytest.raises(column.face.http.TransportError):
                            await client.get()
                        worst_s.append(time.monotonic() - began)

                assert await column.face.together(*[worker] * workers) == [None] * workers

        with leak_check():
            column.face.run(scenario)
        stats = cluster.stats()
        assert stats.calls == len(worst_s) == workers * each
        seen = sum(server.connections for server in servers)
        assert seen <= 1.2 * stats.calls
        assert stats.retries_refused > 0
        if column.protocol == "h1" or mode == "refused":
            assert stats.attempts <= 1.2 * stats.calls
        assert max(worst_s) <= deadline_s + OVERRUN_S + SCHEDULING_NOISE_S
        assert in_flight(cluster) == 0


def test_all_addresses_of_a_name_share_the_connect_timeout(monkeypatch):
    """HT-13: two silent addresses take one connect timeout under blocking code, and a good third is reached."""
    face = Face("httpx", "sync")
    resolve = socket.getaddrinfo

    def resolved(host, port, *args, **options):
        if host != "several.test":
            return resolve(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port)) for server in several]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    cluster = Cluster("orders", ["several.test:80"], retry=RetryPolicy(deadline=0.3, attempts=1))

    async def scenario():
        async with face.balanced(cluster) as client:
            began = time.monotonic()
            with pytest.raises(face.http.ConnectTimeout):
                await client.get()
            assert time.monotonic() - began <= 0.3 + OVERRUN_S + SCHEDULING_NOISE_S
            several[:] = [Address(free_port()), Address(free_port()), good]
            assert (await client.get()).status_code == 200

    with FaultServer("accept_queue_full") as one, FaultServer("accept_queue_full") as two, FaultServer() as good:
        several = [one, two]
        face.run(scenario)


class Address:
    """A port where nobody listens."""

    def __init__(self, port):
        self.port = port
