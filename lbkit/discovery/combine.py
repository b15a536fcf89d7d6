"""Several sources as one: their union, or the first of them that has something."""

from __future__ import annotations

from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Discovery, Part
from lbkit.discovery.target.target import as_discovery
from lbkit.errors import ConfigError


class Merged:
    """The endpoints of all sources together.

    An address that several give is the first one's, with its weight and labels. Nothing is known before every source
    has answered or failed once, so that a start does not send all traffic to the fastest source's endpoints; then the
    union of what is known counts, and a source that fails keeps its last good set.

    Args:
        sources: Sources, combinations, target strings or lists of endpoints.

    Raises:
        ConfigError: There is no source, or one is none of these.
    """

    __slots__ = ("sources",)

    def __init__(self, *sources: Any) -> None:
        self.sources = _sources("Merged", sources)

    def combine(self, parts: tuple[Part, ...]) -> tuple[Endpoint, ...] | None:
        """Return the union, once all have been heard; None if none of them knows anything."""
        known = [part.endpoints for part in parts if part.endpoints is not None]
        if not known or not all(part.settled for part in parts):
            return None
        union: dict[str, Endpoint] = {}
        for endpoints in known:
            for one in endpoints:
                union.setdefault(one.id, one)
        return tuple(union.values())

    def __str__(self) -> str:
        return f"merged({', '.join(map(str, self.sources))})"

    def __repr__(self) -> str:
        return f"Merged({', '.join(map(repr, self.sources))})"


class Fallback:
    """The endpoints of the first source that has any.

    All sources are followed all the time, so that the next one is there when it is needed. It is used while all before
    it have answered or failed and have no endpoints. A source that had some and then answers that it has none is empty
    only after its `empty_grace`, which by default never ends: give one to sources that may truly become empty. A source
    that fails keeps its last good set and its place. If the next one's endpoints are to be used when the first one's
    cannot be reached, use `Merged` with priorities instead.

    Args:
        sources: Sources, combinations, target strings or lists of endpoints, the preferred one first.

    Raises:
        ConfigError: There is no source, or one is none of these.
    """

    __slots__ = ("sources",)

    def __init__(self, *sources: Any) -> None:
        self.sources = _sources("Fallback", sources)

    def combine(self, parts: tuple[Part, ...]) -> tuple[Endpoint, ...] | None:
        """Return the set of the first that has endpoints; None while one before it is still to be heard."""
        for part in parts:
            if part.endpoints:
                return part.endpoints
            if not part.settled:
                return None
        return () if any(part.endpoints is not None for part in parts) else None

    def __str__(self) -> str:
        return f"fallback({', '.join(map(str, self.sources))})"

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self.sources))})"


def _sources(kind: str, sources: tuple[Any, ...]) -> tuple[Discovery, ...]:
    if not sources:
        raise ConfigError(f'{kind} needs at least one source: {kind}("consul://orders", "file:///etc/orders.json")')
    return tuple(as_discovery(one) for one in sources)
