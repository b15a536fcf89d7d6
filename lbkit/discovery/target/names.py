"""Target strings that name something which others are asked for: DNS and Consul."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
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
NAMESERVER = "nameserver"
CONSUL_PORTS = (8500, 8501)
"""Of agents, for http and https."""
_EVERY: Known = {"every": ("every", number)}


def _dns(target: TargetText) -> Discovery:
    name, servers = _named(target, NAMESERVER, "dns://orders.internal:8080")
    host, colon, port = name.text.rpartition(":")
    for found, its_port in ((address_of(host), port), (address_of(name.text), "")):
        if found:
            raise target.wrong(
                f"an address needs no DNS: write {found}:{its_port if _is_port(its_port) else 8080}", name
            )
    if not colon or not host:
        raise target.wrong(
            f"a dns target has a name and a port: dns://{name.text.partition(':')[0] or 'orders'}:8080", name
        )
    if not _is_port(port, most=99999):
        raise target.wrong("the port is a number from 1 to 65535", name)
    return build(
        target, {"nameserver": target.authority, "": name}, _searching(Dns), _DNS, host, int(port), **_servers(servers)
    )


def _is_port(text: str, *, most: int = 65535) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most


def address_of(text: str) -> str:
    """Return an address as it is written before a port, empty for what is none."""
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


def _srv(target: TargetText) -> Discovery:
    name, servers = _named(target, NAMESERVER, "dns+srv://_http._tcp.orders.example")
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


def _named(target: TargetText, who: str, example: str) -> tuple[Piece, list[Piece]]:
    """Return the name, and who is to be asked for it: `//who,who/name`, `///name`, `//name` or `:name`."""
    name, authority = target.name, target.authority
    if name is None:
        name, authority = authority, None
    elif authority is not None and _is_name(authority.text) and (not name.text or who == NAMESERVER):
        alone = f"{target.scheme}://{authority.text}"
        if target.scheme == "dns" and ":" not in alone[6:]:
            alone += ":8080"
        raise target.wrong(
            f"between // and / stands the {who} that is asked: without one write {alone}, and nothing behind it",
            Piece("", name.start - 1, name.end),
        )
    if name is None or not name.text:
        raise target.wrong(f"a {target.scheme} target has a name: {example}", name)
    if authority is None or authority.start == authority.end:
        return name, []
    return name, authority.split(target.text)


def _is_name(authority: str) -> bool:
    """Say whether this is a name, with a port or without, and no list of addresses."""
    host = authority.partition(":")[0]
    return bool(host) and "[" not in host and "," not in host and not address_of(host)


def _consul(target: TargetText) -> Discovery:
    return _from_agents(target, Consul, _CONSUL)


def _consul_query(target: TargetText) -> Discovery:
    return _from_agents(target, ConsulQuery, {**_CONSUL_QUERY, **_EVERY})


def _from_agents(target: TargetText, factory: Callable[..., Discovery], known: Known) -> Discovery:
    secure = target.scheme.endswith("+https")
    _check_service(target, secure=secure)
    name, agents = _named(target, "agent", f"{target.scheme}://orders")
    given = {"agent": tuple(_agent(one, secure=secure) for one in agents)} if agents else {}
    if secure and not agents:
        raise target.wrong(f"{target.scheme} is for agents that the target names: {target.scheme}://agent/orders", name)

    def make(*arguments: Any, cert: tuple[str, ...] = (), **more: Any) -> Discovery:
        return factory(*arguments, cert=(cert if len(cert) > 1 else cert[0]) if cert else None, **more)

    return build(target, {"agent": target.authority, "": name}, make, known, name.text, **given)


def _check_service(target: TargetText, *, secure: bool) -> None:
    """Refuse the address of an agent in place of a service, and the path of a URL."""
    name, authority = target.name, target.authority
    if name is None or not name.text:
        name, authority = authority, None
    written = target.text[name.start : name.end] if name is not None else ""
    if not (authority and authority.text) and (":" in written or (secure and written and target.name is not None)):
        by_name = f"{target.scheme}://{written.partition(':')[0]}, or " if _is_name(written) and not secure else ""
        raise target.wrong(
            f"this names an agent and no service: write {by_name}{target.scheme}://{written}/SERVICE", name
        )
    if "/" in written:
        last = written.rstrip("/").rpartition("/")[2] or "orders"
        raise target.wrong(
            f"a service has no '/' in its name: write {last} alone, or %2F for a '/' that is part of it", name
        )


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
