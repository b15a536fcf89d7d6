"""Finds the line of a value in a JSON or TOML document that is well-formed, for messages.

The parsers of the standard library tell places only for broken syntax. So the way to the value is walked once more,
which costs something only when something is wrong.
"""

from __future__ import annotations

import json
import re
from itertools import islice

Way = tuple[str | int, ...]
"""Keys and indexes from the root."""

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def line_in_json(text: str, way: Way) -> int | None:
    """Return the line, from 1, at which the value begins; None where it cannot be found."""
    try:
        begin = value = _skip(text, text.startswith("\ufeff"))
        for step in way:
            begin, value = _nth(text, value, step) if isinstance(step, int) else _keyed(text, value, step)
    except (ValueError, IndexError):
        return None
    return text.count("\n", 0, begin) + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _nth(text: str, at: int, index: int) -> tuple[int, int]:
    """Return where an item of the list at `at` begins: once for the line, once for what is in it."""
    at = _skip(text, at + 1)  # the bracket
    for _ in range(index):
        _, end = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, end) + 1)  # the comma
    return at, at


def _keyed(text: str, at: int, wanted: str) -> tuple[int, int]:
    """Return where a key of the object at `at` begins, and its value."""
    at = _skip(text, at + 1)  # the brace
    while True:
        key, end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, end) + 1)  # the colon
        if key == wanted:
            return at, value
        _, end = _DECODER.raw_decode(text, value)
        at = _skip(text, _skip(text, end) + 1)  # the comma


def line_in_toml(text: str, way: Way) -> int | None:
    """Return the line, from 1, where the way leads through `[[tables]]`; None where it cannot be found."""
    if not way or not isinstance(way[0], str):
        return None
    lines = text.split("\n")
    if len(way) == 1 or not isinstance(way[1], int):
        return _first(lines, _assigned(way[0]), 0)
    header = re.compile(rf"\s*\[\[\s*[\"']?{re.escape(way[0])}[\"']?\s*\]\]")
    heads = (number for number, line in enumerate(lines) if header.match(line))
    begin = next(islice(heads, way[1], None), None)
    if begin is None:
        return None
    if len(way) == 2:
        return begin + 1
    end = next(heads, len(lines))
    return _first(lines[:end], _assigned(str(way[-1])), begin) or begin + 1


def _assigned(key: str) -> re.Pattern[str]:
    return re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=|.*[.\s{{][\"']?{re.escape(key)}[\"']?\s*=")


def _first(lines: list[str], wanted: re.Pattern[str], begin: int) -> int | None:
    return next((number + 1 for number, line in enumerate(lines) if number >= begin and wanted.match(line)), None)
