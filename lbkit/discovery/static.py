"""Static membership: the endpoints are written down."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.discovery.base import Found
from lbkit.errors import ConfigError


class Static:
    """A fixed list of endpoints.

    Args:
        targets: `Endpoint`s, or texts that `Endpoint.parse` reads: `"10.0.0.1:8080"`, `"http://orders-1"`,
            `"[::1]:8080"`, `"unix:/run/orders.sock"`. Use `Endpoint.parse("a:80", weight=2, zone="eu-1")` for
            weights, priorities, zones and metadata.

    Raises:
        ConfigError: No endpoint, a target that cannot be read, or one address given twice.
    """

    __slots__ = ("snapshot",)

    def __init__(self, *targets: str | Endpoint) -> None:
        if not targets:
            raise ConfigError('Static needs at least one endpoint: Static("10.0.0.1:8080", "10.0.0.2:8080")')
        endpoints = [_endpoint(one, index, len(targets)) for index, one in enumerate(targets)]
        self.snapshot = Snapshot.of(endpoints)
        if len(self.snapshot.endpoints) < len(endpoints):
            twice, _ = Counter(one.id for one in endpoints).most_common(1)[0]
            raise ConfigError(f"Static: {twice} is given twice; to send it more, give it a weight")

    def watch(self, rng: Random) -> Static:  # noqa: ARG002 - nothing here is random
        """Return itself: it is its own machine, for nothing about it changes."""
        return self

    def query(self, now: float) -> None:
        """Nothing has to be asked."""

    def answer(self, reply: object, now: float) -> Found:  # noqa: ARG002
        """Return the endpoints."""
        return Found(self.snapshot.endpoints, math.inf)

    def failed(self, now: float) -> None:
        """Cannot happen."""

    def __str__(self) -> str:
        return "static"

    def __repr__(self) -> str:
        return f"Static({', '.join(repr(one.id) for one in self.snapshot.endpoints)})"


def _endpoint(target: str | Endpoint, index: int, count: int) -> Endpoint:
    if isinstance(target, Endpoint):
        return target
    try:
        return Endpoint.parse(target)
    except ConfigError as error:
        if count == 1:
            raise
        raise ConfigError(f"item {index} of the list: {error}") from None
