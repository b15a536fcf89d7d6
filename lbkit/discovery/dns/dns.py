"""All addresses of a name: what DNS round robin should have been.

A plain client takes one address of several and stays with it. Here every address is an endpoint: requests are balanced
over all of them, changes are followed, and a dead one is avoided like any other dead endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import ip_address
from random import Random

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Upkeep
from lbkit.discovery.checks import check_port
from lbkit.discovery.dns.addresses import AddressBook, shown
from lbkit.discovery.dns.options import HURRY_S, Terms, settle_terms, target_of
from lbkit.discovery.dns.records import Answer, DnsQuery, checked_name
from lbkit.errors import ConfigError, DiscoveryError


@dataclass(frozen=True, slots=True)
class Dns:
    """All A and AAAA addresses of a name, with one port. Needs dnspython: `pip install 'lbkit-client[dns]'`.

    The endpoints are addresses; the name is in their metadata, as "name". The name is asked for again ahead of the
    expiry of what was answered, and at once (at most once a second) when connections fail. If only one of A and AAAA
    can be asked, the last known addresses of the other stay in use.

    Args:
        host: The name. A dot at its end keeps it from being searched for.
        port: 1 to 65535.
        nameservers: Addresses to ask instead of those of the system: `"10.0.0.2"`, `"10.0.0.2:5353"`, `"[::1]:5353"`.
        search: Domains to look for the name in; True for those of the system (`search` in /etc/resolv.conf), and for
            none where `nameservers` are given, for these know nothing of the system's domains.
        family: 4 or 6 for one kind of address alone. Both are asked for by default.
        timeout: Seconds for one answer, all servers and repetitions included; 5 as in the system's resolver.
        min_ttl, max_ttl: What a TTL counts as at least and at most, in seconds. 1 s by default, which bounds the
            questions where servers say 0; 300 s, for a TTL of days is a mistake that would hide changes.
        empty_grace: Seconds to keep the last good endpoints when the name has no addresses any more; see `Upkeep`. A
            name that does not exist any more (NXDOMAIN) is a failure of the source and not an empty answer.
        allow: Networks that the addresses must be in, such as `"10.0.0.0/8"`; everything else is dropped.

    Raises:
        ConfigError: An argument is out of range.
    """

    host: str
    port: int
    _: KW_ONLY
    nameservers: Sequence[str] = ()
    search: bool | Sequence[str] = True
    family: int | None = None
    timeout: float = 5.0
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    empty_grace: float = math.inf
    allow: Sequence[str] = ()
    _terms: Terms = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        host = checked_name(self.host, f'{type(self).__name__}("orders.internal", 8080)')
        if host.rstrip(".").rpartition(".")[2].isdigit():
            try:
                ip_address(host)
            except ValueError:
                raise ConfigError(f"Dns: {self.host!r} ends in digits, as no name does, and is no address") from None
            raise ConfigError(
                f"Dns: {self.host!r} is an address and needs no DNS: write Static('{self.host}:{self.port}')"
            )
        check_port("Dns: port", self.port)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "_terms", settle_terms(self))

    @property
    def upkeep(self) -> Upkeep:
        """How it is kept."""
        return Upkeep(empty_grace=self.empty_grace, hurry_s=HURRY_S)

    def watch(self, rng: Random) -> DnsWatch:
        """Build the machine that asks."""
        return DnsWatch(self.host, self.port, self._terms, rng)

    def __str__(self) -> str:
        return target_of(self, "dns", f"{self.host}:{self.port}")


class DnsWatch:
    """Asks for the addresses of one name. Each question stands for itself; only the addresses are remembered."""

    __slots__ = ("_book", "_host", "_port", "_rng", "_terms")

    def __init__(self, host: str, port: int, terms: Terms, rng: Random) -> None:
        self._host = host
        self._port = port
        self._terms = terms
        self._rng = rng
        self._book = AddressBook()

    def query(self, now: float) -> DnsQuery:  # noqa: ARG002 - asks the same whenever it is
        """Return the question."""
        return self._terms.ask((self._host,), self._terms.kinds)

    def answer(self, reply: tuple[Answer, ...], now: float) -> Found:  # noqa: ARG002
        """Read the answers for both kinds of addresses.

        Raises:
            DiscoveryError: There is no such name, neither kind could be asked, or no address may be used.
        """
        found = self._book.read(self._host, reply)
        if found.missing:
            raise DiscoveryError(f"{shown(self._host)}: no such name (NXDOMAIN)")
        if found.error:
            raise DiscoveryError(found.error)
        labels = {"name": shown(self._host)}
        endpoints = [Endpoint(host=one, port=self._port, metadata=labels) for one in found.addresses]
        if not endpoints and found.problem:
            raise DiscoveryError(found.problem)
        kept, dropped = self._terms.allow.sift(sorted(endpoints, key=lambda one: one.id))
        problem = "; ".join(filter(None, (found.problem, dropped)))
        if not kept:
            problem = f"{shown(self._host)} has no addresses"
        ask_again_s = self._terms.ask_again_s(found.ttl, self._rng, unsure=not kept or bool(found.problem))
        return Found(kept, ask_again_s, problem)

    def failed(self, now: float) -> None:
        """Nothing was begun that could be in the way of the next question."""
