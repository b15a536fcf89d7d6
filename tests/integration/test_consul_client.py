"""The agent client on real sockets: limits that hold, nothing left open, nothing followed, and no token in any text."""

import asyncio
import contextlib
import logging
import ssl
import time
import traceback

import anyio
import pytest
import trustme

from lbkit import __version__
from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.discovery.keeper import SourceState
from lbkit.errors import DiscoveryError
from lbkit.runtime import consul_client
from lbkit.runtime.consul_client import AgentClient
from tests.rigs.consul import following
from tests.rigs.leaks import leak_check
from tests.rigs.ports import free_port

TOKEN = "7a0b6b2e-tell-nobody"
OK = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\n[]"


class Agent:
    """Something on a port that answers as a test says.

    Attributes:
        heads: The requests' heads, in order.
        connections: How many were accepted.
    """

    def __init__(self, answer=OK, *, context=None):
        self.answer = answer
        self.heads = []
        self.connections = 0
        self.port = free_port()
        self._context = context
        self._tasks = set()

    @property
    def url(self):
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if callable(self.answer):
                    await self.answer(writer)
                else:
                    writer.write(self.answer)
        writer.transport.abort()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def request(agent, *, timeout=10.0, token=TOKEN, **options):
    agents = agent if isinstance(agent, list) else [agent]
    access = Access.of("test", agent=agents, token=token, environment={}, **options)
    return AgentRequest(access, "/v1/health/service/a%2Fb%20c", (("filter", 'a == "b&c"'),), timeout=timeout)


@contextlib.asynccontextmanager
async def a_client():
    client = AgentClient()
    try:
        yield client
    finally:
        await client.aclose()


async def _trickle(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _hang(writer):
    await asyncio.sleep(60)


async def _flood(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


async def _close(writer):
    writer.transport.abort()


async def _half(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    writer.close()


def test_requests_carry_what_they_should_over_one_connection():
    """The token in its header, our name, the path and parameters as they were quoted; no cookies, no compression."""

    async def main():
        async with leak_check():
            async with Agent() as agent, a_client() as client:
                for _ in range(3):
                    assert (await client.ask(request(agent.url))).json() == []
                assert agent.connections == 1
                lines = agent.heads[2].lower().splitlines()
                assert agent.heads[2].startswith(
                    "GET /v1/health/service/a%2Fb%20c?filter=a%20%3D%3D%20%22b%26c%22 "
                ) or agent.heads[2].startswith("GET /v1/health/service/a%2Fb%20c?filter=a+%3D%3D+%22b%26c%22 ")
                assert f"x-consul-token: {TOKEN}" in lines and f"user-agent: lbkit/{__version__}" in lines
                assert not any(one.startswith(("cookie", "accept-encoding", "authorization")) for one in lines)
                await client.ask(request(agent.url, token=""))
                assert "x-consul-token" not in agent.heads[3].lower()

    anyio.run(main)


def test_nothing_is_followed_stored_or_taken_from_the_environment(monkeypatch):
    """No redirects, which would carry the token elsewhere; no cookies, no proxies."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")

    async def main():
        async with Agent() as other, Agent() as agent, a_client() as client:
            agent.answer = (
                f"HTTP/1.1 307 Moved\r\nLocation: {other.url}/\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".encode()
            )
            assert (await client.ask(request(agent.url))).status == 307
            await client.ask(request(agent.url))
            assert not other.heads and "cookie" not in agent.heads[1].lower()

    anyio.run(main)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_trickle, "no answer in 0.3 s"),
        (_hang, "no answer in 0.3 s"),
        (_flood, "longer than 0 MiB"),
        (_close, "connection broke"),
        (_half, "connection broke"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "connection broke"),
    ],
)
def test_a_bad_agent_is_an_error_in_words_and_leaves_nothing_open(answer, says, monkeypatch, caplog):
    """In time, whatever it does, with nothing of the token in the text, the trace or the logs; the next request works."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(consul_client, "MAX_BYTES", 100_000)

    async def main():
        async with leak_check():
            async with Agent(answer) as agent, a_client() as client:
                began = time.monotonic()
                with pytest.raises(DiscoveryError, match=says) as caught:
                    await client.ask(request(agent.url, timeout=0.3))
                assert time.monotonic() - began < 5.0
                shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                assert shown.startswith("Traceback") and TOKEN not in shown
                assert str(caught.value).startswith(f"{agent.url}: ")
                agent.answer = OK
                assert (await client.ask(request(agent.url))).status == 200

    anyio.run(main)
    assert TOKEN not in caplog.text
    assert not [one for one in caplog.records if one.levelno >= logging.INFO]


def test_a_token_that_an_agent_repeats_is_blotted_out():
    """Some errors quote the request."""

    async def main():
        said = f"no such token: {TOKEN}".encode()
        async with Agent(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)) as agent:
            async with a_client() as client:
                reply = await client.ask(request(agent.url))
        assert reply.body == b"no such token: ***"

    anyio.run(main)


def test_a_cancelled_request_leaves_nothing_open():
    """In the middle of an answer too."""

    async def main():
        async with leak_check():
            async with a_client() as client:
                for answer in (_hang, _trickle):
                    async with Agent(answer) as agent:
                        with anyio.move_on_after(0.2) as scope:
                            await client.ask(request(agent.url))
                        assert scope.cancelled_caught

    anyio.run(main)


def test_another_agent_takes_the_connections_place():
    """There is never more than one connection."""

    async def main():
        async with Agent() as one, Agent() as other, a_client() as client:
            await client.ask(request(one.url))
            await client.ask(request(other.url))
            await client.ask(request(one.url))
            assert (one.connections, other.connections) == (2, 1)

    anyio.run(main)


def test_a_closed_port_is_told_as_such():
    """In the words of the operating system."""

    async def main():
        async with a_client() as client:
            with pytest.raises(DiscoveryError, match="no connection: Connection refused"):
                await client.ask(request(f"http://127.0.0.1:{free_port()}"))
            with pytest.raises(DiscoveryError, match="no connection: No such file"):
                await client.ask(request("unix:/no/such/socket"))

    anyio.run(main)


def test_a_token_file_is_read_again_when_it_changes(tmp_path):
    """Tokens are rotated while we run; a file that cannot be read is named."""
    file = tmp_path / "token"

    async def main():
        async with Agent() as agent, a_client() as client:
            asked = request(agent.url, token=None, token_file=file)
            for token in ("first", "the-second"):
                file.write_text(f"{token}\n")
                await client.ask(asked)
                assert f"x-consul-token: {token}" in agent.heads[-1].lower()
            file.write_text("a\nb")
            with pytest.raises(DiscoveryError, match="holds no token") as caught:
                await client.ask(asked)
            assert "a\nb" not in str(caught.value)
            file.unlink()
            with pytest.raises(DiscoveryError, match="token: No such file"):
                await client.ask(asked)

    anyio.run(main)


def test_certificates_are_verified_unless_told_otherwise(tmp_path):
    """Strangers and wrong names are refused before a token is sent; our own certificate is shown when asked for."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine = authority.issue_cert("client.internal")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "mine.pem")

    def context(ca, name):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(made)
        return made

    trusted = {"ca": tmp_path / "ca.pem"}
    demanding = context(authority, "127.0.0.1")
    demanding.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(demanding)
    cases = [
        (context(authority, "127.0.0.1"), trusted, True),
        (context(authority, "consul.internal"), trusted, "CERTIFICATE_VERIFY_FAILED"),
        (context(authority, "consul.internal"), trusted | {"tls_server_name": "consul.internal"}, True),
        (context(stranger, "127.0.0.1"), trusted, "CERTIFICATE_VERIFY_FAILED"),
        (context(stranger, "127.0.0.1"), {}, "CERTIFICATE_VERIFY_FAILED"),
        (context(stranger, "127.0.0.1"), {"verify": False}, True),
        (demanding, trusted | {"cert": tmp_path / "mine.pem"}, True),
        (demanding, trusted, "connection broke"),
        (context(authority, "127.0.0.1"), {"ca": tmp_path / "missing.pem"}, "ca .*missing.pem: No such file"),
        (demanding, trusted | {"cert": tmp_path / "ca.pem"}, "cert .*ca.pem: "),
    ]

    async def main():
        for served, options, good in cases:
            async with Agent(context=served) as agent, a_client() as client:
                asked = request(agent.url, **options)
                if good is True:
                    assert (await client.ask(asked)).status == 200
                else:
                    with pytest.raises(DiscoveryError, match=good):
                        await client.ask(asked)
                    assert not agent.heads

    anyio.run(main)


def test_a_failing_agent_is_asked_at_most_twice_a_second():
    """Counted where the requests arrive, from the first failure on."""
    refusal = b"HTTP/1.1 500 Sorry\r\nContent-Length: 17\r\n\r\nNo cluster leader"

    async def main():
        async with Agent(refusal) as agent, following(Consul("web", agent=agent.url, token="")) as follower:
            await anyio.sleep(4.0)
            assert follower.keeper.report.state is SourceState.FAILED
            assert 2 <= len(agent.heads) <= 1 + 2 * 4

    anyio.run(main)
