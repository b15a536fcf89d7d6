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
            return _Branch(discovery, tuple(self._grow(one) for one in discovery.sources)).look
        keeper = Keeper(discovery, self._rng)
        self.keepers.append(keeper)
        return lambda: keeper.part

    def endpoints(self) -> tuple[Endpoint, ...] | None:
        """Return the present set, None while it is not known."""
        return self._look().endpoints


class _Branch:
    """A combination, and what it made of its parts last.

    It is looked at after every answer of every source, and few of them change anything.
    """

    def __init__(self, combination: Combination, children: tuple[Look, ...]) -> None:
        self._combination = combination
        self._children = children
        self._parts: tuple[Part, ...] = ()
        self._made: Part | None = None

    def look(self) -> Part:
        parts = tuple(child() for child in self._children)
        if self._made is None or parts != self._parts:
            endpoints = self._combination.combine(parts)
            known = endpoints is not None or all(part.settled for part in parts)
            self._parts, self._made = parts, Part(endpoints, known)
        return self._made
