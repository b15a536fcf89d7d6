"""A real Consul 1.8.7: one dev agent, or a cluster of three servers; services in it, and faults.

    with Consul() as consul:
        consul.register("web-1", 8001)
        consul.check("web-1", "fail")       # or pass, warn
        consul.freeze()                     # then thaw(), kill(), restart(): a dev agent has lost its state then

All listeners are on loopback. `get_consul.sh` fetches the program once; where that fails the test fails if all servers
are required (LBKIT_REQUIRE), and skips elsewhere.
"""

import contextlib
import functools
import http.client
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from lbkit.discovery.keeper import Keeper
from lbkit.runtime.consul_client import AgentClient
from tests.rigs.certs import CertFiles
from tests.rigs.ports import eventually, free_port
from tests.rigs.process import RIGS, ServerProcess, all_started

PASSWORDS = {"root": "10000000-2222-3333-4444-555555555555", "agent": "20000000-2222-3333-4444-555555555555"}
"""Tokens of a Consul with ACLs; "root" may do everything."""


@functools.cache
def _fetch() -> tuple[str, str]:
    done = subprocess.run([RIGS / "get_consul.sh"], capture_output=True, text=True, check=False, timeout=300)
    return done.stdout.strip() if done.returncode == 0 else "", done.stderr


def consul_binary() -> str:
    """The path of the program."""
    path, error = _fetch()
    if not path:
        (pytest.fail if os.environ.get("LBKIT_REQUIRE") else pytest.skip)(f"Consul could not be fetched: {error}")
    return path


class Consul(ServerProcess):
    """One agent; a context manager.

    Args:
        name: Of its node.
        acl: Whether nothing is allowed without a token; see `PASSWORDS`.
        unix: Path of a socket on which it answers too.
        tls: Certificate with which it also answers https, on `https_port`.
        options: Further settings of its configuration file; all are in `config`, read at each start.
        data: Directory where it keeps its state; without one it is a dev agent, which forgets.
    """

    def __init__(
        self,
        name: str = "n1",
        *,
        acl: bool = False,
        unix: str | None = None,
        tls: CertFiles | None = None,
        options: Mapping[str, Any] | None = None,
        data: Path | None = None,
    ) -> None:
        super().__init__(f"consul {name}")
        self.port, self.dns_port, self.serf_port, server_port, self.https_port = (free_port() for _ in range(5))
        self.data = data
        self.token = PASSWORDS["root"] if acl else ""
        self._home = tempfile.TemporaryDirectory(prefix="consul-")
        self.config: dict[str, Any] = {
            "node_name": name,
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": True,
            "disable_host_node_id": True,
            "leave_on_terminate": False,
            "log_level": "warn",
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 1000},
            "ports": {
                "http": self.port,
                "dns": self.dns_port,
                "serf_lan": self.serf_port,
                "serf_wan": -1,
                "server": server_port,
                "grpc": -1,
                "https": self.https_port if tls else -1,
            },
            **(options or {}),
        }
        if unix:
            self.config["addresses"] = {"http": f"127.0.0.1 unix://{unix}"}
        if tls:
            self.config |= {"cert_file": str(tls.cert), "key_file": str(tls.key)}
        if acl:
            tokens = {"master": PASSWORDS["root"], "agent": PASSWORDS["agent"], "default": ""}
            self.config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> Sequence[str]:
        file = Path(self._home.name) / "consul.json"
        file.write_text(json.dumps(self.config))
        kind = ["-dev"] if self.data is None else ["-server", f"-data-dir={self.data}"]
        return [consul_binary(), "agent", *kind, f"-config-file={file}"]

    def is_ready(self) -> bool:
        """Whether there is a leader that knows a node; dev agents know themselves a moment after they lead."""
        try:
            return bool(self.request("GET", "/v1/status/leader")) and bool(self.request("GET", "/v1/catalog/nodes"))
        except (OSError, http.client.HTTPException, RuntimeError):
            return False

    def request(self, method: str, path: str, body: object = None, timeout: float = 15.0) -> Any:
        """Ask the agent; RuntimeError where it refuses."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"X-Consul-Token": self.token} if self.token else {})
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {text}")
        return json.loads(text) if text.strip() else None

    def register(
        self,
        instance: str,
        port: int,
        *,
        service: str = "web",
        address: str = "127.0.0.1",
        status: str = "passing",
        **more: Any,
    ) -> None:
        """Register an instance with a TTL check; `more` are settings of Consul's, such as Tags, Meta and Weights."""
        check = {"CheckID": f"check-{instance}", "TTL": "1h", "Status": status}
        body = {"Name": service, "ID": instance, "Address": address, "Port": port, "Check": check, **more}
        self.request("PUT", "/v1/agent/service/register", body)

    def deregister(self, instance: str) -> None:
        self.request("PUT", f"/v1/agent/service/deregister/{quote(instance)}")

    def check(self, instance: str, verdict: str) -> None:
        """Let the check of an instance "pass", "warn" or "fail"."""
        self.request("PUT", f"/v1/agent/check/{verdict}/check-{quote(instance)}")

    def maintenance(self, instance: str, *, enable: bool = True) -> None:
        self.request("PUT", f"/v1/agent/service/maintenance/{quote(instance)}?enable={str(enable).lower()}")

    def passing(self, service: str = "web") -> set[str]:
        """The instances that Consul itself says are passing."""
        found = self.request("GET", f"/v1/health/service/{quote(service)}?passing=1")
        return {one["Service"]["ID"] for one in found}

    def close(self) -> None:
        super().close()
        self._home.cleanup()


@contextlib.contextmanager
def consul_cluster(directory: Path, size: int = 3) -> Iterator[list[Consul]]:
    """Servers that elect a leader among them, and keep their state below `directory`."""
    servers = [
        Consul(f"s{number}", data=directory / f"s{number}", options={"bootstrap_expect": size})
        for number in range(size)
    ]
    for server in servers:
        server.config["retry_join"] = [f"127.0.0.1:{other.serf_port}" for other in servers]
        server.config["retry_interval"] = "100ms"
    with all_started(servers):
        eventually(lambda: all(len(one.request("GET", "/v1/status/peers")) == size for one in servers), 20.0)
        yield servers


def leader_of(servers: Sequence[Consul]) -> Consul:
    """The server that leads."""
    address = servers[0].request("GET", "/v1/status/leader")
    for server in servers:
        if server.config["ports"]["server"] == int(address.rpartition(":")[2]):
            return server
    raise AssertionError(f"no server has the leader's address {address}")


class Follower:
    """A keeper and a client in a loop, as the engine has them, and what happened in it.

    Attributes:
        asked: When each query was sent, in seconds of the monotonic clock.
    """

    def __init__(self, source: Any) -> None:
        self.keeper = Keeper(source, Random(1))
        self.asked: list[float] = []

    @property
    def instances(self) -> set[str]:
        return {one.metadata["consul.id"] for one in self.keeper.endpoints or ()}

    async def run(self) -> None:
        """Go on until cancelled; leaves nothing open."""
        client = AgentClient()
        try:
            while True:
                await anyio.sleep(max(0.0, self.keeper.due - time.monotonic()))
                self.asked.append(time.monotonic())
                try:
                    reply = await client.ask(self.keeper.query(time.monotonic()))
                    self.keeper.answer(reply, time.monotonic())
                except Exception as error:
                    self.keeper.failed(error, time.monotonic())
        finally:
            await client.aclose()

    async def until(self, predicate: Callable[["Follower"], object], timeout: float = 30.0) -> None:
        """Wait until something is true of it; AssertionError, with its report, if that takes too long."""
        deadline = time.monotonic() + timeout
        while not predicate(self):
            assert time.monotonic() < deadline, f"not true in {timeout} s: {self.keeper.report}"
            await anyio.sleep(0.002)


@contextlib.asynccontextmanager
async def following(source: Any) -> AsyncIterator[Follower]:
    """Follow a source for the time of the body."""
    follower = Follower(source)
    async with anyio.create_task_group() as group:
        group.start_soon(follower.run)
        yield follower
        group.cancel_scope.cancel()
