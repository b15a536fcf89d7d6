"""How Consul learns that a service is well: the service says so, or Consul looks."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.checks import check_between
from lbkit.errors import ConfigError

LOOK_S = 10.0
"""Seconds between two questions whether the agent still knows a service that it checks itself."""
BEATS = 3
"""Times that a service says that it is well in the time in which it must say so once: two may be lost."""


class CheckStatus(enum.Enum):
    """How a service is, in Consul's words. Only "passing" gets traffic, unless clients ask for warnings too."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for well; the greater, the worse."""
        return _RANKS.index(self.value)

    @classmethod
    def of(cls, value: CheckStatus | str) -> CheckStatus:
        """Read a status.

        Raises:
            ConfigError: It is none.
        """
        try:
            return cls(value)
        except ValueError:
            raise ConfigError(f"a status is one of {', '.join(_RANKS)}, not {value!r}") from None


_RANKS = ("passing", "warning", "critical")


@dataclass(frozen=True, slots=True)
class TtlCheck:
    """The service says that it is well, three times in `ttl` seconds; Consul believes it for so long.

    Attributes:
        ttl: Seconds, 1 to 86,400; 10 by default.
    """

    ttl: float = 10.0

    def __post_init__(self) -> None:
        check_between("TtlCheck: ttl", self.ttl, 1.0, 86_400.0)

    @property
    def beat_s(self) -> float:
        """Seconds between two requests to the agent."""
        return self.ttl / BEATS

    def definition(self, address: str) -> dict[str, Any]:  # noqa: ARG002
        """Return what Consul is told of it."""
        return {"TTL": duration(self.ttl)}


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """Consul's agent sends a request to the service: 2xx is passing, 429 is warning, all else critical.

    Attributes:
        url: A URL, or a path such as "/health" at the address of the service.
        interval: Seconds between two requests. The first comes within this time; until then the service is critical.
        timeout: Seconds for an answer.
        method: Of the request.
        headers: Of the request. They are not shown, for they may hold credentials.
        verify: Whether the certificate of an https service is verified.
    """

    url: str
    interval: float = 10.0
    timeout: float = 5.0
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    verify: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not (self.url.startswith("/") or _is_http(self.url)):
            raise ConfigError('HttpCheck: url is a URL, or a path such as "/health" at the address of the service')
        _check_look("HttpCheck", self.interval, self.timeout)

    @property
    def beat_s(self) -> float:
        """Seconds between two requests to the agent."""
        return LOOK_S

    def definition(self, address: str) -> dict[str, Any]:
        """Return what Consul is told of it."""
        return {
            "HTTP": f"http://{address}{self.url}" if self.url.startswith("/") else self.url,
            "Method": self.method,
            "Header": {name: [value] for name, value in self.headers.items()},
            "TLSSkipVerify": not self.verify,
            "Interval": duration(self.interval),
            "Timeout": duration(self.timeout),
        }


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """Consul's agent opens a connection to the service: one that it gets is passing.

    Attributes:
        target: `host:port`; None for the address of the service.
        interval: Seconds between two connections. The first comes within this time; until then the service is critical.
        timeout: Seconds for a connection.
    """

    target: str | None = None
    interval: float = 10.0
    timeout: float = 5.0

    def __post_init__(self) -> None:
        if self.target is not None and not _is_host_and_port(self.target):
            raise ConfigError(f"TcpCheck: target is host:port, not {self.target!r}")
        _check_look("TcpCheck", self.interval, self.timeout)

    @property
    def beat_s(self) -> float:
        """Seconds between two requests to the agent."""
        return LOOK_S

    def definition(self, address: str) -> dict[str, Any]:
        """Return what Consul is told of it."""
        return {
            "TCP": self.target or address, "Interval": duration(self.interval), "Timeout": duration(self.timeout),
        }  # fmt: skip


Check = TtlCheck | HttpCheck | TcpCheck


def duration(seconds: float) -> str:
    """Write a time as Consul reads it.

    >>> [duration(one) for one in (10.0, 0.5)]
    ['10000ms', '500ms']
    """
    return f"{seconds * 1000:.0f}ms"


def _is_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_host_and_port(target: str) -> bool:
    try:
        endpoint = Endpoint.parse(target)
    except ConfigError:
        return False
    return bool(endpoint.host) and endpoint.scheme is None


def _check_look(label: str, interval: float, timeout: float) -> None:
    check_between(f"{label}: interval", interval, 0.1, 86_400.0)
    check_between(f"{label}: timeout", timeout, 0.1, 86_400.0)
