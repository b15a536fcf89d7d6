"""Target strings (in the making)."""

from __future__ import annotations

from collections.abc import Sequence

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Combination, Discovery, Source
from lbkit.discovery.static import Static


def as_discovery(value: str | Discovery | Sequence[str | Endpoint]) -> Discovery:
    """Return what a value says of where endpoints come from."""
    if isinstance(value, Source | Combination):
        return value
    if isinstance(value, str):
        return Static(*value.removeprefix("static://").split(","))
    return Static(*value)
