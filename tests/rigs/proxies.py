"""Real nginx and HAProxy: as fast replicas, and as the proxies that a client-side balancer is measured against.

    with nginx_replicas(3) as backends, haproxy_proxy(backends.addresses) as proxy:
        ...                           # dial proxy.address; proxy.cpu_s() is what the proxy itself has used

Each runs from a temporary directory of its own, in the foreground, without root's paths and without an access log, and
is ended by pid. Both proxies keep connections to their upstreams alive; without that they would be easy to beat.
"""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.rigs.ports import free_port, is_listening
from tests.rigs.process import ServerProcess, cpu_s

BODY = b'{"status": "ok", "items": [1, 2, 3]}'
"""What every nginx replica answers, whatever the path."""


def have_nginx() -> bool:
    return _binary("nginx") is not None


def have_haproxy() -> bool:
    return _binary("haproxy") is not None


class ProxyProcess(ServerProcess):
    """A running nginx or HAProxy: `addresses` it serves, `pids` of all its processes, CPU time of them together."""

    def __init__(self, name: str, argv: Sequence[str], ports: Sequence[int], workers: int = 0) -> None:
        super().__init__(name)
        self.ports = list(ports)
        self.workers = workers
        self._argv = list(argv)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def pids(self) -> list[int]:
        """The main process first, then its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_s(self) -> float:
        """CPU seconds used so far by the main process and its workers."""
        return sum(cpu_s(pid) for pid in self.pids)

    def argv(self) -> Sequence[str]:
        return self._argv

    def is_ready(self) -> bool:
        # A master listens before it has forked its workers.
        return len(self.pids) == 1 + self.workers and all(is_listening("127.0.0.1", port) for port in self.ports)

    def kill(self) -> None:
        """End it and its workers: politely first, because a killed nginx master leaves its workers behind."""
        with contextlib.suppress(Exception):
            self.terminate(timeout=3)
        workers = self.pids[1:] if self.alive else []
        super().kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def nginx_replicas(count: int, *, workers: int = 1) -> Iterator[ProxyProcess]:
    """One nginx that plays so many replicas, each on a port of its own with a small fixed answer and keep-alive."""
    ports = [free_port() for _ in range(count)]
    listens = "\n".join(f"    listen 127.0.0.1:{port} backlog=1024;" for port in ports)
    answer = f"""
  server {{
{listens}
    default_type application/json;
    location / {{ return 200 '{BODY.decode()}'; }}
  }}"""
    with _nginx("nginx-replicas", answer, ports, workers) as process:
        yield process


@contextlib.contextmanager
def nginx_proxy(upstreams: Sequence[str], *, workers: int = 1, balance: str = "") -> Iterator[ProxyProcess]:
    """An nginx in front of ``host:port`` upstreams; `balance`: empty for round robin, or e.g. least_conn."""
    port = free_port()
    servers = "\n".join(f"    server {address};" for address in upstreams)
    proxy = f"""
  upstream replicas {{
    {balance + ";" if balance else ""}
{servers}
    keepalive 64;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }}
  }}"""
    with _nginx("nginx-proxy", proxy, [port], workers) as process:
        yield process


@contextlib.contextmanager
def haproxy_proxy(upstreams: Sequence[str], *, threads: int = 1, balance: str = "roundrobin") -> Iterator[ProxyProcess]:
    """HAProxy in front of ``host:port`` upstreams, with health checks every second; `balance` as in its manual."""
    port = free_port()
    servers = "\n".join(f"  server s{number} {address} check" for number, address in enumerate(upstreams))
    config = f"""
global
  maxconn 4000
  nbthread {threads}
defaults
  mode http
  balance {balance}
  http-reuse always
  retries 2
  option redispatch
  default-server inter 1s fall 2 rise 1 pool-max-conn 256
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 30s
listen replicas
  bind 127.0.0.1:{port} backlog 1024
{servers}
"""
    with _directory() as directory:
        (directory / "haproxy.cfg").write_text(config)
        argv = [_required("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")]
        with ProxyProcess("haproxy-proxy", argv, [port]) as process:
            yield process


@contextlib.contextmanager
def _nginx(name: str, servers: str, ports: Sequence[int], workers: int) -> Iterator[ProxyProcess]:
    # nginx would give its workers to nobody when root starts it, and nobody may not enter the temporary directory.
    user = f"user {pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name};" if os.getuid() == 0 else ""
    with _directory() as directory:
        temporary = "\n".join(
            f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = f"""
{user}
worker_processes {workers};
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  tcp_nodelay on;
{temporary}
{servers}
}}
"""
        (directory / "nginx.conf").write_text(config)
        argv = [_required("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]
        with ProxyProcess(name, argv, ports, workers) as process:
            yield process


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rig-") as directory:
        yield Path(directory)


def _binary(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _required(name: str) -> str:
    path = _binary(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed; ask have_{name}() first")
    return path
