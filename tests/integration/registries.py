"""Registries with replicas in them, for examples and snippets that need a real DNS server or a real Consul.

with orders_in_dns() as fleet:
    ...                       # fleet.dns is a target, and fleet.replicas listen at its addresses
"""

import contextlib
import itertools
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rigs.consul import Consul
from tests.rigs.knot import Knot
from tests.rigs.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
from _replicas import Replica  # noqa: E402 - it is beside the examples

sys.path.remove(str(EXAMPLES))

NAME = "orders.test.lb"


@dataclass
class DnsFleet:
    """Replicas r0, r1, ... at 127.0.0.1, 127.0.0.2, ..., all on one port, and the DNS server that knows them."""

    knot: Knot
    replicas: list[Replica]
    hosts: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.replicas[0].port

    @property
    def dns(self) -> str:
        return f"dns://{self.knot.nameserver}/{NAME}:{self.port}"

    @property
    def srv(self) -> str:
        return f"dns+srv://{self.knot.nameserver}/_http._tcp.{NAME}"

    def publish(self, *replicas: Replica) -> None:
        """Make these all that the names have: the addresses, and in SRV the last of several as a standby."""
        self.hosts = [one.host for one in replicas]
        self.knot.replace("orders", "A", self.hosts)
        records = [f"{int(one is replicas[-1])} {10 * len(replicas) - 10 * number} {one.port} {one.name}"
                   for number, one in enumerate(replicas)]  # fmt: skip
        self.knot.replace("_http._tcp.orders", "SRV", records, addresses={one.name: [one.host] for one in replicas})


@contextlib.contextmanager
def orders_in_dns(count: int = 3) -> Iterator[DnsFleet]:
    """Run replicas and a DNS server that knows them all."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        running = [Replica(f"r{number}", host=f"127.0.0.{number + 1}", port=port) for number in range(count)]
        for one in running:
            stack.callback(one.kill)
        fleet = DnsFleet(stack.enter_context(Knot()), running)
        fleet.publish(*running)
        yield fleet


def round_robin(fleet: DnsFleet) -> None:
    """Have this process's own lookups of the name answer its addresses, the first one behind the last each time."""
    original = socket.getaddrinfo
    turns = itertools.count()

    def getaddrinfo(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return original(host, port, *more, **options)
        turn = next(turns) % len(fleet.hosts)
        rotated = fleet.hosts[turn:] + fleet.hosts[:turn]
        return [found for one in rotated for found in original(one, port, *more, **options)]

    socket.getaddrinfo = getaddrinfo


@dataclass
class ConsulFleet:
    """Replicas r0, r1, ..., and the agent at which they are registered as "orders"."""

    consul: Consul
    replicas: list[Replica]

    def register(self, replica: Replica, **more: Any) -> None:
        """Register it with the tag v2, in the zone eu-1; the first counts twice."""
        weights = {"Passing": 2 if replica is self.replicas[0] else 1, "Warning": 1}
        settings = {"Tags": ["v2"], "Meta": {"zone": "eu-1"}, "Weights": weights, **more}
        self.consul.register(f"orders-{replica.name}", replica.port, service="orders", **settings)


@contextlib.contextmanager
def orders_in_consul(count: int = 2) -> Iterator[ConsulFleet]:
    """Run replicas and an agent that knows them all."""
    with contextlib.ExitStack() as stack:
        running = [Replica(f"r{number}") for number in range(count)]
        for one in running:
            stack.callback(one.kill)
        fleet = ConsulFleet(stack.enter_context(Consul()), running)
        for one in running:
            fleet.register(one)
        yield fleet
