"""One moment of the demo, and its end, as values that no longer change: what the views draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from lbkit._demo.story import Account
from lbkit._demo.traffic import Tally, percentile


@dataclass(frozen=True, slots=True)
class Row:
    """One replica at one moment: lbkit's view of it, and what the demo did to it.

    Attributes:
        state: lbkit's word for where it stands, with the time left and the cause where it is out; "ready, avoided"
            where it is in use and the scheduler has turned away from it.
        share: Its part of the last attempts, 0 to 1.
        hurt: Whether it is harmed now.
        deed: What the demo did to it last.
    """

    replica: str
    state: str
    share: float
    in_flight: int
    latency_ms: float | None
    failures: int
    hurt: bool
    deed: str


@dataclass(frozen=True, slots=True)
class Score:
    """What one application saw.

    Attributes:
        p50_ms, p99_ms: Of the time it waited for each request, failed ones included; None before the first.
        extra_attempts: Attempts beyond one for each request.
    """

    client: str
    requests: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    extra_attempts: int

    @classmethod
    def of(cls, tally: Tally, extra_attempts: int) -> Score:
        """Read a tally."""
        waits_s = sorted(tally.waits_s)
        p50_s, p99_s = percentile(waits_s, 0.50), percentile(waits_s, 0.99)
        return cls(tally.name, tally.requests, tally.failed, _ms(p50_s), _ms(p99_s), extra_attempts)

    def cells(self) -> tuple[str, ...]:
        """Return the score as text: client, requests, failed, p50, p99, extra attempts."""
        counts = (str(self.requests), str(self.failed), milliseconds(self.p50_ms), milliseconds(self.p99_ms))
        return (self.client, *counts, str(self.extra_attempts))


SCORE_HEADINGS = ("the application had", "requests", "failed", "p50", "p99", "extra attempts")


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment.

    Attributes:
        happening: What is wrong now, in a few words.
        lines: All that was worth a line so far, with its time.
    """

    elapsed_s: float
    seconds: float
    rate: float
    happening: str
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    lines: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """How it ended.

    Attributes:
        elapsed_s: Seconds of traffic.
        accounts: What lbkit made of each fault.
        words: The same, in sentences.
        failures: How the application with lbkit failed, if it did: each kind and how often.
        notes: Its first failures in full.
        interrupted: Whether the user ended it.
    """

    elapsed_s: float
    scores: tuple[Score, ...]
    accounts: tuple[Account, ...]
    words: tuple[str, ...]
    failures: dict[str, int]
    notes: tuple[str, ...]
    interrupted: bool

    def verdict(self) -> str:
        """Say how it went, in a line; another one before it says that it was ended early."""
        if not self.scores or not self.scores[0].requests:
            return "Ended before any request was answered."
        mine, other = self.scores
        early = f"Ended early, after {self.elapsed_s:.1f} s.\n" if self.interrupted else ""
        failed = "no failed request" if not mine.failed else f"{mine.failed} of {mine.requests} requests failed"
        return f"{early}With lbkit: {failed}; behind {other.client}: {other.failed} of {other.requests} failed."


class View(Protocol):
    """Something that shows a demo. `show` is called in a thread of its own, never twice at a time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def opening(self, settings: Sequence[str]) -> None:
        """Show what is about to begin: the settings as code."""

    def show(self, frame: Frame) -> None:
        """Show a moment."""

    def ending(self, report: Report) -> None:
        """Show how it ended."""


def milliseconds(value: float | None) -> str:
    """Write a time for a table, in milliseconds below a second."""
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
