"""A service registers itself with a real Consul, and lbkit's own clients find it and hear of its leaving."""

import os
import time

import anyio
import pytest

from lbkit import Cluster, DiscoveryError
from lbkit.discovery import Consul as Source
from lbkit.discovery import HttpCheck, RegistrationState, TcpCheck, TtlCheck, registration
from tests.rigs.consul import PASSWORDS, Consul
from tests.rigs.leaks import leak_check
from tests.rigs.ports import eventually, free_port
from tests.rigs.replica import Replica

SLOW = 20.0
"""Seconds; far more than anything here takes."""


@pytest.fixture(scope="module")
def agent():
    with Consul() as agent:
        yield agent


@pytest.fixture
def consul():
    """An agent of the test's own, for faults."""
    with Consul() as consul:
        yield consul


def register(consul, name, **more):
    options = {"address": "127.0.0.1", "check": TtlCheck(1.0), "drain_s": 0.0, "wait": True, "start_timeout": SLOW}
    return registration(name, 8080, agent=consul.url, **(options | more))


def checks(consul, name):
    return {one["CheckID"]: one for one in consul.request("GET", f"/v1/health/checks/{name}")}


def addresses(cluster):
    return {one.endpoint for one in cluster.stats().endpoints}


def test_a_service_is_found_with_all_that_it_says_of_itself_and_its_ttl_is_kept(agent):
    """By a cluster of lbkit's; for longer than the TTL; and not a moment longer than the block."""
    more = {"tags": ["v2"], "meta": {"zone": "eu-1"}, "weights": (7, 1), "id": "mine"}
    with leak_check(), Cluster("found", Source("found", agent=agent.url)) as cluster:
        with register(agent, "found", **more) as mine:
            assert (mine.state, mine.problem, mine.id) == (RegistrationState.REGISTERED, "", "mine")
            eventually(lambda: addresses(cluster) == {"127.0.0.1:8080"}, SLOW)
            [endpoint] = cluster.balancer.snapshot.endpoints
            assert (endpoint.weight, endpoint.zone, endpoint.metadata["consul.tags"]) == (7, "eu-1", "v2")
            until = time.monotonic() + 3.0
            while time.monotonic() < until:
                assert agent.passing("found") == {"mine"}
                time.sleep(0.1)
        assert mine.state is RegistrationState.CLOSED
        assert not checks(agent, "found")


def test_an_agent_that_lost_its_state_is_told_again(consul):
    """Killed and started with nothing: registered again, maintenance included, and no exception comes through."""
    with register(consul, "again") as mine, register(consul, "kept-out", id="out") as out:
        out.maintenance(True, "rebuilding an index")
        eventually(lambda: not consul.passing("kept-out"), SLOW)
        consul.kill()
        eventually(lambda: mine.state is RegistrationState.FAILING, SLOW)
        assert "Connection refused" in mine.problem
        consul.start()
        eventually(lambda: consul.passing("again") == {mine.id}, SLOW)
        eventually(lambda: mine.state is RegistrationState.REGISTERED, SLOW)
        eventually(lambda: "_service_maintenance:out" in checks(consul, "kept-out"), SLOW)
        assert checks(consul, "kept-out")["_service_maintenance:out"]["Notes"] == "rebuilding an index"
        out.maintenance(False)
        eventually(lambda: consul.passing("kept-out") == {"out"}, SLOW)


def test_leaving_is_seen_by_clients_before_the_service_is_gone(agent):
    """Maintenance, then time to end what is under way, then out."""
    source = Source("leaving", agent=agent.url, empty_grace=0.0)
    with Cluster("leaving", source) as cluster, register(agent, "leaving", drain_s=1.0) as mine:
        eventually(lambda: addresses(cluster), SLOW)
        seen = []

        async def leave():
            async with anyio.create_task_group() as group:
                group.start_soon(mine.aclose)
                while mine.state is not RegistrationState.CLOSED:
                    found = await anyio.to_thread.run_sync(checks, agent, "leaving")
                    seen.append((set(found), addresses(cluster)))
                    await anyio.sleep(0.02)

        began = time.monotonic()
        anyio.run(leave)
        assert time.monotonic() - began >= 1.0
        drained = [shown for found, shown in seen if f"_service_maintenance:{mine.id}" in found]
        assert set() in drained
        assert not checks(agent, "leaving")


def test_the_service_says_how_it_is(agent):
    """By a call, at once; and by a function, of which the worse counts."""
    health = ["passing"]

    def look():
        if health[0] == "broken":
            raise RuntimeError("secret")
        return health[0], "by the function"

    with register(agent, "says", id="says", health=look) as mine:

        def shown():
            # The agent's own view: Consul's servers hear of a text alone after minutes.
            check = agent.request("GET", "/v1/agent/checks")["service:says"]
            return check["Status"], check["Output"]

        eventually(lambda: shown() == ("passing", "by the function"), SLOW)
        mine.set_status("warning", "disk is filling up")
        eventually(lambda: shown() == ("warning", "disk is filling up"), SLOW)
        health[0] = "broken"
        eventually(lambda: shown() == ("critical", "health: the function raised RuntimeError"), SLOW)
        health[0] = "passing"
        mine.set_status("passing")
        eventually(lambda: shown() == ("passing", "by the function"), SLOW)


@pytest.mark.parametrize("check", [HttpCheck("/headers", interval=0.2), TcpCheck(interval=0.2)], ids=["http", "tcp"])
def test_consul_may_look_itself(agent, check):
    """At the service's address."""
    name = f"looked-at-{type(check).__name__}"
    with Replica() as replica:
        mine = registration(name, replica.port, address="127.0.0.1", check=check, agent=agent.url, drain_s=0.0)
        with mine:
            eventually(lambda: agent.passing(name) == {mine.id}, SLOW)
    assert not checks(agent, name)


def test_a_dead_agent_at_the_beginning_is_no_error_unless_one_insists():
    """Tried again in the background, or told at once; nothing is left behind."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with leak_check():
        with registration("lonely", 80, agent=nowhere) as mine:
            eventually(lambda: mine.problem, SLOW)
            assert mine.state is RegistrationState.STARTING
        with pytest.raises(DiscoveryError, match="lonely-.*-80 is not registered: could not register: .*refused"):
            registration("lonely", 80, agent=nowhere, wait=True, start_timeout=0.5).__enter__()


def test_an_agent_that_comes_late_is_found(tmp_path):
    """The service was there first."""
    late = Consul()
    with registration("early", 80, agent=late.url, drain_s=0.0) as mine:
        eventually(lambda: mine.problem, SLOW)
        with late:
            eventually(lambda: late.passing("early") == {mine.id}, SLOW)


def test_leaving_a_frozen_agent_takes_bounded_time(consul):
    """No answer is waited for longer than the process can wait."""
    with leak_check():
        mine = register(consul, "frozen", drain_s=0.5)
        with mine:
            consul.freeze()
            began = time.monotonic()
        assert time.monotonic() - began < 10.0
        assert mine.state is RegistrationState.CLOSED
        assert "could not deregister" in mine.problem
        consul.thaw()


def test_a_service_goes_to_the_next_agent_and_leaves_all(tmp_path):
    """The first dies; the second takes the service; in the end neither has it."""
    with Consul("n1", data=tmp_path, options={"bootstrap_expect": 1}) as first, Consul("n2") as second:
        options = {"address": "127.0.0.1", "check": TtlCheck(1.0), "drain_s": 0.0, "wait": True}
        with registration("both", 80, agent=[first.url, second.url], **options):
            assert first.passing("both")
            first.kill()
            eventually(lambda: second.passing("both"), SLOW)
            first.start()
            assert checks(first, "both")
        assert not checks(second, "both")
        assert not checks(first, "both")


def test_a_token_is_needed_where_consul_says_so_and_is_shown_nowhere(caplog):
    """Refused without, taken with."""
    with Consul(acl=True) as consul:
        with register(consul, "secret", wait=False) as refused:
            eventually(lambda: "403: Permission denied" in refused.problem, SLOW)
        with register(consul, "secret", token=PASSWORDS["root"]) as mine:
            assert consul.passing("secret") == {mine.id}
            assert PASSWORDS["root"] not in repr(mine) + repr(vars(mine)) + repr(mine._loop._registrar._requests)
    assert PASSWORDS["root"] not in caplog.text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_code_registers_too(agent, backend):
    """In a loop of either kind."""

    async def serve():
        async with register(agent, f"under-{backend}") as mine:
            assert mine.state is RegistrationState.REGISTERED
            found = await anyio.to_thread.run_sync(agent.passing, f"under-{backend}")
            assert found == {mine.id}

    with leak_check(ignore_threads=("Trio thread",)):  # trio keeps its worker threads for a while
        anyio.run(serve, backend=backend)
    assert not checks(agent, f"under-{backend}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_fork_neither_registers_nor_deregisters(agent):
    """The registration is the parent's, even when the child leaves the block."""
    with register(agent, "parent") as mine:
        pid = os.fork()
        if pid == 0:
            inherited = mine.state is RegistrationState.INHERITED
            mine.set_status("critical")
            mine.close()
            os._exit(0 if inherited else 1)
        assert os.waitpid(pid, 0)[1] == 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert agent.passing("parent") == {mine.id}
            time.sleep(0.1)
        assert mine.state is RegistrationState.REGISTERED
