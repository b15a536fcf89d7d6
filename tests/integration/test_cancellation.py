"""20,000 requests cancelled at random moments: afterwards all capacity is there, and nothing is left over (HT-17)."""

import asyncio
import gc
import random

import anyio
import pytest

from lbkit import Cluster, RetryPolicy
from tests.rigs.certs import Authority
from tests.rigs.h2server import h2_servers
from tests.rigs.leaks import leak_check
from tests.rigs.replica import replicas
from tests.twins.faces import Face, in_flight

EACH = 2200
WORKERS = 24
LIMIT = 4
IDLE = 3
PATHS = ("/", "/?ms=1", "/stream?chunks=3&interval_ms=1", "/bytes?n=200000", "/?ms=3")
CASES = [
    pytest.param(Face(library, kind), how, limited, id=f"{library}-{kind}-{how}-{'' if limited else 'un'}limited")
    for library in ("httpx", "httpx2")
    for kind, how, limited in (
        ("asyncio", "task.cancel", True), ("asyncio", "task.cancel", False), ("asyncio", "move_on_after", True),
        ("trio", "move_on_after", True), ("trio", "cancel scope", False),
    )
]  # fmt: skip


async def fetch(client, path):
    """A request whose body is read as it comes, as half of the users do."""
    if path.startswith(("/stream", "/bytes")):
        async with client.stream("GET", path) as response:
            async for _ in response.parts():
                pass
    else:
        await client.get(path)


async def one_cancelled(how, client, path, delay):
    if how == "task.cancel":
        task = asyncio.ensure_future(fetch(client, path))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
    elif how == "move_on_after":
        with anyio.move_on_after(delay):
            await fetch(client, path)
    else:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel():
                    await anyio.sleep(delay)
                    scope.cancel()

                group.start_soon(cancel)
                await fetch(client, path)
                group.cancel_scope.cancel()


async def storm(face, client, how, rng, count):
    left = iter(range(count))

    async def work():
        for _ in left:
            await one_cancelled(how, client, rng.choice(PATHS), rng.random() * 0.008)

    assert await face.together(*[work] * WORKERS) == [None] * WORKERS


def pools(client):
    homes = client.raw._transport._core.homes
    return homes.pools()


@pytest.mark.parametrize(("face", "how", "limited"), CASES)
def test_cancellation_loses_no_capacity(face, how, limited):
    """Pools with and without a limit serve as many at once as before, and keep no more idle ones than they may."""
    rng = random.Random(f"{face} {how}")
    limits = face.http.Limits(
        max_connections=LIMIT if limited else None, max_keepalive_connections=IDLE, keepalive_expiry=30
    )

    async def scenario():
        async with face.balanced(made, limits=limits) as client:
            await storm(face, client, how, rng, EACH)
            gc.collect()
            # Every slot of both replicas at once, several times over.
            results = await face.together(*[lambda: client.get("/?ms=5")] * (2 * LIMIT * 3))
            assert [getattr(result, "status_code", result) for result in results] == [200] * len(results)
            assert in_flight(made) == 0
            for pool in pools(client):
                assert len(pool._idle) <= IDLE
                assert pool._open == len(pool._idle), f"{pool}: a slot is lost"
                assert not pool._waiters

    with replicas(2) as some:
        made = Cluster("orders", [one.address for one in some], retry=RetryPolicy(attempts=2))
        if face.kind == "asyncio":

            async def checked():
                async with leak_check():
                    await scenario()

            face.run(checked)
        else:
            with leak_check():
                face.run(scenario)
    assert all(endpoint.failures == 0 for endpoint in made.stats().endpoints), "walking away is no verdict"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_cancellation_loses_no_capacity_over_http2(library, tmp_path):
    """Streams that were walked away from do not stall the others, nor count against the endpoint."""
    face = Face(library, "asyncio")
    authority = Authority(tmp_path)
    rng = random.Random(2)

    async def scenario():
        options = {"verify": authority.client_context(), "http2": True}
        async with face.balanced(made, client={"base_url": "https://orders.test"}, **options) as client:

            async def work():
                for _ in range(50):
                    with anyio.move_on_after(rng.random() * 0.01):
                        await client.get(rng.choice(["/ok", "/slow?ms=3"]))

            assert await face.together(*[work] * 12) == [None] * 12
            results = await face.together(*[lambda: client.get("/slow?ms=5")] * 40)
            assert [getattr(result, "status_code", result) for result in results] == [200] * 40
            assert in_flight(made) == 0
            for pool in pools(client):
                assert pool._open == len(pool._shared) + len(pool._idle) <= 3, f"{pool}: a slot is lost"

    with h2_servers(2, tls=authority.issue("orders.test")) as some:
        made = Cluster("orders", [one.address for one in some])
        face.run(scenario)


@pytest.mark.parametrize("face", [Face("httpx", "asyncio"), Face("httpx2", "trio"), Face("httpx", "sync")], ids=str)
def test_a_response_that_is_dropped_unread_gives_its_slot_back(face):
    """The collector settles what the user forgot: connection, slot and lease (HT-6)."""
    limits = face.http.Limits(max_connections=1)

    async def scenario():
        async with face.balanced(made, limits=limits) as client:
            for _ in range(5):
                request = client.raw.build_request("GET", "/stream?chunks=2")
                response = await client.send(request, stream=True)
                assert in_flight(made) == 1
                del response
                gc.collect()
                with pytest.warns(ResourceWarning, match="dropped without release"):
                    assert (await client.get("/")).status_code == 200
            assert in_flight(made) == 0

    with replicas(1) as [one]:
        made = Cluster("orders", [one.address])
        face.run(scenario)
