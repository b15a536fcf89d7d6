"""Consul: the healthy instances of a service, followed by blocking queries, so that a change is seen at once."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from random import Random
from urllib.parse import quote

from lbkit.discovery.allow import Allow
from lbkit.discovery.base import Upkeep
from lbkit.discovery.checks import check_between, read_texts
from lbkit.discovery.consul.access import Access, Secret
from lbkit.discovery.consul.answer import Reading
from lbkit.discovery.consul.asking import Asking, Freshness
from lbkit.discovery.consul.config import check_freshness, check_name, settle, target
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.discovery.consul.watch import ConsulWatch

WAIT_S = (1.0, 600.0)
"""Shortest and longest `wait`; the longest is Consul's own limit."""


@dataclass(frozen=True, slots=True)
class Consul:
    """The healthy instances of a service in Consul.

    An instance takes part while all of its checks, and those of its node, pass. Its weight is `Weights.Passing`, its
    address that of the service or, where that is empty, of its node. Its metadata are the service's, and "consul.id",
    "consul.node" and "consul.tags" (joined by commas).

    Args:
        service: Name of the service.
        agent: The agent's URL, or several of which the next is asked when one fails: `http://host:port`,
            `https://host:port`, `unix:/run/consul.sock`. CONSUL_HTTP_ADDR, or else `http://127.0.0.1:8500`, by default.
        tags: Tags that an instance must have, all of them.
        filter: Expression in Consul's filter language, such as `Service.Meta.version == "2"`.
        warning: Whether instances with a check in the state warning take part too, with `Weights.Warning`.
        datacenter: The agent's own by default.
        namespace, partition: Of Consul Enterprise.
        near: A node's name, or "_agent": endpoints come in the order of their distance from it, for a scheduler that
            goes by order. Without it they are sorted.
        stale: Whether any server may answer, not only the leader: works without a leader, and may be a little behind.
        max_stale: Longest time, in seconds, that such a server may be without contact with the leader; beyond it the
            leader is asked. 60 by default.
        cached: Whether the agent may answer from its cache, which it keeps up to date: many clients cost little more
            than one.
        max_age: Oldest answer of the cache that is used, in seconds.
        tagged_address: Name of the address to use where an instance has it, such as "wan" or "lan_ipv6". Instances
            without it keep their ordinary address, as in Consul's own DNS.
        zone_key: Key of the zone in the metadata of the service, or else of its node. Without either, the zone of
            Consul's locality.
        server_name: Name for TLS to the endpoints; None takes the host of the request's URL.
        token: ACL token; CONSUL_HTTP_TOKEN by default, "" for none. It is sent in a header and shown nowhere.
        token_file: File with the token, read again when it changes; CONSUL_HTTP_TOKEN_FILE by default.
        verify: Whether the certificates of https agents are verified.
        ca: File or directory with the authorities that may have signed those; the system's by default.
        cert: Our certificate for https agents: a file with certificate and key, or a tuple of the two files.
        tls_server_name: Name that the agents' certificates must have; the host of the agent's URL by default.
        wait: Seconds that a blocking query waits for a change, 1 to 600. 60 by default and not Consul's 300: so long
            may changes stay unseen when Consul loses its state.
        empty_grace: Seconds that the last good instances are kept when Consul answers that none passes; see `Upkeep`.
        allow: Networks and names that instances may have: `("10.0.0.0/8", ".internal")`. Empty allows everything.

    Raises:
        ConfigError: An option is wrong, or goes with none of the others.
    """

    service: str
    _: KW_ONLY
    agent: str | Sequence[str] | None = None
    tags: Sequence[str] = ()
    filter: str | None = None
    warning: bool = False
    datacenter: str | None = None
    namespace: str | None = None
    partition: str | None = None
    near: str | None = None
    stale: bool = False
    max_stale: float = 60.0
    cached: bool = False
    max_age: float | None = None
    tagged_address: str | None = None
    zone_key: str = "zone"
    server_name: str | None = None
    token: str | Secret | None = None
    token_file: str | os.PathLike[str] | None = None
    verify: bool = True
    ca: str | os.PathLike[str] | None = None
    cert: str | tuple[str, str] | None = None
    tls_server_name: str | None = None
    wait: float = 60.0
    empty_grace: float = math.inf
    allow: Sequence[str] = ()
    access: Access = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("Consul: service", self.service)
        check_between("Consul: wait", self.wait, *WAIT_S)
        check_freshness("Consul", self.max_stale, self.max_age, cached=self.cached)
        object.__setattr__(self, "tags", read_texts("Consul: tags", self.tags, 'tags=("v2",)'))
        settle("Consul", self)

    @property
    def upkeep(self) -> Upkeep:
        """How the set is kept; nothing has to be hurried, for Consul tells changes by itself."""
        return Upkeep(self.empty_grace)

    def watch(self, rng: Random) -> ConsulWatch:  # noqa: ARG002 - Consul spreads the waits of its clients
        """Build the machine that asks."""
        passing = () if self.warning else (("passing", "1"),)
        path = f"/v1/health/service/{quote(self.service, safe='')}"
        request = AgentRequest(self.access, path, (*passing, *self._choices()))
        max_age = math.inf if self.max_age is None else self.max_age
        reading = Reading(
            f"service {self.service!r}", self.warning, self.tagged_address, self.zone_key, self.server_name,
            in_order=self.near is not None, allow=Allow.of(self.allow),
        )  # fmt: skip
        freshness = Freshness(self.stale, self.max_stale, self.cached, max_age)
        return ConsulWatch(Asking(request, freshness), reading, self.wait, self.empty_grace)

    def _choices(self) -> list[tuple[str, str]]:
        """What is asked for, by the names that Consul has for it."""
        named = [
            *(("tag", tag) for tag in self.tags), ("filter", self.filter), ("dc", self.datacenter),
            ("ns", self.namespace), ("partition", self.partition), ("near", self.near),
        ]  # fmt: skip
        return [(name, value) for name, value in named if value is not None]

    def __str__(self) -> str:
        flags = ("warning", "stale", "cached")
        more = [(name, "true") for name in flags if getattr(self, name)]
        if self.tagged_address is not None:
            more.append(("tagged_address", self.tagged_address))
        return target("consul", self.service, self.access, [*self._choices(), *more])
