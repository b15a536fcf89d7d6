"""The Consul source against a real Consul: what changes is seen, what fails costs nothing but news (DI-3, G13)."""

import statistics
import time

import anyio
import anyio.to_thread
import pytest
import trustme

from lbkit.discovery.consul import asking
from lbkit.discovery.consul.consul import Consul as Source
from lbkit.discovery.consul.query import ConsulQuery
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.discovery.keeper import SourceState
from lbkit.runtime.consul_client import AgentClient
from tests.rigs.certs import CertFiles
from tests.rigs.consul import PASSWORDS, Consul, Follower, consul_cluster, following, leader_of
from tests.rigs.leaks import leak_check
from tests.rigs.ports import free_port

ROUNDS = 6


@pytest.fixture(scope="module")
def shared():
    with Consul() as consul:
        yield consul


@pytest.fixture
def consul(shared):
    for instance in shared.request("GET", "/v1/agent/services"):
        shared.deregister(instance)
    for number in (1, 2, 3):
        shared.register(f"web-{number}", 8000 + number)
    return shared


async def off(function, *arguments):
    """Call the rig without holding up the loop."""
    return await anyio.to_thread.run_sync(function, *arguments)


def source(consul, **options):
    return Source("web", agent=consul.url, token="", **options)


def all_three(follower: Follower) -> bool:
    return follower.instances == {"web-1", "web-2", "web-3"}


def test_a_change_is_seen_at_once(consul, capsys):
    """A check that fails takes its instance out while a blocking query waits; one that passes puts it back."""
    seen_s = []

    async def main():
        async with following(source(consul)) as follower:
            await follower.until(all_three)
            for number in range(ROUNDS):
                await anyio.sleep(1.1)  # isolated changes: more often is paced
                began = time.monotonic()
                await off(consul.check, "web-2", "pass" if number % 2 else "fail")
                await follower.until(lambda one, wanted=number % 2: ("web-2" in one.instances) == bool(wanted))
                seen_s.append(time.monotonic() - began)
            assert follower.keeper.report.state is SourceState.LIVE

    anyio.run(main)
    with capsys.disabled():
        print(
            f"\nConsul: a change is seen in {statistics.median(seen_s) * 1000:.0f} ms, at most {max(seen_s) * 1000:.0f}"
        )
    assert statistics.median(seen_s) < 2.0


def test_weights_warnings_tags_and_filters_are_those_of_the_real_thing(consul):
    """What is registered is what comes out."""
    consul.register("web-4", 8004, Weights={"Passing": 10, "Warning": 3}, Tags=["v2"], Meta={"zone": "b"})
    consul.check("web-4", "warn")

    async def weights(**options):
        async with following(source(consul, **options)) as follower:
            await follower.until(lambda one: one.keeper.report.state is not SourceState.STARTING)
            return {one.metadata["consul.id"]: one.weight for one in follower.keeper.endpoints or ()}, follower

    async def main():
        assert "web-4" not in (await weights())[0]
        assert (await weights(warning=True))[0]["web-4"] == 3
        found, follower = await weights(warning=True, tags=["v2"])
        assert found == {"web-4": 3} and follower.keeper.endpoints[0].zone == "b"
        assert set((await weights(filter='Service.ID == "web-2"'))[0]) == {"web-2"}
        for wrong, says in (({"filter": "??"}, "filter is not valid"), ({"datacenter": "nope"}, "no such datacenter")):
            _, follower = await weights(**wrong)
            assert says in follower.keeper.report.problem

    anyio.run(main)


def test_an_empty_answer_is_a_matter_of_the_grace(consul):
    """All in maintenance is `[]` with status 200: by default the last good set stays, with grace 0 it goes at once."""

    async def main():
        async with following(source(consul)) as patient, following(source(consul, empty_grace=0)) as strict:
            await patient.until(all_three)
            await strict.until(all_three)
            for number in (1, 2, 3):
                await off(consul.maintenance, f"web-{number}")
            await patient.until(lambda one: one.keeper.report.state is SourceState.STALE)
            await strict.until(lambda one: one.keeper.report.state is SourceState.EMPTY)
            assert patient.instances and not strict.instances
            assert "no passing instance" in patient.keeper.report.problem
            for number in (1, 2, 3):
                await off(lambda n=number: consul.maintenance(f"web-{n}", enable=False))
            await patient.until(lambda one: one.keeper.report.state is SourceState.LIVE)
            await strict.until(all_three)

    anyio.run(main)


def test_an_index_from_before_blinds_for_one_wait_at_most(consul):
    """Consul holds a query with an index that is ahead for the whole wait; then changes are seen at once again."""

    async def main():
        follower = Follower(source(consul, wait=1.0))
        follower.keeper.answer(AgentReply(200, {"x-consul-index": "99999"}, b"[]"), time.monotonic())
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            await follower.until(all_three)
            await off(consul.check, "web-1", "fail")
            await follower.until(lambda one: one.instances == {"web-2", "web-3"})
            group.cancel_scope.cancel()

    anyio.run(main)


def test_a_stream_of_changes_is_paced_and_its_end_is_seen(consul):
    """However often the service changes, two queries a second follow, and the last state is the one that is kept."""

    async def main():
        async with following(source(consul)) as follower:
            await follower.until(all_three)
            began = time.monotonic()
            for number in range(100):
                await off(consul.check, "web-1", "fail" if number % 2 else "pass")
                await anyio.sleep(0.02)
            await follower.until(lambda one: one.instances == {"web-2", "web-3"})
            lasted_s = time.monotonic() - began
            assert sum(at >= began for at in follower.asked) <= 3 + 2 * lasted_s

    anyio.run(main)


def test_closing_does_not_wait_for_a_blocking_query(consul):
    """Inside a wait of ten minutes a follower ends at once, and leaves no socket and no task."""

    async def main():
        async with leak_check():
            async with following(source(consul, wait=600)) as follower:
                await follower.until(lambda one: len(one.asked) >= 2)
                await anyio.sleep(0.2)
                began = time.monotonic()
            took_s = time.monotonic() - began
        assert took_s < 1.0

    anyio.run(main)


def test_a_consul_that_was_killed_and_has_lost_its_state_is_followed_again():
    """The set stays meanwhile, at most two queries a second go out, and the new state is seen although it is younger."""

    async def main():
        with Consul() as consul:
            for number in (1, 2, 3):
                consul.register(f"web-{number}", 8000 + number)
            async with following(source(consul)) as follower:
                await follower.until(all_three)
                before = consul.request("GET", "/v1/agent/self")["Config"]["NodeID"]
                await off(consul.kill)
                killed = time.monotonic()
                await follower.until(lambda one: one.keeper.report.state is SourceState.STALE)
                await anyio.sleep(3.0)
                assert all_three(follower) and "no connection" in follower.keeper.report.problem
                down_s = time.monotonic() - killed
                assert sum(at >= killed for at in follower.asked) <= 1 + 2 * down_s
                await off(consul.restart)
                assert consul.request("GET", "/v1/agent/self")["Config"]["NodeID"] != before
                await off(lambda: consul.register("web-9", 8009))
                await follower.until(lambda one: one.instances == {"web-9"})

    anyio.run(main)


def test_a_frozen_consul_is_noticed_and_found_again_when_it_thaws(monkeypatch):
    """Its kernel goes on taking connections; the time limit of the query is what notices."""
    monkeypatch.setattr(asking, "ANSWER_S", 1.0)

    async def main():
        with Consul() as consul:
            for number in (1, 2, 3):
                consul.register(f"web-{number}", 8000 + number)
            async with following(source(consul, wait=1.0)) as follower:
                await follower.until(all_three)
                consul.freeze()
                await follower.until(lambda one: "no answer in" in one.keeper.report.problem)
                assert all_three(follower)
                consul.thaw()
                await off(consul.check, "web-1", "fail")
                await follower.until(lambda one: one.instances == {"web-2", "web-3"})
                assert follower.keeper.report.state is SourceState.LIVE

    anyio.run(main)


@pytest.mark.slow
def test_without_a_quorum_stale_answers_go_on_and_the_others_keep_the_last(tmp_path):
    """Two of three servers die. The leader's word fails, any server's word comes with a warning; then all is well again."""

    async def main():
        with consul_cluster(tmp_path) as servers:
            leader = leader_of(servers)
            survivor = next(one for one in servers if one is not leader)
            for number in (1, 2, 3):
                survivor.register(f"web-{number}", 8000 + number)
            async with (
                following(source(survivor)) as strict,
                following(source(survivor, stale=True, wait=2.0)) as relaxed,
            ):
                await strict.until(all_three)
                await relaxed.until(all_three)
                dead = [one for one in servers if one is not survivor]
                killed = time.monotonic()
                for one in dead:
                    await off(one.kill)
                await strict.until(lambda one: "no leader" in one.keeper.report.problem, 60.0)
                await relaxed.until(lambda one: "knows no leader" in one.keeper.report.problem, 60.0)
                lasted_s = time.monotonic() - killed
                assert all_three(strict) and strict.keeper.report.state is SourceState.STALE
                assert all_three(relaxed) and relaxed.keeper.report.state is SourceState.LIVE
                for follower in (strict, relaxed):
                    assert sum(at >= killed for at in follower.asked) <= 2 + 2 * lasted_s
                for one in dead:
                    await off(lambda one=one: one.start(wait=False))
                for one in dead:
                    await off(one.wait_ready)
                await strict.until(lambda one: one.keeper.report.state is SourceState.LIVE, 60.0)

    anyio.run(main)


def test_acls_are_obeyed_and_explained():
    """With a token all is there, without one nothing, and a wrong one is refused; no text holds a token."""
    wrong = "99999999-2222-3333-4444-555555555555"

    async def state(agent, token):
        async with following(Source("web", agent=agent, token=token)) as follower:
            await follower.until(lambda one: one.keeper.report.state is not SourceState.STARTING)
            return follower

    async def main():
        with Consul(acl=True) as consul:
            consul.register("web-1", 8001)
            async with following(Source("web", agent=consul.url, token=PASSWORDS["root"])) as follower:
                await follower.until(lambda one: one.instances == {"web-1"})
            assert (await state(consul.url, "")).keeper.report.state is SourceState.EMPTY
            refused = (await state(consul.url, wrong)).keeper.report
            assert refused.state is SourceState.FAILED
            assert "does not know this token (403: ACL not found)" in refused.problem and wrong not in refused.problem

    anyio.run(main)


def test_a_prepared_query_is_executed(consul):
    """By its name; one that does not exist is told as such."""
    body = {"Name": "nearest-web", "Service": {"Service": "web", "OnlyPassing": True}}
    created = consul.request("POST", "/v1/query", body)

    async def main():
        async with following(ConsulQuery("nearest-web", agent=consul.url, token="", every=1.0)) as follower:
            await follower.until(all_three)
            await off(consul.check, "web-3", "fail")
            await follower.until(lambda one: one.instances == {"web-1", "web-2"})
        async with following(ConsulQuery("no-such-query", agent=consul.url, token="")) as follower:
            await follower.until(lambda one: one.keeper.report.state is SourceState.FAILED)
            assert "404" in follower.keeper.report.problem

    try:
        anyio.run(main)
    finally:
        consul.request("DELETE", f"/v1/query/{created['ID']}")


def test_agents_answer_over_tls_and_unix_sockets_and_stand_in_for_each_other(tmp_path):
    """A dead agent is passed over; its successor is kept."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = CertFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    leaf = authority.issue_cert("server.dc1.consul")
    leaf.cert_chain_pems[0].write_to_path(files.cert)
    leaf.private_key_pem.write_to_path(files.key)
    path = str(tmp_path / "consul.sock")

    async def main():
        dead = f"http://127.0.0.1:{free_port()}"
        with Consul(tls=files, unix=path) as consul:
            consul.register("web-1", 8001)
            https = f"https://127.0.0.1:{consul.https_port}"
            named = {"ca": str(tmp_path / "ca.pem"), "tls_server_name": "server.dc1.consul"}
            for agents, options in (([https], named), ([f"unix:{path}"], {}), ([dead, consul.url], {})):
                async with following(Source("web", agent=agents, token="", **options)) as follower:
                    await follower.until(lambda one: one.instances == {"web-1"})
            async with following(Source("web", agent=https, token="", ca=named["ca"])) as follower:
                await follower.until(lambda one: one.keeper.report.state is SourceState.FAILED)
                assert "certificate" in follower.keeper.report.problem.lower()

    anyio.run(main)


def test_the_same_client_carries_out_plain_requests(consul):
    """Registration goes the same way as watching."""
    access = source(consul).access

    async def main():
        client = AgentClient()
        body = b'{"Name": "web", "ID": "web-7", "Port": 8007}'
        request = AgentRequest(access, "/v1/agent/service/register", method="PUT", body=body)
        assert (await client.ask(request)).status == 200
        assert (await client.ask(AgentRequest(access, "/v1/agent/service/web-7"))).json()["Port"] == 8007
        await client.aclose()

    anyio.run(main)
