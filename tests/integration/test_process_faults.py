"""Processes that die and come back, deadlines that hold, and the budget when nothing is left."""

import time

import httpx
import pytest

from lbkit import Cluster, RetryBudget, RetryPolicy
from tests.rigs.faulty import FaultServer
from tests.rigs.ports import free_port
from tests.rigs.replica import Replica, replicas
from tests.twins.faces import Face, in_flight

H1 = [Face("httpx", "sync"), Face("httpx", "asyncio"), Face("httpx", "trio"), Face("httpx2", "asyncio")]
POLICY = RetryPolicy(per_try_timeout=0.3, deadline=3.0)
# Attempts are few and failures many in these tests on purpose: the budget has tests of its own.
GENEROUS = RetryBudget(ratio=1.0, floor=100)
SCHEDULING_S = 0.25
"""What a busy machine may add to 50 ms before a thread or task that is due is run."""


def cluster(*addresses, **options):
    return Cluster("orders", addresses, retry=options.pop("retry", POLICY), budget=GENEROUS, **options)


@pytest.mark.parametrize("face", H1, ids=str)
@pytest.mark.parametrize("fault", ["kill", "freeze", "terminate"])
def test_no_idempotent_request_fails_when_a_process_does(face, fault):
    """SIGKILL, SIGSTOP, SIGTERM and a port where nobody listens, with requests under way and pooled connections."""

    async def scenario():
        async with face.balanced(made) as client:

            async def work(count):
                for _ in range(count):
                    assert (await client.get("/?ms=2")).status_code == 200

            async def both():
                await work(10)
                harm()
                await work(30)

            results = await face.together(both, *[lambda: work(40)] * 5)
            assert results == [None] * 6
        assert in_flight(made) == 0

    with replicas(3) as [one, two, three]:
        harms = {"kill": one.kill, "freeze": one.freeze, "terminate": lambda: one.terminate(wait=False)}
        harm = harms[fault]
        made = cluster(one.address, two.address, three.address)
        face.run(scenario)
        one.thaw() if fault == "freeze" else None


def test_a_replica_that_came_back_gets_its_share_again():
    """Killed, restarted on its port, tried by one request, and used like the others under load."""
    face = Face("httpx", "sync")

    async def scenario():
        async with face.balanced(made) as client:
            await client.get("/")
            one.kill()
            for _ in range(20):
                await client.get("/")
            one.restart()
            end = time.monotonic() + 10
            while {e.state for e in made.stats().endpoints} != {"ready"}:
                await client.get("/")
                assert time.monotonic() < end
            before = {e.endpoint: e.attempts for e in made.stats().endpoints}

            async def work():
                for _ in range(50):
                    await client.get("/?ms=5")

            assert await face.together(*[work] * 8) == [None] * 8
            gained = {e.endpoint: e.attempts - before[e.endpoint] for e in made.stats().endpoints}
            # 400 requests, 8 at a time: 200 each, and 100 leaves room for what is learned on the way.
            assert all(count > 100 for count in gained.values()), gained

    with replicas(2) as [one, two]:
        made = cluster(one.address, two.address)
        face.run(scenario)


@pytest.mark.parametrize("face", H1, ids=str)
@pytest.mark.parametrize("mode", ["slow_headers", "slow_body", "never_answer", "accept_queue_full", "stall_on_accept"])
def test_no_call_outlives_its_deadline(face, mode):
    """A byte now and then, silence, and a full accept queue end at the deadline, slow bodies included (HT-13)."""
    deadline_s = 0.5

    async def scenario():
        async with face.balanced(made) as client:
            url = "https://orders/" if mode == "stall_on_accept" else "/"
            for _ in range(3):
                begun = time.monotonic()
                with pytest.raises(face.http.TransportError):
                    await client.get(url)
                assert time.monotonic() - begun < deadline_s + 0.05 + SCHEDULING_S

    with FaultServer(mode) as bad:
        made = cluster(bad.address, retry=RetryPolicy(deadline=deadline_s))
        bad.pace.byte_s = bad.pace.chunk_s = 0.1
        face.run(scenario)


@pytest.mark.parametrize("face", [Face("httpx", "sync"), Face("httpx", "asyncio")], ids=str)
def test_slow_headers_are_held_to_the_clients_own_timeout(face):
    """A read timeout of 0.4 s bounds all of the head, where a bare client waits for each byte anew."""

    async def scenario():
        async with face.balanced(made, client={"timeout": 0.4}) as client:
            begun = time.monotonic()
            with pytest.raises(face.http.ReadTimeout):
                await client.get("/")
            assert time.monotonic() - begun < 0.4 + 0.05 + SCHEDULING_S

    with FaultServer("slow_headers") as bad:
        made = cluster(bad.address, retry=RetryPolicy(attempts=1))
        bad.pace.byte_s = 0.1
        face.run(scenario)


@pytest.mark.parametrize("face", [Face("httpx", "sync"), Face("httpx", "asyncio")], ids=str)
def test_with_everything_down_the_attempts_stay_within_the_budget(face):
    """1,000 requests make at most 1,200 attempts, and each of them fails in time (HT-15)."""
    made = Cluster("orders", [f"127.0.0.1:{free_port()}" for _ in range(3)], retry=RetryPolicy(deadline=2.0))

    async def scenario():
        async with face.balanced(made) as client:

            async def work():
                for _ in range(100):
                    with pytest.raises(face.http.ConnectError):
                        await client.get("/")

            assert await face.together(*[work] * 10) == [None] * 10

    face.run(scenario)
    assert made.stats().attempts <= 1.2 * made.stats().calls == 1200


def test_the_budget_still_lets_one_good_replica_serve_all():
    """With two of three refusing from the start, the default budget and three attempts are enough."""
    with Replica() as good:
        dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        made = Cluster("orders", [good.address, *dead])
        with httpx.Client(transport=Face("httpx", "sync").transport(made), base_url="http://orders") as client:
            assert [client.get("/").status_code for _ in range(300)] == [200] * 300
        assert made.stats().attempts <= 1.2 * 300
