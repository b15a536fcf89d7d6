"""What both DNS sources have in common: how to ask, and when to ask again.

An answer is asked for again ahead of its expiry, after 80 to 95 % of the smallest TTL of its whole chain, at random, so
that clients that began together part. The TTL counts as no less than a floor and no more than a ceiling. Near the floor
the random part comes on top of it: nothing is asked more often than the floor says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from ipaddress import ip_address
from random import Random
from typing import Any

from lbkit.discovery.allow import Allow
from lbkit.discovery.checks import check_limit, check_pause, read_texts
from lbkit.discovery.dns.records import DnsQuery, checked_name
from lbkit.discovery.target.text import spell
from lbkit.errors import ConfigError

AHEAD_RATIO = 0.80
SPREAD_RATIO = 0.15
UNSURE_S = 5.0
"""Longest time, in seconds, until a source is asked again that answered nothing, or answered in part."""
HURRY_S = 1.0
"""After connections failed DNS is asked at once, but at most once in so many seconds."""
PORT = 53


_NAMESERVER = re.compile(r"(?:\[(?P<six>[^]]+:[^]]+)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
_KINDS = {None: ("A", "AAAA"), 4: ("A",), 6: ("AAAA",)}


@dataclass(frozen=True, slots=True)
class Terms:
    """The options of a DNS source, read.

    Attributes:
        kinds: The kinds of addresses to ask for.
    """

    nameservers: tuple[tuple[str, int], ...]
    search: tuple[str, ...] | None
    kinds: tuple[str, ...]
    timeout: float
    min_ttl: float
    max_ttl: float
    allow: Allow

    def ask(self, names: tuple[str, ...], kinds: tuple[str, ...]) -> DnsQuery:
        """Return the query for names."""
        return DnsQuery(names, kinds, self.nameservers, self.search, self.timeout)

    def ask_again_s(self, ttl: float, rng: Random, *, unsure: bool = False) -> float:
        """Return seconds until an answer of this TTL is asked for again."""
        ttl = min(max(ttl, self.min_ttl), self.max_ttl)
        if unsure:
            ttl = min(ttl, max(UNSURE_S, self.min_ttl))
        spread = SPREAD_RATIO * rng.random()
        return max(ttl * (AHEAD_RATIO + spread), self.min_ttl * (1.0 + spread))


def target_of(config: Any, scheme: str, name: str) -> str:
    """Return the target string of a `Dns` or `DnsSrv`: with all that was given, so that two are told apart."""
    choices = [one for one in fields(config) if one.default is not MISSING and one.name != "nameservers"]
    given = {one.name: value for one in choices if (value := getattr(config, one.name)) != one.default}
    options = {key: "false" if value is False else value for key, value in given.items()}
    target = spell(scheme, ",".join(config.nameservers), name, options)
    return target if config.nameservers else target.replace(":///", "://", 1)


def settle_terms(config: Any) -> Terms:
    """Read the options of a `Dns` or `DnsSrv`, and make tuples of its lists, so that it can be hashed.

    Raises:
        ConfigError: One is out of range.
    """
    what = type(config).__name__
    nameservers = read_texts(f"{what}: nameservers", config.nameservers, 'nameservers=("10.0.0.2", "10.0.0.3:5353")')
    if isinstance(config.search, str) or not isinstance(config.search, bool | Iterable):
        raise ConfigError(f'{what}: search is True, False or a tuple of domains: search=("svc.internal",)')
    if config.family not in _KINDS:
        raise ConfigError(f"{what}: family must be 4, 6 or None for both, not {config.family!r}")
    check_pause(f"{what}: timeout", config.timeout)
    check_pause(f"{what}: min_ttl", config.min_ttl)
    check_pause(f"{what}: max_ttl", config.max_ttl)
    if config.min_ttl > config.max_ttl:
        raise ConfigError(f"{what}: max_ttl must be at least min_ttl, which is {config.min_ttl:g} s")
    check_limit(f"{what}: empty_grace", config.empty_grace)
    allow = Allow.of(config.allow)
    servers = tuple(_nameserver(one, what) for one in nameservers)
    search = config.search
    domains: tuple[str, ...] | None
    if isinstance(search, bool):
        domains = None if search and not servers else ()
    else:
        search = tuple(search)
        domains = tuple(checked_name(one, f"{what}, search") for one in search)
        object.__setattr__(config, "search", search)
    object.__setattr__(config, "nameservers", nameservers)
    object.__setattr__(config, "allow", allow.texts)
    return Terms(servers, domains, _KINDS[config.family], config.timeout, config.min_ttl, config.max_ttl, allow)


def _nameserver(text: str, what: str) -> tuple[str, int]:
    problem = (
        f"{what}: a nameserver is an address, with a port if that is not {PORT}: 10.0.0.2, 10.0.0.2:5353 or [::1]:5353"
    )
    match = _NAMESERVER.fullmatch(text)
    try:
        address = ip_address(match["six"] or match["four"] if match else text)
    except ValueError:
        raise ConfigError(f"{problem}; not {text!r}") from None
    port = int(match["port"] or PORT) if match else PORT
    if not 1 <= port <= 65535:
        raise ConfigError(f"{problem}; not {text!r}")
    return str(address), port
