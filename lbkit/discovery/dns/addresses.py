"""The addresses of names, with a memory: half an answer must not remove half of the endpoints.

A and AAAA are two questions, and one of them may fail while the other is answered. What was last known of the kind that
failed stays in use then, and the problem says so. Where nothing was known of it, the kind that was answered is used
alone: some networks never answer for AAAA, and the endpoints that are known are better than none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from lbkit.discovery.dns.records import Answer, Record
from lbkit.discovery.wording import still_used


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one name.

    Attributes:
        addresses: IP literals, each once, sorted.
        ttl: The smallest TTL of what led to them, in seconds; `inf` where nothing did.
        problem: What is wrong with them.
        error: Why nothing could be asked; `addresses` are then what was known before.
        missing: The name does not exist.
    """

    addresses: tuple[str, ...]
    ttl: float = math.inf
    problem: str = ""
    error: str = ""
    missing: bool = False


class AddressBook:
    """Reads answers, and remembers them for the time when there is none."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def knows(self, name: str, kind: str) -> bool:
        """Whether the name had addresses of that kind."""
        return bool(self._known.get((name, kind)))

    def forget_others(self, names: Iterable[str]) -> None:
        """Forget all names but these."""
        kept = set(names)
        self._known = {key: known for key, known in self._known.items() if key[0] in kept}

    def read(self, name: str, answers: Iterable[Answer]) -> Addresses:
        """Return the addresses of a name from the answers for its kinds."""
        answers = tuple(answers)
        # Some servers deny the whole name where only one kind of address is missing; data proves that it exists.
        has_data = any(one.found for one in answers)
        if not has_data and any(one.missing for one in answers):
            self._known = {key: known for key, known in self._known.items() if key[0] != name}
            return Addresses((), missing=True)
        errors = [one for one in answers if one.error]
        addresses: set[str] = set()
        problems: list[str] = []
        for one in answers:
            key = name, one.kind
            if one.error:
                kept = self._known.get(key, ())
                fate = still_used(len(kept)) if kept else "there are none"
                problems.append(f"{one.kind} of {shown(name)}: {one.error}; {fate}")
            else:
                kept, refused = _usable(one.found)
                self._known[key] = kept
                if refused:
                    problems.append(f"{shown(name)}: {', '.join(refused)} cannot be connected to")
            addresses.update(kept)
        ttl = min((one.ttl for one in answers if not one.error), default=math.inf)
        error = f"{shown(name)}: {errors[0].error}" if len(errors) == len(answers) else ""
        return Addresses(tuple(sorted(addresses)), ttl, "; ".join(problems), error)


def shown(name: str) -> str:
    """Return a name as people write it, without the dot of the root."""
    return name.rstrip(".") or "."


def _usable(records: tuple[Record, ...]) -> tuple[tuple[str, ...], list[str]]:
    usable: dict[str, None] = {}
    refused: list[str] = []
    for one in records:
        ip = ip_address(str(one.data))
        # What filters answer for blocked names; a connection to it would reach this very host.
        target = getattr(ip, "ipv4_mapped", None) or ip
        if target.is_unspecified or target.is_multicast:
            refused.append(str(ip))
        else:
            usable[str(ip)] = None
    return tuple(usable), refused
