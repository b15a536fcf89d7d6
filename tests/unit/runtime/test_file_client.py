"""Reading files: what is noticed, what is read only once, and what is said of files that cannot be read."""

import os
import threading

import anyio
import pytest

from lbkit.discovery.file.file import ReadFile
from lbkit.errors import DiscoveryError
from lbkit.runtime import file_client
from lbkit.runtime.clients import make_client


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "orders.json"
    write(path, "one")
    return path


def write(path, text, mtime_s=1_000_000):
    path.write_text(f'["{text}:80"]')
    os.utime(path, (mtime_s, mtime_s))


def listed(reply):
    return None if reply.endpoints is None else [one.host for one in reply.endpoints]


def ask(path, known=None, client=None):
    return anyio.run((client or make_client(ReadFile("", "json", None))).ask, ReadFile(str(path), "json", known))


def test_a_file_is_read_when_nothing_is_known_of_it(path):
    """The reply has what it lists and a stamp."""
    reply = ask(path)
    assert listed(reply) == ["one"]
    assert reply.stamp is not None


def test_an_unchanged_file_is_not_read(path, monkeypatch):
    """A look is enough."""
    known = ask(path).stamp
    monkeypatch.setattr(file_client, "open", None, raising=False)
    reply = ask(path, known)
    assert (reply.endpoints, reply.stamp) == (None, known)


def rewritten(path):
    write(path, "two", 1_000_001)


def longer(path):
    write(path, "three")


def renamed_over(path):
    other = path.with_suffix(".tmp")
    write(other, "two")  # the same size and time: only the inode tells
    other.rename(path)


@pytest.mark.parametrize("change", [rewritten, longer, renamed_over])
def test_a_change_is_noticed(path, change):
    """In place or by a rename; by time, size or inode."""
    known = ask(path).stamp
    change(path)
    reply = ask(path, known)
    assert listed(reply) in (["two"], ["three"])
    assert reply.stamp != known


def test_a_swapped_symlink_is_noticed(tmp_path):
    """As Kubernetes swaps the directory of a ConfigMap."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "orders.json", version)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "orders.json").symlink_to("..data/orders.json")
    first = ask(tmp_path / "orders.json")
    (tmp_path / "..tmp").symlink_to("v2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert listed(first) == ["v1"]
    assert listed(ask(tmp_path / "orders.json", first.stamp)) == ["v2"]


def test_a_fresh_file_has_no_stamp(path, monkeypatch):
    """Two changes in one tick of the file system's clock look the same, so a fresh file is read again."""
    monkeypatch.setattr(file_client.time, "time_ns", lambda: 1_000_001 * 10**9)
    assert ask(path).stamp is None
    monkeypatch.setattr(file_client.time, "time_ns", lambda: 1_000_003 * 10**9)
    assert ask(path).stamp is not None


def test_a_file_from_the_future_has_a_stamp(path, monkeypatch):
    """A wrong clock does not make it read for ever."""
    monkeypatch.setattr(file_client.time, "time_ns", lambda: 900_000 * 10**9)
    assert ask(path).stamp is not None


@pytest.mark.parametrize("content", [b"", b'["b:80"', b'["b:80", "b"]', b'{"endpoint": []}', b'["\xff:80"]'])
def test_a_broken_file_is_named_with_the_line(path, content):
    """Half written, mistyped or not text: a failure, never a shorter list."""
    path.write_bytes(content)
    with pytest.raises(DiscoveryError, match=r"/orders\.json: line 1"):
        ask(path)


def test_a_missing_file_is_named(tmp_path):
    """With the words of the system."""
    with pytest.raises(DiscoveryError, match=r"orders\.json: No such file or directory"):
        ask(tmp_path / "orders.json")


def test_a_file_that_went_away_is_named(path):
    """A failure and not an empty list: the last good set stays."""
    known = ask(path).stamp
    path.unlink()
    with pytest.raises(DiscoveryError, match="No such file"):
        ask(path, known)


def test_what_is_no_file_is_refused(tmp_path):
    """A directory; and a pipe does not make it wait for a writer."""
    with pytest.raises(DiscoveryError, match=r"Is a directory|is not a file"):
        ask(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DiscoveryError, match=r"pipe\.json: is not a file"):
        ask(tmp_path / "pipe.json")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(path):
    """With the words of the system."""
    path.chmod(0)
    with pytest.raises(DiscoveryError, match="Permission denied"):
        ask(path)


def test_a_loop_of_symlinks_is_an_error_like_others(tmp_path):
    """Nothing hangs."""
    (tmp_path / "a.json").symlink_to("b.json")
    (tmp_path / "b.json").symlink_to("a.json")
    with pytest.raises(DiscoveryError, match=r"a\.json: "):
        ask(tmp_path / "a.json")


def test_a_huge_file_is_refused(path, monkeypatch):
    """It is no list of endpoints, and would fill the memory."""
    monkeypatch.setattr(file_client, "LIMIT_BYTES", 2)
    with pytest.raises(DiscoveryError, match="is larger than"):
        ask(path)


def test_a_file_system_that_hangs_holds_one_thread(path, monkeypatch):
    """The query ends in time; the next ones say that the last still hangs, and start no thread beside it."""
    release, calls = threading.Event(), []

    def hang(query):
        calls.append(query)
        release.wait(30)

    monkeypatch.setattr(file_client, "_read", hang)
    monkeypatch.setattr(file_client, "TIMEOUT_S", 0.01)
    client = file_client.FileClient()

    async def main():
        try:
            with pytest.raises(DiscoveryError, match="the file system did not answer in 0.01 s"):
                await client.ask(ReadFile(str(path), "json", None))
            for _ in range(3):
                with pytest.raises(DiscoveryError, match="the last call still hangs"):
                    await client.ask(ReadFile(str(path), "json", None))
        finally:
            release.set()

    anyio.run(main)
    assert len(calls) == 1


def test_many_files_are_read_by_few_threads(tmp_path, monkeypatch):
    """Hundreds of clusters need no hundreds of threads."""
    threads = set()
    read = file_client._read

    def watched(query):
        threads.add(threading.current_thread())
        return read(query)

    monkeypatch.setattr(file_client, "_read", watched)
    write(tmp_path / "orders.json", "one")

    async def main():
        query = ReadFile(str(tmp_path / "orders.json"), "json", None)
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(file_client.FileClient().ask, query)

    anyio.run(main)
    assert 1 <= len(threads) <= 4
