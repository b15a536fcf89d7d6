"""A worker thread for what may block, and never a second one while the first hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from lbkit.errors import DiscoveryError

T = TypeVar("T")


class Places:
    """How many threads there may be at a time in an event loop, for all workers that share it."""

    def __init__(self, name: str, count: int) -> None:
        self._count = count
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar(f"lbkit: places for {name}")

    def limiter(self) -> anyio.CapacityLimiter:
        """Return the limiter of the running loop."""
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._count)
            self._limiter.set(limiter)
            return limiter


class Worker:
    """Runs one function at a time. Whoever waits for it may leave; a thread cannot be ended, and hangs on alone.

    Args:
        places: Where its threads are counted, together with those of others; by default they are not.
    """

    def __init__(self, places: Places | None = None) -> None:
        self._places = places
        self._busy = False

    async def run(self, function: Callable[[], T]) -> T:
        """Return what the function returns.

        Raises:
            DiscoveryError: The one before has not come back yet. Without this, each retry would add a thread.
            Exception: What the function raises.
        """
        if self._busy:
            raise DiscoveryError("no answer: the last call still hangs")
        limiter = self._places.limiter() if self._places else anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(self._work, function, abandon_on_cancel=True, limiter=limiter)

    def _work(self, function: Callable[[], T]) -> T:
        self._busy = True
        try:
            return function()
        finally:
            self._busy = False
