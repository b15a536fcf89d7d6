"""DNS SRV (RFC 2782): a name that says where a service is, port, priority and weight included.

SRV names targets, and targets have addresses. A good server gives the addresses in the additional section; for targets
without any there, a second query asks. An endpoint is one address of one target, and the weight of a record is divided
among the addresses of its target. Where we differ from the RFC: its weight 0 is "a very small chance" beside weights
above 0, while 0 means "gets nothing" here. So a 0 counts as a hundredth of the smallest weight beside it, and if all
weights of a priority are 0 they count as 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from ipaddress import ip_address
from random import Random

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Upkeep
from lbkit.discovery.dns.addresses import AddressBook, Addresses, shown
from lbkit.discovery.dns.options import HURRY_S, Terms, settle_terms, target_of
from lbkit.discovery.dns.records import Answer, DnsQuery, Record, Srv, by_name, chain, checked_name
from lbkit.discovery.wording import NAMED, some
from lbkit.errors import DiscoveryError

ZERO_WEIGHT_RATIO = 0.01
"""What a weight of 0 counts as, relative to the smallest weight above 0 of its priority."""
_CONSUL_ADDRESS = re.compile(r"([0-9a-f]{8}|[0-9a-f]{32})\.addr\.[a-z0-9_-]+\.consul\.")


@dataclass(frozen=True, slots=True)
class DnsSrv:
    """The targets of an SRV name. Needs dnspython: `pip install 'lbkit-client[dns]'`.

    Priorities become tiers: the next one is used when the one before has no usable endpoint. Weights become weights.
    The endpoints are addresses; the target is in their metadata, as "target". A target of "." alone says that the
    service is not offered: an empty answer.

    Args:
        name: Such as `"_http._tcp.orders.example"`. A dot at its end keeps it from being searched for.
        verify_target: Whether TLS verifies the target's name instead of the host of the URL. The name comes from DNS,
            so whoever writes there chooses it: give `allow` a suffix with it.
        nameservers, search, family, timeout, min_ttl, max_ttl, empty_grace: As in `Dns`. `timeout` is for each of two
            queries.
        allow: Networks that the addresses must be in and suffixes that the targets must have, such as
            `("10.0.0.0/8", ".svc.internal")`; everything else is dropped.

    Raises:
        ConfigError: An argument is out of range.
    """

    name: str
    _: KW_ONLY
    verify_target: bool = False
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
        object.__setattr__(self, "name", checked_name(self.name, 'DnsSrv("_http._tcp.orders.example")'))
        object.__setattr__(self, "_terms", settle_terms(self))

    @property
    def upkeep(self) -> Upkeep:
        """How it is kept."""
        return Upkeep(empty_grace=self.empty_grace, hurry_s=HURRY_S)

    def watch(self, rng: Random) -> SrvWatch:
        """Build the machine that asks."""
        return SrvWatch(self.name, self._terms, rng, verify_target=self.verify_target)

    def __str__(self) -> str:
        return target_of(self, "dns+srv", self.name)


class SrvWatch:
    """Asks for the targets, then for the addresses of those that came without."""

    __slots__ = ("_book", "_name", "_records", "_resolved", "_rng", "_terms", "_ttl", "_unresolved", "_verify_target")

    def __init__(self, name: str, terms: Terms, rng: Random, *, verify_target: bool) -> None:
        self._name = name
        self._terms = terms
        self._rng = rng
        self._verify_target = verify_target
        self._book = AddressBook()
        self._ttl = math.inf
        self._records: list[Srv] = []
        self._resolved: dict[str, Addresses] = {}
        self._unresolved: tuple[str, ...] = ()

    def query(self, now: float) -> DnsQuery:  # noqa: ARG002 - asks the same whenever it is
        """Return what to ask: the name, or the targets whose addresses are not known yet."""
        if self._unresolved:
            return self._terms.ask(self._unresolved, self._terms.kinds)
        return self._terms.ask((self._name,), ("SRV",))

    def answer(self, reply: tuple[Answer, ...], now: float) -> Found | None:  # noqa: ARG002
        """Read an answer; None where addresses have to be asked for.

        Raises:
            DiscoveryError: There is no such name, no answer, or no target that can be used.
        """
        if self._unresolved:
            answers: dict[str, list[Answer]] = {target: [] for target in self._unresolved}
            for one in reply:
                answers[one.name].append(one)
            self._resolved.update({target: self._book.read(target, said) for target, said in answers.items()})
            self._unresolved = ()
            return self._found()
        answer = reply[0]
        if answer.missing:
            raise DiscoveryError(f"{shown(self._name)}: no such name (NXDOMAIN)")
        if answer.error:
            raise DiscoveryError(f"{shown(self._name)}: {answer.error}")
        self._ttl = answer.ttl
        self._records = [one.data for one in answer.found if isinstance(one.data, Srv)]
        targets = dict.fromkeys(one.target for one in self._records if one.port and one.target != ".")
        self._book.forget_others(targets)
        additional = by_name(answer.additional)
        unresolved = []
        for target in targets:
            resolved = self._without_asking(target, chain(additional, target))
            if resolved is None:
                unresolved.append(target)
            else:
                self._resolved[target] = resolved
        self._unresolved = tuple(unresolved)
        return None if unresolved else self._found()

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Begin with the name again."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._ttl = math.inf
        self._records = []
        self._resolved = {}
        self._unresolved = ()

    def _without_asking(self, target: str, given: tuple[Record, ...]) -> Addresses | None:
        """Read the addresses of a target from what came along, or from its name; None where it has to be asked for."""
        kinds = self._terms.kinds
        given = given or _in_consuls_name(target)
        if not any(one.kind in kinds for one in given):
            return None
        answers = [Answer(target, kind, tuple(one for one in given if one.kind in (kind, "CNAME"))) for kind in kinds]
        told = [one for one in answers if one.found]
        # The additional section may be cut to fit: a kind of address that the target had before is asked for.
        if any(not one.found and self._book.knows(target, one.kind) for one in answers):
            return None
        return self._book.read(target, told)

    def _found(self) -> Found:
        records, resolved, ttl = self._records, self._resolved, self._ttl
        self._begin_anew()
        problems = list(dict.fromkeys(one.problem for one in resolved.values() if one.problem))
        if len(problems) > NAMED:
            problems[NAMED:] = [f"trouble with {len(problems) - NAMED} more targets"]
        usable = [one for one in records if one.port and one.target != "." and resolved[one.target].addresses]
        problems += _refused(records, resolved)
        endpoints, dropped = self._terms.allow.sift(self._endpoints(usable, resolved), label="target")
        if not endpoints:
            problem = self._emptiness(records, problems)
            return Found((), self._terms.ask_again_s(ttl, self._rng, unsure=True), problem)
        ttl = min([ttl, *(one.ttl for one in resolved.values())])
        ask_again_s = self._terms.ask_again_s(ttl, self._rng, unsure=any(one.problem for one in resolved.values()))
        return Found(endpoints, ask_again_s, "; ".join(filter(None, [*problems, dropped])))

    def _emptiness(self, records: list[Srv], problems: list[str]) -> str:
        """Say why there is no endpoint, if that is what DNS says, and raise where it is not."""
        if not records:
            return f"{shown(self._name)} has no SRV records"
        if all(one.target == "." for one in records):
            return f"{shown(self._name)}: the service is decidedly not offered here (its SRV target is '.')"
        raise DiscoveryError(f"{shown(self._name)}: none of its targets can be used: {'; '.join(problems)}")

    def _endpoints(self, records: list[Srv], resolved: dict[str, Addresses]) -> list[Endpoint]:
        weights = _weights(records)
        merged: dict[str, Endpoint] = {}
        for one, weight in sorted(
            zip(records, weights, strict=True), key=lambda pair: (pair[0].priority, pair[0].target)
        ):
            addresses = resolved[one.target].addresses
            for address in addresses:
                endpoint = Endpoint(
                    host=address,
                    port=one.port,
                    weight=weight / len(addresses),
                    priority=one.priority,
                    server_name=shown(one.target) if self._verify_target else None,
                    metadata={"target": shown(one.target)},
                )
                same = merged.setdefault(endpoint.id, endpoint)
                if same is not endpoint and same.priority == endpoint.priority:
                    merged[endpoint.id] = replace(same, weight=same.weight + endpoint.weight)
        return sorted(merged.values(), key=lambda one: one.id)


def _in_consuls_name(target: str) -> tuple[Record, ...]:
    """Return the address that Consul wrote into a name of its own, such as 7f000001.addr.dc1.consul."""
    match = _CONSUL_ADDRESS.fullmatch(target)
    if match is None:
        return ()
    ip = ip_address(bytes.fromhex(match[1]))
    return (Record(target, "A" if ip.version == 4 else "AAAA", math.inf, str(ip)),)


def _weights(records: list[Srv]) -> list[float]:
    """Return the weights of records, none of them 0."""
    smallest: dict[int, int] = {}
    for one in records:
        if one.weight:
            smallest[one.priority] = min(one.weight, smallest.get(one.priority, one.weight))
    return [
        float(one.weight) or (ZERO_WEIGHT_RATIO * smallest[one.priority] if one.priority in smallest else 1.0)
        for one in records
    ]


def _refused(records: list[Srv], resolved: dict[str, Addresses]) -> list[str]:
    """Say which records are of no use."""
    problems = []
    without_port = [shown(one.target) for one in records if not one.port and one.target != "."]
    if without_port:
        problems.append(f"port 0 is none: {some(without_port)}")
    if any(one.target == "." for one in records) and any(one.target != "." for one in records):
        problems.append("a target of '.' beside others is ignored")
    # Of those that could not be asked the error is told already.
    without_address = [shown(name) for name, one in resolved.items() if not one.addresses and not one.problem]
    if without_address:
        problems.append(f"without an address: {some(without_address)}")
    return problems
