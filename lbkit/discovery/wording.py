"""How messages name things of which there may be thousands."""

from __future__ import annotations

from collections.abc import Iterable

NAMED = 3
"""How many are named; of the others only the count is said."""


def some(texts: Iterable[str]) -> str:
    """List texts, each once, as far as a line of a log can hold them.

    >>> some(["a", "b", "a"]), some("abcde")
    ('a, b', 'a, b, c and 2 more')
    """
    unique = list(dict.fromkeys(texts))
    more = len(unique) - NAMED
    return ", ".join(unique[:NAMED]) + (f" and {more} more" if more > 0 else "")


def still_used(count: int) -> str:
    """Say that the last good endpoints are still in use."""
    return "the last one is kept" if count == 1 else f"the last {count} are kept"
