"""What differs between two memberships, as values that the views write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from lbkit.core.endpoint import Endpoint

_COMPARED = tuple(field.name for field in fields(Endpoint) if field.name not in ("host", "port", "path", "id"))
"""What may change while the address, and so the endpoint, stays."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An endpoint that stayed and is described in another way.

    Attributes:
        differences: By name of the attribute: what it was, and what it is.
    """

    endpoint: str
    differences: dict[str, tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a membership. It is false where nothing did; the order of the endpoints is nothing."""

    added: tuple[Endpoint, ...]
    removed: tuple[Endpoint, ...]
    edited: tuple[Edit, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited)


def change(before: Iterable[Endpoint], after: Iterable[Endpoint]) -> Change:
    """Compare two memberships by the addresses in them."""
    old, new = ({one.id: one for one in side} for side in (before, after))
    return Change(
        tuple(one for one in new.values() if one.id not in old),
        tuple(one for one in old.values() if one.id not in new),
        tuple(_edit(old[one.id], one) for one in new.values() if one.id in old and old[one.id] != one),
    )


def _edit(before: Endpoint, after: Endpoint) -> Edit:
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _COMPARED}
    return Edit(after.id, {name: pair for name, pair in pairs.items() if pair[0] != pair[1]})
