"""The replicas as processes: start them, do them harm, bring them back, and leave none behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from lbkit._demo.faults import SLOW_FACTOR, Kind

START_PATIENCE_S = 30.0
"""A new process needs a fifth of a second; a machine that is busy with other things, more."""


class ReplicaError(RuntimeError):
    """A replica did not start: the demo cannot be shown."""


class ReplicaProcess:
    """One replica: a process that can be replaced by another at the same port.

    Attributes:
        name: "r1", "r2", …
        address: `127.0.0.1:port`, once it has started.
    """

    def __init__(self, name: str, service_s: float) -> None:
        self.name = name
        self.address = ""
        self._service_s = service_s
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._placeholder: socket.socket | None = None

    async def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            ReplicaError: It ended, or took longer than `START_PATIENCE_S`.
        """
        self._release_port()
        command = [sys.executable, "-m", "lbkit._demo.replica", self.name]
        command += ["--port", str(self._port), "--service-ms", str(self._service_s * 1000)]
        # In a group of its own, so that the terminal's Ctrl-C reaches the demo alone. From this thread, the main one:
        # the replica is killed when the thread that started it ends.
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - takes milliseconds, and the arguments are ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0
        )
        self._process = process
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), START_PATIENCE_S)
        except TimeoutError:
            line = b""
        if not line:
            raise ReplicaError(f"replica {self.name} did not start; see above for its own message")
        self._port = int(line)
        self.address = f"127.0.0.1:{self._port}"

    async def harm(self, kind: Kind) -> None:
        """Do it that harm."""
        assert self._process is not None  # noqa: S101 - a replica is harmed after its start
        if kind is Kind.KILL:
            self._end()
            self._hold_port()
        elif kind is Kind.FREEZE:
            self._process.send_signal(signal.SIGSTOP)
        else:
            self._slow(SLOW_FACTOR)

    async def heal(self, kind: Kind) -> None:
        """Undo that harm; a killed replica is started again at its old address."""
        assert self._process is not None  # noqa: S101
        if kind is Kind.KILL:
            await self.start()
        elif kind is Kind.FREEZE:
            self._process.send_signal(signal.SIGCONT)
        else:
            self._slow(1.0)

    def close(self) -> None:
        """Kill the process, frozen or not, and give everything back."""
        self._end()
        self._release_port()

    def _slow(self, factor: float) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{factor}\n".encode())

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _hold_port(self) -> None:
        # Bound but not listening: connections are refused, and nobody else is given the port meanwhile.
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", self._port))
        except OSError:  # some other program was faster: the restart will wait for it
            holder.close()
        else:
            self._placeholder = holder

    def _release_port(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None


class Fleet:
    """All replicas. `async with` starts them together and ends them in any case."""

    def __init__(self, count: int, service_s: float) -> None:
        self.replicas = [ReplicaProcess(f"r{number}", service_s) for number in range(1, count + 1)]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(replica.start() for replica in self.replicas))
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every replica."""
        for replica in self.replicas:
            replica.close()
