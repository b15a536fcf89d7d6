"""A service as Consul is told of it, and the requests that tell the agent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.checks import check_between, check_port, read_texts
from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.check import Check, CheckStatus, HttpCheck, TcpCheck, TtlCheck, duration
from lbkit.discovery.consul.config import check_name
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.errors import ConfigError

CRITICAL_S = (60.0, 1e8)
"""Consul raises a shorter time to the first one, without a word."""
LONGEST_OUTPUT = 4096
"""Characters of a check's output that Consul keeps."""
_META_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LARGEST_WEIGHT = 65535


@dataclass(frozen=True, slots=True)
class Service:
    """One instance of a service; see `registration` for what each attribute means.

    Raises:
        ConfigError: A value is out of range, as far as Consul would refuse it or change it silently.
    """

    name: str
    port: int
    id: str
    address: str | None = None
    tags: Sequence[str] = ()
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    weights: tuple[int, int] = (1, 1)
    check: Check = field(default_factory=TtlCheck)
    critical_timeout: float | None = 600.0
    namespace: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        check_name("registration: name", self.name)
        check_name("registration: id", self.id)
        check_port("registration: port", self.port)
        if self.address is not None:
            Endpoint(self.address, self.port)
        object.__setattr__(self, "tags", read_texts("registration: tags", self.tags, 'tags=("v2",)'))
        if not isinstance(self.meta, Mapping):
            raise ConfigError(f'registration: meta is a dict of texts, such as {{"zone": "eu-1"}}, not {self.meta!r}')
        object.__setattr__(self, "meta", dict(self.meta))
        if len(self.meta) > 64:
            raise ConfigError("registration: Consul takes at most 64 pairs of meta")
        for key, value in self.meta.items():
            if not (isinstance(key, str) and _META_KEY.fullmatch(key)):
                raise ConfigError(f"registration: a key of meta has 1 to 128 letters, digits, - and _, unlike {key!r}")
            if not isinstance(value, str) or len(value) > 512:
                raise ConfigError(f"registration: meta[{key!r}] is a text of at most 512 characters")
        if not isinstance(self.check, TtlCheck | HttpCheck | TcpCheck):
            raise ConfigError(f"registration: check is a TtlCheck, HttpCheck or TcpCheck, not {self.check!r}")
        if self.critical_timeout is not None:
            check_between("registration: critical_timeout", self.critical_timeout, *CRITICAL_S)
        _check_weights(self.weights)

    @property
    def check_id(self) -> str:
        """The id of its check. The agent's own maintenance check has another."""
        return f"service:{self.id}"

    def definition(self, status: CheckStatus) -> dict[str, Any]:
        """Return what Consul is told when the service registers."""
        host = self.address or "localhost"
        target = Endpoint(host, self.port).id
        check = {"CheckID": self.check_id, "Name": f"lbkit: {self.name}", **self.check.definition(target)}
        if isinstance(self.check, TtlCheck):
            check["Status"] = status.value
        if self.critical_timeout is not None:
            check["DeregisterCriticalServiceAfter"] = duration(self.critical_timeout)
        more = {} if self.address is None else {"Address": self.address}
        passing, warning = self.weights
        return {
            "ID": self.id,
            "Name": self.name,
            "Port": self.port,
            "Tags": list(self.tags),
            "Meta": self.meta,
            "Weights": {"Passing": passing, "Warning": warning},
            "Check": check,
            **more,
        }


@dataclass(frozen=True, slots=True)
class ServiceRequests:
    """Makes the requests about one service."""

    service: Service
    access: Access

    def register(self, agent: int, timeout: float, status: CheckStatus) -> AgentRequest:
        """Register it anew. What the agent still knew of an earlier run goes, its maintenance included."""
        body = self.service.definition(status)
        return self._put(agent, timeout, "register", (("replace-existing-checks", "true"),), body)

    def beat(self, agent: int, timeout: float, status: CheckStatus, output: str) -> AgentRequest:
        """Say how it is, or ask whether the agent knows it, where the agent checks it itself."""
        if not isinstance(self.service.check, TtlCheck):
            path = f"/v1/agent/service/{quote(self.service.id, safe='')}"
            return AgentRequest(self.access, path, self._where, agent, timeout)
        body = json.dumps({"Status": status.value, "Output": output[:LONGEST_OUTPUT]}).encode()
        path = f"/v1/agent/check/update/{quote(self.service.check_id, safe='')}"
        return AgentRequest(self.access, path, self._where, agent, timeout, "PUT", (), body)

    def maintain(self, agent: int, timeout: float, reason: str | None) -> AgentRequest:
        """Turn maintenance on, or off where there is no reason for it."""
        params = (("enable", "false" if reason is None else "true"), ("reason", reason or ""))
        return self._put(agent, timeout, f"maintenance/{quote(self.service.id, safe='')}", params)

    def deregister(self, agent: int, timeout: float) -> AgentRequest:
        """Take it out."""
        return self._put(agent, timeout, f"deregister/{quote(self.service.id, safe='')}")

    def _put(
        self, agent: int, timeout: float, path: str, params: tuple[tuple[str, str], ...] = (), body: object = None
    ) -> AgentRequest:
        data = b"" if body is None else json.dumps(body).encode()
        path = f"/v1/agent/service/{path}"
        return AgentRequest(self.access, path, (*params, *self._where), agent, timeout, "PUT", (), data)

    @property
    def _where(self) -> tuple[tuple[str, str], ...]:
        pairs = (("ns", self.service.namespace), ("partition", self.service.partition))
        return tuple((name, value) for name, value in pairs if value is not None)


def _check_weights(weights: tuple[int, int]) -> None:
    usable = isinstance(weights, tuple) and len(weights) == 2 and all(type(one) is int for one in weights)
    if not usable or not (1 <= weights[0] <= _LARGEST_WEIGHT and 0 <= weights[1] <= _LARGEST_WEIGHT):
        raise ConfigError(
            f"registration: weights are two whole numbers, (passing, warning), from 1 and 0 to 65,535, not {weights!r}"
        )
