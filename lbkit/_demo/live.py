"""The demo on a terminal: a table that is redrawn in place, then the comparison. Needs rich."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lbkit._demo.frame import SCORE_HEADINGS, Frame, Report, Row, Score, milliseconds

COLUMNS = (
    ("replica", "left", 7), ("state and reason", "left", 24), ("share", "right", 5), ("in flight", "right", 6),
    ("latency", "right", 7), ("failures", "right", 8), ("done by the demo", "left", 16),
)  # fmt: skip


STYLES = {"ready": "green", "ready, avoided": "yellow", "half_open": "yellow"}
"""By state; all else is red."""


class LiveView:
    """Draws on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def opening(self, settings: Sequence[str]) -> None:
        """Print the settings, and begin to draw below them."""
        for line in settings:
            self._console.print(Text(line, style="dim"), no_wrap=True, overflow="ellipsis")
        self._live.start()

    def show(self, frame: Frame) -> None:
        """Draw a moment in place of the last."""
        self._live.update(picture(frame), refresh=True)

    def ending(self, report: Report) -> None:
        """Print the comparison and what was seen, in place of the last moment."""
        self._live.stop()
        self._console.print("", comparison(report.scores), "", Text(report.verdict(), style="bold"), sep="\n")
        for line in report.words:
            self._console.print(Text(line))
        for note in report.notes:
            self._console.print(Text(f"Failure: {note}", style="red"))


def picture(frame: Frame) -> RenderableType:
    """Lay out one moment for 80 columns."""
    head = Text("\n")
    head.append(f"{frame.elapsed_s:4.1f} of {frame.seconds:.0f} s", style="bold")
    head.append(f"   {frame.rate:g} requests/s each   now: ")
    head.append(f"{frame.happening}\n", style="bold" if any(row.hurt for row in frame.rows) else "")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading, justify, width in COLUMNS:
        table.add_column(heading, justify=justify, width=width, no_wrap=heading != "in flight")  # type: ignore[arg-type]
    for row in frame.rows:
        table.add_row(*cells(row))
    return Group(head, table, "", comparison(frame.scores), Text("\nCtrl-C ends it", style="dim"))


def cells(row: Row) -> tuple[Text, ...]:
    """Write one replica's row."""
    style = STYLES.get(row.state, "red")
    numbers = (f"{row.share:.0%}".replace("%", " %"), str(row.in_flight), milliseconds(row.latency_ms))
    return (
        Text(row.replica),
        Text(row.state, style=style),
        *(Text(number) for number in numbers),
        Text(str(row.failures)),
        Text(row.deed, style="bold" if row.hurt else ""),
    )


def comparison(scores: Sequence[Score]) -> Table:
    """Set the applications' scores side by side."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for index, heading in enumerate(SCORE_HEADINGS):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for score in scores:
        client, requests, failed, *rest = score.cells()
        table.add_row(client, requests, Text(failed, style="bold red" if score.failed else "bold green"), *rest)
    return table
