"""A server process for the time of a test: start, kill, freeze, thaw, terminate, restart; always cleaned up by pid."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from tests.rigs.ports import eventually

READY_TIMEOUT = 20.0
"""Seconds a server may need to become ready; far more than it needs, because a shared machine can be very slow."""

RIGS = Path(__file__).resolve().parent


class ServerProcess:
    """Base of the handles: a subclass says how to start the process and when it is ready.

    Used as a context manager it starts on entry and is killed on exit, frozen or not; when the body failed, the
    server's stderr is printed so that it stands beside the test's own failure.
    """

    stdin: int = subprocess.DEVNULL
    stdout: int = subprocess.DEVNULL

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()

    def argv(self) -> Sequence[str]:
        """The command line."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether this very process (not another on its port) answers."""
        raise NotImplementedError

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        """All processes of this server; more than one only if it has workers."""
        return [self.pid]

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the process and wait until it is ready; with ``wait=False`` call `wait_ready` later."""
        if self.alive:
            raise RuntimeError(f"{self.name} already runs as {self.pid}")
        self._release_pipes()
        self._process = subprocess.Popen(
            self.argv(), stdin=self.stdin, stdout=self.stdout, stderr=self._stderr, bufsize=0
        )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            code = self.process.poll()
            if code is not None:
                raise RuntimeError(f"{self.name} ended with {code} before it was ready:\n{self.stderr_text()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} not ready after {timeout} s:\n{self.stderr_text()}")
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL: gone at once, its sockets with it; also ends a frozen process."""
        if self.alive:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: the kernel goes on accepting connections and bytes, nobody answers."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: all(process_state(pid) == "T" for pid in self.pids))

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was, and answers what piled up."""
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)

    def terminate(self, *, wait: bool = True, timeout: float = 10.0) -> None:
        """SIGTERM: lame duck, then exit; waits for the exit unless told otherwise.

        The wait blocks: inside an event loop whose clients are being served say ``wait=False``.
        """
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            if wait:
                self.process.wait(timeout)

    def wait_exit(self, timeout: float = 10.0) -> int:
        """Wait until it ended by itself; returns the exit code."""
        return self.process.wait(timeout)

    def restart(self) -> Self:
        """Kill it if it runs, and start it again at the same address."""
        self.kill()
        return self.start()

    def stderr_text(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def close(self) -> None:
        """Kill it and give everything back; the handle is of no more use."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                self.thaw()
        self.kill()
        self._release_pipes()
        self._stderr.close()

    def _release_pipes(self) -> None:
        for pipe in (self._process and self._process.stdin, self._process and self._process.stdout):
            if pipe:
                pipe.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and (text := self.stderr_text()):
            print(f"--- stderr of {self.name} ---\n{text}", file=sys.stderr)
        self.close()


AnyServer = TypeVar("AnyServer", bound=ServerProcess)


@contextlib.contextmanager
def all_started(servers: Sequence[AnyServer]) -> "Iterator[list[AnyServer]]":
    """Start several at the same time (as fast as one on an idle machine), and end all of them on exit."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.push(server.__exit__)
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        yield list(servers)


def process_state(pid: int) -> str:
    """The kernel's letter for the state of a process: R running, S sleeping, T stopped, Z ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def cpu_s(pid: int) -> float:
    """CPU seconds (user and system) a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def python_server(script: str, *options: str) -> list[str]:
    """The command line of one of our own servers, by its path: independent of the working directory.

    -P keeps the rigs' directory off ``sys.path``, where its file names could shadow a library.
    """
    return [sys.executable, "-P", str(RIGS / script), "--parent-pid", str(os.getpid()), *options]
