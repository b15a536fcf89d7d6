"""The end of every wait on one connection.

httpcore's timeouts are for one read each, so a server that sends a byte now and then holds a call for ever: a bare
httpx client with a timeout of 1 s waited 19.5 s for slow headers. A line has an end for the head of the response and
one for the whole call, and each read and write gets what is left of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable


class Line:
    """The limits of one connection's present use, on the cluster's clock.

    Attributes:
        end: No wait goes beyond this.
        head_end: No wait for the head goes beyond this: the first read's timeout is the limit for all of the head.
        awaiting_head: Whether the head has not come yet.
    """

    __slots__ = ("_clock", "awaiting_head", "end", "head_end")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.end = math.inf
        self.head_end = math.inf
        self.awaiting_head = False

    def begin(self, end: float) -> None:
        """Begin an attempt whose head must be there at `end`."""
        self.end = end
        self.head_end = math.inf
        self.awaiting_head = True

    def head_came(self, end: float) -> None:
        """The head is there; the body has until `end`."""
        self.end = end
        self.head_end = math.inf
        self.awaiting_head = False

    def left(self, timeout: float | None, *, reading: bool = False) -> float | None:
        """Return what is left of `timeout` seconds, at least 0; None for no limit."""
        end = self.end
        if self.awaiting_head and reading:
            if self.head_end == math.inf and timeout is not None:
                self.head_end = self._clock() + timeout
                if self.head_end <= end:
                    return timeout  # to the digit: a socket whose timeout does not change saves two system calls
            if self.head_end < end:
                end = self.head_end
        if end == math.inf:
            return timeout
        left = end - self._clock()
        if left < 0:
            left = 0.0
        return left if timeout is None or left < timeout else timeout
