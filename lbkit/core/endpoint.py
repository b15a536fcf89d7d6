"""Endpoints and snapshots: where the replicas are, as frozen values.

An endpoint is its address: two with the same address are the same replica, and what was learned of it stays when its
weight or its labels change. A snapshot is the complete set at one moment, never a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from lbkit.errors import ConfigError

_NOT_IN_HOSTS = re.compile(r"[\s\x00-\x20\x7f/?#@\[\]\\]")
_WRONG_PARTS = re.compile(r"\A\.|\.\.|[^.]{64}")
"""Parts of a name that are empty or too long (RFC 1035, 2.3.4): Python's resolver raises UnicodeError for them."""
_ENDS_IN_DIGITS = re.compile(r"(\A|\.)[0-9]+\.?\Z")
"""No top-level name is all digits (RFC 3696, 2), so a slip in an address is never taken for one."""
_UNSEEN = re.compile(r"[\s\x00-\x20\x7f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica: its address and what is known of it.

    Attributes:
        host: Name or IP literal without brackets; empty for a unix socket. Kept in one spelling, so that two spellings
            of an address are one endpoint: lower case, names that are not ASCII as IDNA, IPv6 compressed.
        port: 1 to 65535; 0 for a unix socket.
        path: File-system path of a unix socket; empty for TCP.
        weight: Share relative to the others, at most 1e9. 0 keeps the endpoint in the set but sends it nothing.
        priority: Tier, at least 0. The lowest tier that has a usable endpoint takes all the traffic (as in RFC 2782).
        zone: Where it runs, for schedulers and for display.
        server_name: Name for TLS SNI and verification. None takes the host of the request's URL.
        scheme: "http" or "https" where the target was a URL: a request of the other scheme is refused. None takes both.
        metadata: Labels of the source, kept as they are.
        id: `host:port`, IPv6 in brackets, or `unix:path`. Computed; the identity of the endpoint.

    Raises:
        ConfigError: A part is out of range.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    weight: float = 1.0
    priority: int = 0
    zone: str = ""
    server_name: str | None = None
    scheme: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _NO_METADATA, hash=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if bool(self.host) == bool(self.path):
            raise ConfigError("an endpoint has either a host and port or the path of a unix socket")
        if self.host:
            object.__setattr__(self, "host", _one_spelling(self.host))
        else:
            _check_path(self.path)
        if self.host and not (isinstance(self.port, int) and 1 <= self.port <= 65535):
            raise ConfigError(f"endpoint {self.host}: port must be from 1 to 65535, not {self.port!r}")
        if self.path:
            identity = f"unix:{self.path}"
        elif ":" in self.host:
            identity = f"[{self.host}]:{self.port}"
        else:
            identity = f"{self.host}:{self.port}"
        # The bounds keep sums and products of weights finite, and their differences above rounding.
        if not (isinstance(self.weight, int | float) and (self.weight == 0 or 1e-9 <= self.weight <= 1e9)):
            raise ConfigError(f"endpoint {identity}: weight must be 0, or from 1e-9 to 1e9, not {self.weight!r}")
        if not (isinstance(self.priority, int) and self.priority >= 0):
            raise ConfigError(f"endpoint {identity}: priority must be at least 0, not {self.priority!r}")
        if self.scheme not in (None, "http", "https"):
            raise ConfigError(f"endpoint {identity}: scheme must be http or https, not {self.scheme!r}")
        object.__setattr__(self, "id", identity)
        if not isinstance(self.metadata, MappingProxyType):
            object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @classmethod
    def parse(
        cls,
        target: str,
        *,
        weight: float = 1.0,
        priority: int = 0,
        zone: str = "",
        server_name: str | None = None,
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> Endpoint:
        """Read an endpoint: `host:port`, `[::1]:8080`, `http://host`, `https://host:8443` or `unix:/run/app.sock`.

        Raises:
            ConfigError: The text is none of these, or carries a path, a query or credentials, which belong to
                requests and not to replicas. The message never repeats credentials.
        """
        more = {
            "weight": weight, "priority": priority, "zone": zone, "server_name": server_name, "metadata": metadata,
        }  # fmt: skip
        if not isinstance(target, str):
            hint = ": write Static(*endpoints) for a list" if isinstance(target, list | tuple) else ""
            raise ConfigError(f"an endpoint is text or an Endpoint, not {type(target).__name__}{hint}")
        if target.startswith("unix:"):
            return cls(path=target.removeprefix("unix:").removeprefix("//"), **more)  # type: ignore[arg-type]
        scheme, separator, _ = target.partition("://")
        if not separator:
            scheme = ""
        elif scheme.lower() not in _DEFAULT_PORTS:
            raise ConfigError(
                "an endpoint's URL starts with http:// or https://; other schemes are for discovery: "
                "such a target stands alone, or in Merged(one, other) or Fallback(one, other)"
            )
        if _UNSEEN.search(target):  # urlsplit would drop some of them without a word
            raise ConfigError("an endpoint is host:port without spaces or control characters")
        if "," in target:
            raise ConfigError("an endpoint is one address: write each of several as a text of its own, without commas")
        try:
            parts = urlsplit(target if separator else f"//{target}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigError("an endpoint is host:port with a port from 1 to 65535, IPv6 in [brackets]") from None
        if parts.username is not None or parts.password is not None:
            raise ConfigError("an endpoint has no credentials: give them to the client that sends the requests")
        if parts.query and not scheme:
            raise ConfigError(
                'an endpoint has no options behind a "?": for a weight write '
                'Endpoint.parse("10.0.0.1:8080", weight=2), or list the endpoints in a file'
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigError("an endpoint has no path, query or fragment: give them to the client, as its base_url")
        scheme = scheme.lower()
        if port is None:
            if not scheme:
                host = _one_spelling(host) if host else "host"
                shown = f"[{host}]" if ":" in host else host
                raise ConfigError(f"endpoint {target!r} has no port: write {shown}:8080")
            port = _DEFAULT_PORTS[scheme]
        return cls(host=host or "", port=port, scheme=scheme or None, **more)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.id


def _one_spelling(host: str) -> str:
    if not isinstance(host, str) or _NOT_IN_HOSTS.search(host):
        raise ConfigError(
            "an endpoint's host is a name or an IP literal without brackets, spaces, slashes or user info"
        )
    if ":" in host:
        try:
            return str(ip_address(host))
        except ValueError:
            raise ConfigError(f"an endpoint's host with colons is an IPv6 literal; {host!r} is none") from None
    if "%" in host:
        raise ConfigError(f"an endpoint's host has a scope (%) only where it is an IPv6 literal, unlike {host!r}")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigError(f"an endpoint's host must be a valid internationalised name; {host!r} is none") from None
    if _WRONG_PARTS.search(host):
        raise ConfigError(f"an endpoint's host has 1 to 63 characters between its dots, unlike {host[:100]!r}")
    if _ENDS_IN_DIGITS.search(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise ConfigError(
                f"an endpoint's host is a name or an address: {host[:100]!r} ends in digits and is no IPv4 address"
            ) from None
    return host.lower()


def _check_path(path: str) -> None:
    try:
        path.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeError):
        raise ConfigError(f"an endpoint's path is the name of a unix socket, not {path!r}") from None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete membership at one moment.

    Attributes:
        endpoints: All endpoints, each address once, in the order in which the source gave them.
        source: What it came from, such as "static".
        version: Grows with every change of the source.
    """

    endpoints: tuple[Endpoint, ...]
    source: str = "static"
    version: int = 0

    @classmethod
    def of(cls, endpoints: Iterable[Endpoint], *, source: str = "static", version: int = 0) -> Snapshot:
        """Make a snapshot, keeping the first of several endpoints with one address."""
        unique: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            unique.setdefault(endpoint.id, endpoint)
        return cls(tuple(unique.values()), source, version)
