"""The last calls, counted: how many there were, how many failed, how many were slow.

Two windows with one face. Both add in constant time and have constant memory: a ring of ten buckets of time, or a ring
of one byte per call from whose counts the oldest call is taken when the newest comes (resilience4j's way).
"""

from __future__ import annotations

from typing import Protocol

FAILED, SLOW = 1, 2


class Window(Protocol):
    """Counts of the last calls, as of the last `add` or `trim`."""

    calls: int
    failed: int
    slow: int

    def add(self, failed: bool, slow: bool, now: float) -> None:
        """Count one call. A call may be both."""

    def trim(self, now: float) -> None:
        """Forget what is no longer in the window at `now`."""

    def clear(self) -> None:
        """Forget all calls."""


class TimeWindow:
    """The calls of the last `window_s` seconds, exact to one bucket. It empties by itself when there are none."""

    __slots__ = ("_bucket_s", "_calls", "_end", "_epoch", "_failed", "_slow", "calls", "failed", "slow")

    BUCKETS = 10

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / self.BUCKETS
        self._epoch = 0
        self._end = self._bucket_s  # of the newest bucket
        self._calls, self._failed, self._slow = ([0] * self.BUCKETS for _ in range(3))
        self.calls = self.failed = self.slow = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:
        """Count one call at `now`, in seconds."""
        if now >= self._end:
            self.trim(now)
        index = self._epoch % self.BUCKETS
        self._calls[index] += 1
        self.calls += 1
        if failed:
            self._failed[index] += 1
            self.failed += 1
        if slow:
            self._slow[index] += 1
            self.slow += 1

    def trim(self, now: float) -> None:
        """Forget the buckets that are too old. A clock that goes back counts into the newest bucket."""
        epoch = int(now / self._bucket_s)
        if epoch <= self._epoch:
            return
        if epoch - self._epoch >= self.BUCKETS:
            self.clear()
        else:
            for passed in range(self._epoch + 1, epoch + 1):
                index = passed % self.BUCKETS
                self.calls -= self._calls[index]
                self.failed -= self._failed[index]
                self.slow -= self._slow[index]
                self._calls[index] = self._failed[index] = self._slow[index] = 0
        self._epoch = epoch
        self._end = (epoch + 1) * self._bucket_s

    def clear(self) -> None:
        """Forget all calls."""
        self._calls, self._failed, self._slow = ([0] * self.BUCKETS for _ in range(3))
        self.calls = self.failed = self.slow = 0


class CountWindow:
    """The last `size` calls, however long ago they were."""

    __slots__ = ("_next", "_ring", "calls", "failed", "slow")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self._next = 0
        self.calls = self.failed = self.slow = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:  # noqa: ARG002 - the face of both windows
        """Count one call, in place of the oldest where the window is full."""
        place = self._next
        if self.calls == len(self._ring):
            oldest = self._ring[place]
            self.failed -= oldest & FAILED
            self.slow -= oldest >> 1
        else:
            self.calls += 1
        self._ring[place] = FAILED * failed + SLOW * slow
        self.failed += failed
        self.slow += slow
        self._next = place + 1 if place + 1 < len(self._ring) else 0

    def trim(self, now: float) -> None:
        """Do nothing: time alone changes nothing here."""

    def clear(self) -> None:
        """Forget all calls; what the ring still holds is written over before it is read."""
        self._next = 0
        self.calls = self.failed = self.slow = 0
