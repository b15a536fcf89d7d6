"""The observation as text: two tables, and a line for each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TextIO

from lbkit._resolve.change import Change
from lbkit._resolve.observer import View
from lbkit.balancer.events import SourceChanged
from lbkit.balancer.stats import SourceStats
from lbkit.core.endpoint import Endpoint

SOURCE_HEADINGS = ("source", "state", "endpoints", "answered", "next query", "problem")
ENDPOINT_HEADINGS = ("endpoint", "weight", "priority", "zone", "metadata")


class PlainView:
    """Writes for people."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, view: View) -> None:
        """Write the sources and the endpoints."""
        lines = [*table(SOURCE_HEADINGS, [_source(one) for one in view.sources])] if view.sources else [view.target]
        if view.endpoints:
            lines += ["", *table(ENDPOINT_HEADINGS, [_endpoint(one) for one in view.endpoints])]
        self._write(lines)

    def tell(self, news: SourceChanged | Change, at: datetime) -> None:
        """Write what changed, a line for each endpoint or source."""
        self._write([f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  {line}" for line in _lines(news)])

    def _write(self, lines: Sequence[str]) -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"  # a pipe's may be ASCII
        for line in lines:
            self._out.write(visible(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._out.flush()


def _lines(news: SourceChanged | Change) -> Iterator[str]:
    if isinstance(news, SourceChanged):
        states = news.after.value if news.before is news.after else f"{news.before.value} -> {news.after.value}"
        problem = f": {news.problem}" if news.problem else ""
        yield f"! {news.source}  {states}, {news.endpoints} endpoints{problem}"
        return
    for one in news.added:
        _, weight, priority, zone, metadata = _endpoint(one)
        more = "".join(f", {text}" for text in (zone and f"zone {zone}", metadata) if text)
        yield f"+ {one.id}  weight {weight}, priority {priority}{more}"
    yield from (f"- {one.id}" for one in news.removed)
    for edit in news.edited:
        pairs = (f"{name} {_text(old)} -> {_text(new)}" for name, (old, new) in edit.differences.items())
        yield f"~ {edit.endpoint}  {', '.join(pairs)}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows of text in columns as wide as they need be."""
    cells = [headings, *([visible(cell) or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def visible(text: str) -> str:
    """Return the text without what would act on a terminal: a source may answer anything."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _source(one: SourceStats) -> tuple[str, ...]:
    answered = "never" if one.age_s is None else f"{one.age_s:.1f} s ago"
    again = "never" if one.next_s is None else f"in {one.next_s:.1f} s" if one.next_s else "under way"
    return one.source, one.state, str(one.endpoints), answered, again, one.problem


def _endpoint(one: Endpoint) -> tuple[str, ...]:
    metadata = "" if not one.metadata else _text(one.metadata)
    return one.id, f"{one.weight:g}", str(one.priority), one.zone, metadata


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text}" for key, text in sorted(value.items())) or "none"
    if isinstance(value, int | float):
        return f"{value:g}"
    return str(value) if value else "none"
