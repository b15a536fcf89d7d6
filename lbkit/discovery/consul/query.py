"""Prepared queries of Consul: what is asked is written down in Consul, failover to other datacenters included."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from random import Random
from urllib.parse import quote

from lbkit.discovery.allow import Allow
from lbkit.discovery.base import Upkeep
from lbkit.discovery.checks import check_between
from lbkit.discovery.consul.access import Access, Secret
from lbkit.discovery.consul.answer import Reading
from lbkit.discovery.consul.asking import Asking, Freshness
from lbkit.discovery.consul.config import check_freshness, check_name, settle, target
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.discovery.consul.watch import QueryWatch

EVERY_S = (1.0, 86_400.0)
"""Shortest and longest time between two executions."""
HURRY_S = 5.0
"""How often failed connections may bring the next execution forward, in seconds."""


@dataclass(frozen=True, slots=True)
class ConsulQuery:
    """The instances that a prepared query of Consul finds.

    Consul cannot tell changes of it: it is executed again and again, and at once when connections to endpoints fail.
    Which instances take part, the query says; those with a warning count with `Weights.Warning`.

    Args:
        query: Name or ID of the prepared query.
        every: Seconds between executions, 1 to 86,400, spread by a tenth; 10 by default.
        datacenter, near, stale, max_stale, tagged_address, zone_key, server_name: As in `Consul`.
        agent, token, token_file, verify, ca, cert, tls_server_name: As in `Consul`.
        empty_grace, allow: As in `Consul`.

    Raises:
        ConfigError: An option is wrong.
    """

    query: str
    _: KW_ONLY
    every: float = 10.0
    agent: str | Sequence[str] | None = None
    datacenter: str | None = None
    near: str | None = None
    stale: bool = False
    max_stale: float = 60.0
    tagged_address: str | None = None
    zone_key: str = "zone"
    server_name: str | None = None
    token: str | Secret | None = None
    token_file: str | os.PathLike[str] | None = None
    verify: bool = True
    ca: str | os.PathLike[str] | None = None
    cert: str | tuple[str, str] | None = None
    tls_server_name: str | None = None
    empty_grace: float = math.inf
    allow: Sequence[str] = ()
    access: Access = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("ConsulQuery: query", self.query)
        check_between("ConsulQuery: every", self.every, *EVERY_S)
        check_freshness("ConsulQuery", self.max_stale, None, cached=False)
        settle("ConsulQuery", self)

    @property
    def upkeep(self) -> Upkeep:
        """How the set is kept."""
        return Upkeep(self.empty_grace, hurry_s=min(self.every, HURRY_S))

    def watch(self, rng: Random) -> QueryWatch:
        """Build the machine that asks."""
        request = AgentRequest(self.access, f"/v1/query/{quote(self.query, safe='')}/execute", tuple(self._choices()))
        reading = Reading(
            f"query {self.query!r}", True, self.tagged_address, self.zone_key, self.server_name,
            in_order=self.near is not None, allow=Allow.of(self.allow),
        )  # fmt: skip
        return QueryWatch(Asking(request, Freshness(self.stale, self.max_stale)), reading, self.every, rng)

    def _choices(self) -> list[tuple[str, str]]:
        named = (("dc", self.datacenter), ("near", self.near))
        return [(name, value) for name, value in named if value is not None]

    def __str__(self) -> str:
        return target("consul+query", self.query, self.access, self._choices())
