"""Handles for real replicas: HTTP/1.1 servers in processes of their own, to be killed, frozen and controlled by a test.

    with replicas(3, ledger=Ledger(tmp_path / "orders")) as (a, b, c):
        a.kill()                      # then b.freeze(), c.control(status=503, retry_after=1), a.restart() ...

What a replica answers is told in `replica_process.py`.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tests.rigs.ledger import Ledger
from tests.rigs.ports import free_port
from tests.rigs.process import ServerProcess, all_started, python_server

if TYPE_CHECKING:
    from tests.rigs.certs import CertFiles

__all__ = ["Ledger", "Replica", "replicas"]


class Replica(ServerProcess):
    """One replica process; a context manager. A unix socket has its path as `address`, TCP has ``host:port``."""

    def __init__(
        self,
        name: str = "r0",
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        unix: str | os.PathLike[str] | None = None,
        tls: "CertFiles | None" = None,
        ledger: Ledger | None = None,
        delay_ms: float = 0,
        linger_ms: float = 100,
    ) -> None:
        super().__init__(name)
        self.host = host
        self.port = 0 if unix else (port or free_port(host))
        self.unix = os.path.abspath(unix) if unix else None
        self.tls = tls
        self.ledger = ledger
        self.delay_ms = delay_ms
        self.linger_ms = linger_ms

    @property
    def address(self) -> str:
        if self.unix:
            return self.unix
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Base URL for a client that dials it directly (TCP only)."""
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def argv(self) -> Sequence[str]:
        options = ["--name", self.name, "--delay-ms", str(self.delay_ms), "--linger-ms", str(self.linger_ms)]
        options += ["--unix", self.unix] if self.unix else ["--host", self.host, "--port", str(self.port)]
        if self.tls:
            options += ["--tls", str(self.tls.cert), str(self.tls.key)]
        if self.ledger:
            options += ["--ledger", str(self.ledger.path)]
        return python_server("replica_process.py", *options)

    def is_ready(self) -> bool:
        try:
            return self.stats()["pid"] == self.pid
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def control(self, timeout: float = 5.0, **changes: object) -> dict[str, object]:
        """Change its behaviour: `delay_ms`, `status` (0: normal), `retry_after` (s), `lame_duck`; returns its state.

        Goes by a connection of its own, which is not counted. Fails with TimeoutError while the replica is frozen.
        """
        connection = http.client.HTTPConnection(self.host)
        connection.sock = self._dial(timeout)
        with contextlib.closing(connection):
            connection.request("POST", "/_control", json.dumps(changes), {"Connection": "close"})
            return json.loads(connection.getresponse().read())

    def stats(self) -> dict[str, object]:
        """name, pid, requests, connections (that carried a request), in_flight, and what `control` can set."""
        return self.control()

    def _dial(self, timeout: float) -> socket.socket:
        if self.unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            try:
                sock.connect(self.unix)
            except OSError:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((self.host, self.port), timeout)
        if not self.tls:
            return sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the certificate may be a wrong one on purpose
        context.verify_mode = ssl.CERT_NONE
        try:
            return context.wrap_socket(sock)
        except OSError:
            sock.close()
            raise


@contextlib.contextmanager
def replicas(count: int, **options: object) -> Iterator[list[Replica]]:
    """So many replicas named r0, r1, ..., started at the same time; options as for `Replica`."""
    with all_started([Replica(f"r{number}", **options) for number in range(count)]) as started:
        yield started
