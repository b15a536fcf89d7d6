"""The demo as lines of text, for files and pipes; and the view that shows nothing, for machines."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from lbkit._demo.frame import SCORE_HEADINGS, Frame, Report

STATUS_EVERY_S = 2.0
WIDTHS = (20, 9, 8, 9, 9, 15)


class SilentView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def opening(self, settings: Sequence[str]) -> None:
        """Show nothing."""

    def show(self, frame: Frame) -> None:
        """Show nothing."""

    def ending(self, report: Report) -> None:
        """Show nothing."""


class PlainView(SilentView):
    """Writes a line for all that happens, and the scores every two seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told = 0
        self._next_status_s = STATUS_EVERY_S

    def opening(self, settings: Sequence[str]) -> None:
        """Write the settings."""
        self._write(*settings, "")

    def show(self, frame: Frame) -> None:
        """Write what is new."""
        for at, text in frame.lines[self._told :]:
            self._write(f"{at:6.1f} s  {text}")
        self._told = len(frame.lines)
        if frame.elapsed_s >= self._next_status_s:
            self._next_status_s += STATUS_EVERY_S
            scores = "; ".join(f"{one.client} {one.requests} requests, {one.failed} failed" for one in frame.scores)
            self._write(f"{frame.elapsed_s:6.1f} s  {scores}")

    def ending(self, report: Report) -> None:
        """Write the comparison and what was seen."""
        self._write("")
        for cells in (SCORE_HEADINGS, *(score.cells() for score in report.scores)):
            columns = zip(cells, WIDTHS, strict=True)
            self._write(
                "".join(f"{text:>{width}}" if i else f"{text:<{width}}" for i, (text, width) in enumerate(columns))
            )
        self._write("", report.verdict(), *report.words, *(f"Failure: {note}" for note in report.notes))

    def _write(self, *lines: str) -> None:
        for line in lines:
            self._out.write(f"{line}\n")
        self._out.flush()
