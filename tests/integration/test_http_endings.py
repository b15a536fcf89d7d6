"""How transports end: with the interpreter, with their loops, with responses that were dropped."""

import gc
import subprocess
import sys
import textwrap
import warnings

import pytest

from lbkit import Cluster
from tests.rigs.certs import Authority
from tests.rigs.h2server import h2_servers
from tests.rigs.leaks import leak_check
from tests.rigs.ports import eventually
from tests.rigs.replica import replicas
from tests.twins.faces import Face, in_flight

SYNC = [Face("httpx", "sync"), Face("httpx2", "sync")]


ASYNC = [Face(library, kind) for library in ("httpx", "httpx2") for kind in ("asyncio", "trio")]


@pytest.fixture(scope="module")
def pair():
    with replicas(2) as both:
        yield both


def cluster(servers, **options):
    return Cluster("orders", [server.address for server in servers], **options)


PROGRAMS = {
    "sync client in a global": """
        client = httpx.Client(transport=BalancedTransport(cluster), base_url="http://orders", trust_env=False)
        for _ in range(4):
            client.get("/").raise_for_status()
    """,
    "sync client with an open response": """
        client = httpx.Client(transport=BalancedTransport(cluster), base_url="http://orders", trust_env=False)
        client.get("/")
        response = client.send(client.build_request("GET", "/"), stream=True)
        response.read()
    """,
    "async client in a global": """
        client = httpx.AsyncClient(transport=AsyncBalancedTransport(cluster), base_url="http://orders", trust_env=False)

        async def main():
            for _ in range(4):
                (await client.get("/")).raise_for_status()

        asyncio.run(main())
        asyncio.run(main())
    """,
    "async client under trio": """
        client = httpx.AsyncClient(transport=AsyncBalancedTransport(cluster), base_url="http://orders", trust_env=False)

        async def main():
            for _ in range(4):
                (await client.get("/")).raise_for_status()

        trio.run(main)
        trio.run(main)
    """,
    "threads that are under way": """
        client = httpx.Client(transport=BalancedTransport(cluster), base_url="http://orders", trust_env=False)
        def work():
            for _ in range(1000):
                client.get("/?ms=1")
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        client.get("/")
    """,
}


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda name: name.replace(" ", "_"))
def test_the_interpreter_ends_cleanly_with_an_open_client(library, program, pair):
    """RL-4: no hang, no warning (all of them are errors), nothing on stderr, whatever was left open."""
    start = f"""
        import asyncio, threading, trio, {library} as httpx
        from lbkit import Cluster
        from lbkit.{library} import AsyncBalancedTransport, BalancedTransport
        cluster = Cluster("orders", {[one.address for one in pair]!r})
    """
    text = textwrap.dedent(start) + textwrap.dedent(PROGRAMS[program])
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# responses that are dropped


@pytest.mark.parametrize("face", ASYNC + SYNC, ids=str)
def test_a_dropped_response_frees_its_slot_for_one_who_already_waits(face, pair):
    """HT-6: the waiter need not wait for another request to come by."""
    made = cluster(pair[:1])

    async def use():
        async with face.balanced(made, limits=face.http.Limits(max_connections=1)) as client:
            held = [await client.send(client.raw.build_request("GET", "/stream?chunks=2"), stream=True)]

            async def drop():
                await face.sleep(0.1)
                held.clear()
                gc.collect()

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                answer, _ = await face.together(lambda: client.get(timeout=3.0), drop)
                assert getattr(answer, "status_code", answer) == 200
                assert in_flight(made) == 0

    with leak_check():
        face.run(use)


def test_trio_http2_and_asyncio_http2_end_with_their_loops(tmp_path):
    """RL-5 over HTTP/2: shared connections too belong to one loop and end with it."""
    authority = Authority(tmp_path)
    with h2_servers(2, tls=authority.issue("orders")) as servers:
        for library in ("httpx", "httpx2"):
            for face in (Face(library, "asyncio"), Face(library, "trio")):
                made = cluster(servers)
                transport = face.transport(made, http2=True, verify=authority.client_context())

                async def use(face=face, transport=transport):
                    client = face.client(transport, base_url="https://orders")
                    results = await face.together(*[client.get] * 6)
                    assert [result.http_version for result in results] == ["HTTP/2"] * 6

                with leak_check():
                    face.run(use)
                    face.run(use)
                    gc.collect()
                assert (in_flight(made), made.stats().failures) == (0, 0)


def test_the_loop_ends_while_a_response_is_open():
    """RL-4: its connection is closed with the loop too, once the response is collected."""

    async def use():
        client = face.balanced(made)
        request = client.raw.build_request("GET", "/sse?n=1000&interval_ms=50")
        return await client.send(request, stream=True)

    with replicas(1) as one:
        for face in (Face("httpx", "asyncio"), Face("httpx2", "trio")):
            made = cluster(one)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                response = face.run(use)
                del response
                gc.collect()
                eventually(lambda: one[0].stats()["in_flight"] == 0)
                assert in_flight(made) == 0
