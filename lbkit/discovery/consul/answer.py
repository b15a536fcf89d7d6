"""What Consul's list of instances says: which of them take part, where they are, and with what weight.

An instance is as healthy as the worst of its checks, those of its node included; maintenance is a critical check. Its
address is that of the service or, where the service has none, that of its node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.allow import Allow
from lbkit.discovery.wording import some
from lbkit.errors import ConfigError, DiscoveryError

ANYTHING = Allow()
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Reading:
    """How instances are read.

    Attributes:
        label: What is read, for messages: `service "orders"`.
        warning: Whether instances with a warning take part, at their warning weight.
        tagged_address: Name of the address to use where an instance has it, such as "wan".
        zone_key: Key of the zone in the metadata of the service or of its node.
        server_name: Name for TLS to the endpoints.
        in_order: Whether the order of the answer is kept; otherwise the endpoints are sorted.
        allow: What endpoints may be.
    """

    label: str
    warning: bool = False
    tagged_address: str | None = None
    zone_key: str = "zone"
    server_name: str | None = None
    in_order: bool = False
    allow: Allow = ANYTHING

    def read(self, entries: Iterable[Any]) -> tuple[tuple[Endpoint, ...], str]:
        """Return the endpoints, and what is wrong with the others or with there being none.

        Raises:
            DiscoveryError: One is no instance, or there are some and none can be used.
        """
        count = 0
        found: list[Endpoint] = []
        unusable: list[str] = []
        unhealthy: Counter[str] = Counter()
        try:
            for count, entry in enumerate(entries, 1):  # noqa: B007 - the last is how many there are
                node, service = _part(entry, "Node"), _part(entry, "Service")
                status = _worst(entry.get("Checks"))
                if status != "passing" and not (self.warning and status == "warning"):
                    unhealthy[status] += 1
                    continue
                try:
                    found.append(self._endpoint(node, service, status))
                except ConfigError as error:
                    unusable.append(f"{service.get('ID') or service.get('Service')} ({error})")
        except (AttributeError, TypeError):
            raise DiscoveryError("the answer has an instance of an unknown form") from None
        said = f"{len(unusable)} of {count} instances left out: {some(unusable)}" if unusable else ""
        if unusable and not found:
            raise DiscoveryError(f"no instance can be used; {said}")
        if not found:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(unhealthy.items()))
            return (), f"no passing instance of {self.label}" + (f" ({counts})" if counts else "")
        endpoints, dropped = self.allow.sift(self._merged(found))
        return endpoints, "; ".join(filter(None, (said, dropped)))

    def _merged(self, found: list[Endpoint]) -> Iterable[Endpoint]:
        """One for each address, of several the one with the greatest weight; sorted, so that no change is no event."""
        best: dict[str, Endpoint] = {}
        for one in found:
            held = best.get(one.id)
            if held is None or _rank(one) < _rank(held):
                best[one.id] = one
        return best.values() if self.in_order else sorted(best.values(), key=lambda one: one.id)

    def _endpoint(self, node: Mapping[str, Any], service: Mapping[str, Any], status: str) -> Endpoint:
        weight = (service.get("Weights") or _NOTHING).get("Warning" if status == "warning" else "Passing", 1)
        meta, node_meta = service.get("Meta") or _NOTHING, node.get("Meta") or _NOTHING
        zone = meta.get(self.zone_key) or node_meta.get(self.zone_key)
        if not zone:  # Consul 1.17 has a place of its own for it
            places = (service.get("Locality") or _NOTHING, node.get("Locality") or _NOTHING)
            zone = next((place["Zone"] for place in places if place.get("Zone")), "")
        labels = {
            **{str(key): str(value) for key, value in meta.items()},
            # Keys of Consul's own have no dot in them.
            "consul.id": str(service.get("ID", "")),
            "consul.node": str(node.get("Node", "")),
            "consul.tags": ",".join(map(str, service.get("Tags") or ())),
        }
        more = {"weight": weight, "zone": str(zone), "server_name": self.server_name, "metadata": labels}
        if not service.get("Port") and service.get("SocketPath"):
            return Endpoint(path=service["SocketPath"], **more)
        host, port = self._address(node, service)
        if not port:
            raise ConfigError("no port")
        return Endpoint(host, port, **more)

    def _address(self, node: Mapping[str, Any], service: Mapping[str, Any]) -> tuple[str, int]:
        port = service.get("Port") or 0
        if self.tagged_address is not None:
            tagged = (service.get("TaggedAddresses") or _NOTHING).get(self.tagged_address)
            if tagged and tagged.get("Address"):
                return tagged["Address"], tagged.get("Port") or port
        if service.get("Address"):
            return service["Address"], port
        tagged = (node.get("TaggedAddresses") or _NOTHING).get(self.tagged_address or "")
        return tagged or node.get("Address") or "", port


def _part(entry: Any, name: str) -> Mapping[str, Any]:
    part = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(part, dict):
        raise DiscoveryError(f"the answer has an instance without {name}")
    return part


def _worst(checks: Any) -> str:
    found = {check.get("Status") for check in checks or ()}
    if found <= {"passing"}:
        return "passing"
    return "warning" if found <= {"passing", "warning"} else "critical"


def _rank(endpoint: Endpoint) -> tuple[float, str]:
    return -endpoint.weight, endpoint.metadata["consul.id"]
