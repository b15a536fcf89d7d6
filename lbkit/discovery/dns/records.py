"""What is asked of DNS and what it answers, as values: the machines read them without a DNS library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lbkit.errors import ConfigError

CHAIN_LIMIT = 8
"""Aliases (CNAME) in a row that are followed."""


@dataclass(frozen=True, slots=True)
class Srv:
    """The data of an SRV record (RFC 2782).

    Attributes:
        target: In lower case, with the dot of the root at its end.
    """

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        name: Its owner, in lower case, with the dot of the root at its end.
        kind: "A", "AAAA", "CNAME" or "SRV".
        ttl: Seconds that it may be used.
        data: An address, for a CNAME the name that it stands for, or an `Srv`.
    """

    name: str
    kind: str
    ttl: float
    data: str | Srv


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one question.

    Attributes:
        name, kind: The question, as it was asked.
        records: Those asked for, and the aliases that led to them. None of them may be there: that is "no data".
        additional: Addresses that the server gave unasked.
        missing: The name does not exist (NXDOMAIN).
        error: Why there is no answer; empty where there is one.
    """

    name: str
    kind: str
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    missing: bool = False
    error: str = ""

    @property
    def found(self) -> tuple[Record, ...]:
        """The records of the kind that was asked for."""
        return tuple(one for one in self.records if one.kind == self.kind)

    @property
    def ttl(self) -> float:
        """The smallest of the whole chain, aliases included, in seconds; `inf` without records."""
        return min((one.ttl for one in self.records), default=math.inf)


@dataclass(frozen=True, slots=True)
class DnsQuery:
    """Questions for each kind of each name; the reply is a tuple of `Answer`, in no special order.

    Attributes:
        names: A dot at the end keeps a name from being searched for.
        kinds: "A", "AAAA" or "SRV".
        nameservers: Addresses and ports; none for those of the system.
        search: Domains to look for names in; None for those of the system.
        timeout: Seconds for all of it.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    nameservers: tuple[tuple[str, int], ...]
    search: tuple[str, ...] | None
    timeout: float


def by_name(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return records by their owners."""
    found: dict[str, list[Record]] = {}
    for one in records:
        found.setdefault(one.name, []).append(one)
    return found


def chain(records: Mapping[str, list[Record]], name: str) -> tuple[Record, ...]:
    """Return what records say of a name: its own, and those of the names that it is an alias of; none in a circle."""
    found: list[Record] = []
    for _ in range(CHAIN_LIMIT):
        own = records.get(name, [])
        found += own
        aliases = [one.data for one in own if one.kind == "CNAME" and isinstance(one.data, str)]
        if not aliases:
            return tuple(found)
        name = aliases[0]
    return ()


def checked_name(text: str, what: str) -> str:
    """Return a DNS name in one spelling: ASCII, lower case; a dot at its end stays, for it means something.

    Raises:
        ConfigError: It is none. `what` says in the message whose name it is.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{what}: a name is text, not {type(text).__name__}")
    bare, dot = (text[:-1], ".") if text.endswith(".") else (text, "")
    try:
        name = bare if bare.isascii() else bare.encode("idna").decode("ascii")
    except UnicodeError:
        raise ConfigError(f"{what}: {text!r} is no valid name") from None
    labels = name.split(".")
    if len(name) > 253 or not all(0 < len(one) <= 63 for one in labels):  # RFC 1035, 2.3.4
        raise ConfigError(
            f"{what}: a name has parts of 1 to 63 letters between its dots and 253 in all, unlike {text!r}"
        )
    if any(not (one.isalnum() or one in "-_.") for one in name):
        raise ConfigError(
            f"{what}: a name has letters, digits, '-', '_' and dots, no port and no scheme, unlike {text!r}"
        )
    return name.lower() + dot
