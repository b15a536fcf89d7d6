"""The agent client's parts that need no socket."""

import os
import threading
from pathlib import Path

import anyio
import httpx
import pytest

from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.errors import DiscoveryError
from lbkit.runtime import consul_client
from lbkit.runtime.clients import make_client
from lbkit.runtime.consul_client import AgentClient, TokenFile
from lbkit.runtime.small_file import read_file


def test_a_request_to_an_agent_finds_its_client() -> None:
    """The engine asks for one by the query alone."""
    assert isinstance(make_client(AgentRequest(Access(("http://a:8500",)), "/v1/agent/self")), AgentClient)


def test_a_token_file_is_read_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its inode, size or time of change: a replaced file of the same size counts too."""
    reads = []
    monkeypatch.setattr(consul_client, "read_file", lambda *asked: (reads.append(asked), read_file(*asked))[1])
    file, other, tokens = tmp_path / "token", tmp_path / "new", TokenFile()
    file.write_text(" first \n")
    assert [tokens.read(str(file)) for _ in range(3)] == ["first"] * 3 and len(reads) == 1
    other.write_text(" other \n")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert tokens.read(str(file)) == "other" and len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"  \n", b"a b", b"\xff\xfe", b"a\x00"])
def test_a_file_without_a_usable_token_is_an_error_that_does_not_repeat_it(tmp_path: Path, content: bytes) -> None:
    """A token half written is none; the file is named, its content is not."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(DiscoveryError) as caught:
        TokenFile().read(str(file))
    assert str(caught.value) == f"token file {file}: holds no token"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_token_file_that_is_a_pipe_or_a_device_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe would wait for its writer for ever, and /dev/zero fill the memory."""
    pipe = tmp_path / "token"
    os.mkfifo(pipe)
    for path in (str(pipe), "/dev/zero"):
        with pytest.raises(DiscoveryError, match="is not a file"):
            TokenFile().read(path)


def test_a_token_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    """A gigabyte of anything is no token."""
    file = tmp_path / "token"
    with file.open("wb") as sparse:
        sparse.truncate(2**30)
    with pytest.raises(DiscoveryError, match="holds no token"):
        TokenFile().read(str(file))


def test_a_token_file_that_hangs_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may hang for ever, and the agent is asked again and again."""
    release, calls = threading.Event(), []

    def hang(tokens: TokenFile, path: str) -> str:
        calls.append(path)
        release.wait(30.0)
        return ""

    monkeypatch.setattr(TokenFile, "read", hang)
    query = AgentRequest(Access(("http://127.0.0.1:1",), token_file="/net/token"), "/v1/agent/self", timeout=0.05)

    async def main() -> list[str]:
        client, said = AgentClient(), []
        for _ in range(3):
            with pytest.raises(DiscoveryError) as caught:
                await client.ask(query)
            said.append(str(caught.value))
        release.set()
        return said

    said = anyio.run(main)
    assert said == ["http://127.0.0.1:1: no answer in 0.05 s"] + ["no answer: the last call still hangs"] * 2
    assert len(calls) == 1


def test_what_a_server_sent_is_not_repeated_where_it_is_no_http() -> None:
    """It may be our own request that comes back, with the token in it."""
    error = httpx.RemoteProtocolError("illegal header line: bytearray(b'X-Consul-Token: hunter2')")
    assert consul_client._reason(error) == "illegal header line"
