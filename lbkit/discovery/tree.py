"""Several sources as one: the keepers of all sources of a discovery, and the set that they make together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Combination, Discovery, Part
from lbkit.discovery.keeper import Keeper

Look = Callable[[], Part]


class Tree:
    """The machine of a discovery, be it one source or a combination of combinations.

    Attributes:
        keepers: One for each source, in the order in which they are written.
    """

    def __init__(self, discovery: Discovery, rng: Random) -> None:
        self._rng = rng
        self.keepers: list[Keeper] = []
        self._look = self._grow(discovery)

    def _grow(self, discovery: Discovery) -> Look:
        if isinstance(discovery, Combination):
            children = tuple(self._grow(one) for one in discovery.sources)
            combine = discovery.combine

            def look() -> Part:
                parts = tuple(child() for child in children)
                endpoints = combine(parts)
                return Part(endpoints, endpoints is not None or all(part.settled for part in parts))

            return look
        keeper = Keeper(discovery, self._rng)
        self.keepers.append(keeper)
        return lambda: keeper.part

    def endpoints(self) -> tuple[Endpoint, ...] | None:
        """Return the present set, None while it is not known."""
        return self._look().endpoints
