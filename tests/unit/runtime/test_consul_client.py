"""The agent client's parts that need no socket."""

import os
from pathlib import Path

import pytest

from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.errors import DiscoveryError
from lbkit.runtime.clients import make_client
from lbkit.runtime.consul_client import AgentClient, TokenFile


def test_a_request_to_an_agent_finds_its_client() -> None:
    """The engine asks for one by the query alone."""
    assert isinstance(make_client(AgentRequest(Access(("http://a:8500",)), "/v1/agent/self")), AgentClient)


def test_a_token_file_is_read_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its inode, size or time of change: a replaced file of the same size counts too."""
    reads = []
    monkeypatch.setattr(Path, "read_bytes", lambda path, read=Path.read_bytes: (reads.append(path), read(path))[1])
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
