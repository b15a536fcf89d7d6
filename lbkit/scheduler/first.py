"""First: the first usable endpoint of the list takes everything, the next one only what does not fit.

It is how active/passive pairs are run, and how HAProxy's `balance first` packs load onto few servers so that the rest
may sleep. HAProxy orders by server id and fills to `maxconn`; here the order is that of the list, the fill is `limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lbkit.core.pick import PickInfo
from lbkit.errors import ConfigError
from lbkit.scheduler.base import Node, Picker, untried


@dataclass(frozen=True, slots=True)
class First:
    """Take the first endpoint of the list that has room. By name: "first".

    Args:
        limit: Requests in flight at which an endpoint counts as full, at least 1; None (the default) is no limit.
            Where all are full the one with the fewest in flight is taken.

    Raises:
        ConfigError: `limit` is below 1.
    """

    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"First: limit must be at least 1, or None for no limit, not {self.limit!r}")

    def build(self, rng: Random) -> Picker:  # noqa: ARG002
        """Make the picker."""
        return _FirstPicker(self.limit)


class _FirstPicker:
    __slots__ = ("_limit", "_ready")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def rebuild(self, ready: Sequence[Node], now: float) -> None:  # noqa: ARG002
        self._ready = ready

    def pick(self, info: PickInfo, now: float) -> Node:  # noqa: ARG002
        nodes = untried(self._ready, info)
        if self._limit is None:
            return nodes[0]
        for node in nodes:
            if node.in_flight < self._limit:
                return node
        return min(nodes, key=lambda node: node.in_flight)
