"""Target strings that name something which others are asked for: DNS and Consul."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lbkit.discovery.base import Discovery
from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.query import ConsulQuery
from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.target.options import Known, build, flag, number, text, texts, whole
from lbkit.discovery.target.text import Piece, TargetText

_DNS: Known = {
    "nameserver": ("nameservers", texts),
    "search": ("search", texts),
    "family": ("family", whole),
    "timeout": ("timeout", number),
    "min_ttl": ("min_ttl", number),
    "max_ttl": ("max_ttl", number),
    "empty_grace": ("empty_grace", number),
    "allow": ("allow", texts),
}
_SRV: Known = {**_DNS, "verify_target": ("verify_target", flag)}
_CONSUL_QUERY: Known = {
    "agent": ("agent", texts),
    "dc": ("datacenter", text),
    "near": ("near", text),
    "stale": ("stale", flag),
    "max_stale": ("max_stale", number),
    "tagged_address": ("tagged_address", text),
    "zone_key": ("zone_key", text),
    "server_name": ("server_name", text),
    "token_file": ("token_file", text),
    "verify": ("verify", flag),
    "ca": ("ca", text),
    "cert": ("cert", texts),
    "tls_server_name": ("tls_server_name", text),
    "empty_grace": ("empty_grace", number),
    "allow": ("allow", texts),
}
_CONSUL: Known = {
    **_CONSUL_QUERY,
    "tag": ("tags", texts),
    "filter": ("filter", text),
    "warning": ("warning", flag),
    "ns": ("namespace", text),
    "partition": ("partition", text),
    "cached": ("cached", flag),
    "max_age": ("max_age", number),
    "wait": ("wait", number),
}
CONSUL_PORTS = (8500, 8501)
"""Of agents, for http and https."""
_EVERY: Known = {"every": ("every", number)}


def _dns(target: TargetText) -> Discovery:
    name, servers = _named(target, "dns://orders.internal:8080")
    host, colon, port = name.text.rpartition(":")
    if not colon or not host:
        raise target.wrong(
            f"a dns target has a name and a port: dns://{name.text.partition(':')[0] or 'orders'}:8080", name
        )
    if not (port.isascii() and port.isdigit() and len(port) < 6):
        raise target.wrong("the port is a number from 1 to 65535", name)
    return build(
        target, {"nameserver": target.authority, "": name}, _searching(Dns), _DNS, host, int(port), **_servers(servers)
    )


def _srv(target: TargetText) -> Discovery:
    name, servers = _named(target, "dns+srv://_http._tcp.orders.example")
    if ":" in name.text:
        raise target.wrong("a dns+srv target has no port: SRV records say it; for a host and port write dns://", name)
    return build(
        target, {"nameserver": target.authority, "": name}, _searching(DnsSrv), _SRV, name.text, **_servers(servers)
    )


def _searching(factory: Callable[..., Discovery]) -> Callable[..., Discovery]:
    """Have `search=false` search nothing; several domains are written one by one."""

    def make(*arguments: Any, search: tuple[str, ...] = ("true",), **more: Any) -> Discovery:
        switched = {"true": True, "false": False}.get(",".join(search))
        return factory(*arguments, search=search if switched is None else switched, **more)

    return make


def _servers(servers: list[Piece]) -> dict[str, Any]:
    return {"nameservers": tuple(one.text for one in servers)} if servers else {}


def _named(target: TargetText, example: str) -> tuple[Piece, list[Piece]]:
    """Return the name, and who is to be asked for it: `//who,who/name`, `///name`, `//name` or `:name`."""
    name, authority = target.name, target.authority
    if name is None:
        name, authority = authority, None
    if name is None or not name.text:
        raise target.wrong(f"a {target.scheme} target has a name: {example}", name)
    if authority is None or authority.start == authority.end:
        return name, []
    return name, authority.split(target.text)


def _consul(target: TargetText) -> Discovery:
    return _from_agents(target, Consul, _CONSUL)


def _consul_query(target: TargetText) -> Discovery:
    return _from_agents(target, ConsulQuery, {**_CONSUL_QUERY, **_EVERY})


def _from_agents(target: TargetText, factory: Callable[..., Discovery], known: Known) -> Discovery:
    name, agents = _named(target, f"{target.scheme}://orders")
    if ":" in target.text[name.start : name.end] and not agents:
        raise target.wrong(f"this names an agent and no service: {target.scheme}://{name.text}/orders", name)
    secure = target.scheme.endswith("+https")
    given = {"agent": tuple(_agent(one, secure=secure) for one in agents)} if agents else {}
    if secure and not agents:
        raise target.wrong(f"{target.scheme} is for agents that the target names: {target.scheme}://agent/orders", name)

    def make(*arguments: Any, cert: tuple[str, ...] = (), **more: Any) -> Discovery:
        return factory(*arguments, cert=(cert if len(cert) > 1 else cert[0]) if cert else None, **more)

    return build(target, {"agent": target.authority, "": name}, make, known, name.text, **given)


def _agent(piece: Piece, *, secure: bool) -> str:
    has_port = ":" in piece.text.rpartition("]")[2]
    scheme, port = ("https", CONSUL_PORTS[1]) if secure else ("http", CONSUL_PORTS[0])
    return f"{scheme}://{piece.text}" + ("" if has_port else f":{port}")


NAMES: Mapping[str, Callable[[TargetText], Discovery]] = {
    "dns": _dns,
    "dns+srv": _srv,
    "consul": _consul,
    "consul+https": _consul,
    "consul+query": _consul_query,
    "consul+query+https": _consul_query,
}
