"""Leak check: what was open, running or scheduled before a test must be all there is after it.

    with leak_check():                # sync code: sockets and threads
        ...
    async with leak_check():          # inside asyncio also tasks; under trio sockets and threads
        ...

After the body it polls for a bounded time, because a closed connection's thread or task may need a moment, and then
fails with a list. Nothing is collected by force: what only the garbage collector would close has been leaked. Threads
that live as long as the process (and their sockets) must be started before the check begins, or be named in
`ignore_threads` by the beginning of their names.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import anyio


class LeakError(AssertionError):
    """Something outlived the body of a leak check; the message lists what."""


class leak_check:  # noqa: N801 - used like a function
    """Fail when the body leaves sockets, threads or asyncio tasks behind; works with ``with`` and ``async with``."""

    def __init__(self, *, settle_s: float = 2.0, ignore_threads: Sequence[str] = ()) -> None:
        self._settle_s = settle_s
        self._ignore_threads = tuple(ignore_threads)

    def leaks(self) -> list[str]:
        """What is there now and was not at the beginning, one line each."""
        sockets = [
            f"socket {describe_socket(fd, inode)}" for inode, fd in open_sockets().items() if inode not in self._sockets
        ]
        threads = [
            f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}"
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith(self._ignore_threads)
        ]
        tasks = [f"task {task!r}" for task in current_tasks() if task not in self._tasks]
        return sockets + threads + tasks

    def _begin(self) -> None:
        self._sockets = set(open_sockets())
        self._threads = set(threading.enumerate())
        self._tasks = current_tasks()

    def _verdict(self) -> None:
        if leaked := self.leaks():
            raise LeakError(f"{len(leaked)} leaked:\n  " + "\n  ".join(leaked))

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return  # the test's own failure says more
        deadline = time.monotonic() + self._settle_s
        while self.leaks() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._verdict()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        deadline = time.monotonic() + self._settle_s
        while self.leaks() and time.monotonic() < deadline:
            await anyio.sleep(0.01)
        self._verdict()


def current_tasks() -> "set[asyncio.Task[object]]":
    """The running loop's unfinished tasks without the current one; empty outside asyncio."""
    try:
        return asyncio.all_tasks() - {asyncio.current_task()}
    except RuntimeError:
        return set()


def open_sockets() -> dict[str, int]:
    """This process's open sockets: kernel inode (never reused while it is open) to file descriptor."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{entry}")
            if target.startswith("socket:["):
                found[target[8:-1]] = int(entry)
    return found


def describe_socket(fd: int, inode: str) -> str:
    """A socket in words: ``fd 7 127.0.0.1:4000 -> 127.0.0.1:80 CLOSE_WAIT``."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            if rest[5] == inode:
                return f"fd {fd} {_address(local)} -> {_address(remote)} {TCP_STATES.get(state, state)}"
    for line in Path("/proc/self/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[6] == inode:
            return f"fd {fd} unix {fields[7] if len(fields) > 7 else '(unnamed)'}"
    return f"fd {fd} (not connected)"


TCP_STATES = {"01": "ESTABLISHED", "02": "SYN_SENT", "04": "FIN_WAIT1", "05": "FIN_WAIT2", "08": "CLOSE_WAIT"} | {
    "07": "CLOSE",
    "0A": "LISTEN",
}


def _address(text: str) -> str:
    """Undo the kernel's notation: 32-bit words of the address in host order, then the port, all hexadecimal."""
    address, port = text.split(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    host = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return f"{f'[{host}]' if len(words) > 1 else host}:{int(port, 16)}"
