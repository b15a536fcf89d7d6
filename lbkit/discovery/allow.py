"""An allow-list for what a source answers, so that whoever gets hold of the source does not get hold of the traffic.

Networks speak of addresses, suffixes of names. Where both are written, both must hold of an endpoint that has both, as
a target of SRV has: a trusted name that points elsewhere is dropped, and so is a strange name on a trusted address.
What neither speaks of is dropped too: a name where only networks are written may lead anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.checks import read_texts
from lbkit.discovery.wording import some
from lbkit.errors import ConfigError, DiscoveryError

_NAME = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_EXAMPLE = 'allow=("10.0.0.0/8", ".svc.internal")'


@dataclass(frozen=True, slots=True)
class Allow:
    """What endpoints may be. False where everything may.

    Attributes:
        networks: Addresses that are allowed.
        names: Names that are allowed: all below a name with a dot before it, one alone without.
        texts: Both, as they were written.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Allow:
        """Read networks such as `"10.0.0.0/8"`, addresses, names, and suffixes such as `".svc.internal"`.

        Raises:
            ConfigError: One is none of these.
        """
        texts = read_texts("allow", texts, _EXAMPLE)
        networks: list[IPv4Network | IPv6Network] = []
        names: list[str] = []
        for text in texts:
            read = _read(text)
            if isinstance(read, str):
                names.append(read)
            else:
                networks.append(read)
        return cls(tuple(networks), tuple(names), texts)

    def __bool__(self) -> bool:
        return bool(self.networks or self.names)

    def sift(self, endpoints: Iterable[Endpoint], *, label: str = "") -> tuple[tuple[Endpoint, ...], str]:
        """Return the endpoints that are allowed, in their order, and what is to be said of the others.

        Args:
            endpoints: With an IP literal or a name as host.
            label: The metadata that holds the name of an endpoint whose host is an IP literal, where it has one.

        Raises:
            DiscoveryError: There were endpoints, and none is allowed. An answer of such is no reason to have none.
        """
        everything = tuple(endpoints)
        if not self:
            return everything, ""
        kept, dropped = [], []
        for one in everything:
            name = one.metadata.get(label, "")
            if self._has(one, name):
                kept.append(one)
            else:
                dropped.append(f"{name} at {one.id}" if name else one.id)
        if not dropped:
            return everything, ""
        if not kept:
            raise DiscoveryError(f"none of the {len(dropped)} endpoints is on the allow-list: {some(dropped)}")
        return tuple(kept), f"dropped, not on the allow-list: {some(dropped)}"

    def _has(self, endpoint: Endpoint, name: str) -> bool:
        address = endpoint.host
        try:
            ip = ip_address(address)
        except ValueError:
            return self._has_name(address)
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped  # the connection goes to the IPv4 address
        if self.networks and not any(ip in network for network in self.networks):
            return False
        if name and self.names:
            return self._has_name(name)
        return bool(self.networks)

    def _has_name(self, name: str) -> bool:
        name = name.lower().rstrip(".")
        return any(name.endswith(one) if one.startswith(".") else name == one for one in self.names)


def _read(text: str) -> IPv4Network | IPv6Network | str:
    if "/" in text or ":" in text:
        try:
            return ip_network(text)
        except ValueError as error:
            raise ConfigError(f"allow: {text!r} is no network: {error}") from None
    try:
        return ip_network(text)
    except ValueError:
        pass
    name = text.rstrip(".")
    if not name.isascii():
        try:
            dot = "." if name.startswith(".") else ""
            name = dot + name.removeprefix(".").encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigError(f"allow: {text!r} is no valid name") from None
    name = name.lower()
    if not _NAME.fullmatch(name) or name.rpartition(".")[2].isdigit():
        raise ConfigError(f"allow: {text!r} is no network, address, name or suffix: {_EXAMPLE}")
    return name
