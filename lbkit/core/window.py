"""A count over the last seconds, kept in a few buckets: constant memory, constant time, no timer."""

from __future__ import annotations


class SlidingCount:
    """How much was added in the last `window_s` seconds, exact to one bucket (a tenth of the window).

    Buckets are numbered by time; one is cleared when its number comes around again. So an idle count costs nothing
    and empties by itself.
    """

    __slots__ = ("_bucket_s", "_counts", "_epoch", "_total")

    BUCKETS = 10

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / self.BUCKETS
        self._counts = [0] * self.BUCKETS
        self._epoch = 0
        self._total = 0

    def add(self, now: float, amount: int = 1) -> None:
        """Count `amount` at time `now` (seconds, not falling)."""
        epoch = int(now / self._bucket_s)
        if epoch != self._epoch:
            self._advance(epoch)
        self._counts[epoch % self.BUCKETS] += amount
        self._total += amount

    def total(self, now: float) -> int:
        """Return the count of the window that ends at `now`."""
        epoch = int(now / self._bucket_s)
        if epoch != self._epoch:
            self._advance(epoch)
        return self._total

    def _advance(self, epoch: int) -> None:
        for passed in range(max(self._epoch + 1, epoch - self.BUCKETS + 1), epoch + 1):
            index = passed % self.BUCKETS
            self._total -= self._counts[index]
            self._counts[index] = 0
        self._epoch = max(epoch, self._epoch)
