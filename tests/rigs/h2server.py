"""Handles for HTTP/2 servers over TLS, each in a process of its own: killed, frozen and controlled like a replica.

    authority = Authority(tmp_path)
    with H2Server(tls=authority.issue("orders.test"), ledger=ledger) as server:
        server.control(mode="refused_stream")

What the modes do is told in `h2server_process.py`. With control messages on a pipe, a test needs no HTTP/2 client of
its own to talk to it.
"""

import contextlib
import json
import select
import subprocess
import time
from collections.abc import Iterator, Sequence

from tests.rigs.certs import CertFiles
from tests.rigs.ledger import Ledger
from tests.rigs.ports import free_port, is_listening
from tests.rigs.process import ServerProcess, all_started, python_server


class H2Server(ServerProcess):
    """One HTTP/2 server process; a context manager. Its address is ``host:port``, its names are the certificate's."""

    stdin = subprocess.PIPE
    stdout = subprocess.PIPE

    def __init__(
        self,
        name: str = "h0",
        *,
        tls: CertFiles,
        host: str = "127.0.0.1",
        port: int | None = None,
        mode: str = "ok",
        ledger: Ledger | None = None,
        delay_ms: float = 0,
    ) -> None:
        super().__init__(name)
        self.tls = tls
        self.host = host
        self.port = port or free_port(host)
        self.first_mode = mode
        self.ledger = ledger
        self.delay_ms = delay_ms
        self._number = 0
        self._unread = b""

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def argv(self) -> Sequence[str]:
        options = ["--name", self.name, "--host", self.host, "--port", str(self.port), "--mode", self.first_mode]
        options += ["--tls", str(self.tls.cert), str(self.tls.key), "--delay-ms", str(self.delay_ms)]
        if self.ledger:
            options += ["--ledger", str(self.ledger.path)]
        return python_server("h2server_process.py", *options)

    def is_ready(self) -> bool:
        return is_listening(self.host, self.port)

    def control(self, timeout: float = 5.0, **changes: object) -> dict[str, object]:
        """Change `mode` or `delay_ms`; returns its state. Fails with TimeoutError while it is frozen."""
        self._number += 1
        self.process.stdin.write(json.dumps(changes | {"number": self._number}).encode() + b"\n")
        deadline = time.monotonic() + timeout
        while (reply := json.loads(self._line(deadline)))["number"] != self._number:
            pass  # the late reply to a message that timed out
        return reply

    def stats(self) -> dict[str, object]:
        """name, pid, mode, delay_ms, connections (that carried a request), in_flight, and every request seen.

        A request is [stream id, method, path, order id].
        """
        return self.control()

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._unread:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError(f"{self.name} does not answer on its control pipe")
            data = self.process.stdout.read(65536)
            if not data:
                raise ConnectionError(f"{self.name} has ended:\n{self.stderr_text()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def start(self, *, wait: bool = True) -> "H2Server":
        self._unread = b""
        return super().start(wait=wait)


@contextlib.contextmanager
def h2_servers(count: int, **options: object) -> Iterator[list[H2Server]]:
    """So many servers named h0, h1, ..., started at the same time; options as for `H2Server`."""
    with all_started([H2Server(f"h{number}", **options) for number in range(count)]) as started:
        yield started
