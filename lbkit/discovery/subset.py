"""A part of many endpoints, so that each of many clients holds connections to few, and each endpoint has its share.

Rendezvous hashing, as in gRFC A68 (random_subsetting): each client ranks the endpoints by a hash of its seed and the
address, and takes the best. No client needs to know of the others; who joins or leaves moves at most one place of a
subset. The price is that endpoints have unequal numbers of clients: with 300 clients that take 30 of 300 each, from
about 60 % to 150 % of the mean. A68 ranks all endpoints together; we rank each priority tier on its own, for a subset
without a standby would be none. An endpoint of weight 0 gets a place only if the others do not fill them.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Discovery, Part
from lbkit.discovery.target.target import as_discovery
from lbkit.errors import ConfigError

_PROCESS = os.urandom(16)


class Subset:
    """At most `size` endpoints of each priority of a source.

    If all of a subset fail, the other endpoints are not used: choose a size that makes this unlikely, 20 rather than 3.

    Args:
        source: A source, a combination, a target string or a list of endpoints.
        size: How many of each priority, at least 1. A tier of fewer endpoints is taken whole.
        seed: A text or a whole number that tells this client from the others, such as the name of its host, so that a
            restart takes the same endpoints. By default one at random for each process, forked ones included.

    Raises:
        ConfigError: An argument is wrong.
    """

    __slots__ = ("seed", "size", "sources")

    def __init__(self, source: Any, size: int, *, seed: str | int | None = None) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"Subset: size must be a whole number of endpoints, at least 1, not {size!r}")
        if isinstance(seed, bool) or not isinstance(seed, str | int | None):
            raise ConfigError(f"Subset: seed must be a text or a whole number, not {seed!r}")
        self.sources: tuple[Discovery, ...] = (as_discovery(source),)
        self.size = size
        self.seed = seed

    def combine(self, parts: tuple[Part, ...]) -> tuple[Endpoint, ...] | None:
        """Return the client's part, in the source's order."""
        (part,) = parts
        if part.endpoints is None:
            return None
        key = self._key()
        tiers: dict[int, list[Endpoint]] = {}
        for one in part.endpoints:
            tiers.setdefault(one.priority, []).append(one)
        chosen: set[str] = set()
        for tier in tiers.values():
            tier.sort(key=lambda one: (one.weight == 0, _rank(key, one)))
            chosen.update(one.id for one in tier[: self.size])
        return tuple(one for one in part.endpoints if one.id in chosen)

    def _key(self) -> bytes:
        if self.seed is not None:
            return blake2b(f"{type(self.seed).__name__} {self.seed}".encode(), digest_size=32).digest()
        return blake2b(b"%d" % os.getpid(), key=_PROCESS, digest_size=32).digest()

    def __str__(self) -> str:
        return f"subset({self.sources[0]}, {self.size})"

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed!r}"
        return f"Subset({self.sources[0]!r}, {self.size}{seed})"


def _rank(key: bytes, endpoint: Endpoint) -> bytes:
    return blake2b(endpoint.id.encode("utf-8", "surrogateescape"), key=key, digest_size=8).digest()
