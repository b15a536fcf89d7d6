"""What is known of one endpoint when it is compared with its siblings; and its gate."""

from __future__ import annotations

import math

from lbkit.health.tracker import Standing

NO_EPOCH = -1
"""Older than any interval: nothing was counted."""


class Sibling:
    """One endpoint's counts of the running interval, its failures in a row, and its ejections.

    Attributes:
        id: Names it; the detector only carries it.
        epoch: The interval that the counts are of; those of an older one are stale and count for nothing.
        calls: Attempts with a verdict.
        bad, local: Those of them that were answered badly, and those that got no answer.
        slow: Good answers that were slow.
        row, gateway_row, local_row: Failures in a row.
        in_row: Whether the last verdict was a failure.
        counts_from: Attempts that began at that time or before say nothing more of it.
        until: End of its ejection, -inf while it is in service.
        returned_at: When its last ejection ended, -inf before the first.
        multiplier: How many times the first ejection the last one was.
        cause: Why it was ejected, or came back, in a few words.
    """

    __slots__ = (
        "bad", "calls", "cause", "counts_from", "epoch", "gateway_row", "id", "in_row", "local", "local_row",
        "multiplier", "returned_at", "row", "slow", "until",
    )  # fmt: skip

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.counts_from = math.inf  # until it joins
        self.until = -math.inf
        self.returned_at = -math.inf
        self.multiplier = 0
        self.cause = ""
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.begin(NO_EPOCH)
        self.end_rows()

    def end_rows(self) -> None:
        """Begin to count failures in a row anew."""
        self.row = self.gateway_row = self.local_row = 0
        self.in_row = False

    def begin(self, epoch: int) -> None:
        """Count for another interval. Failures in a row go on over its border."""
        self.epoch = epoch
        self.calls = self.bad = self.local = self.slow = 0

    def objection(self, now: float) -> Standing | None:
        """Object while it is ejected."""
        return Standing.EJECTED if now < self.until else None

    def due(self) -> float:
        """Return when the ejection ends."""
        return self.until
