"""A worker thread for what may block, and never a second one while the first hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from lbkit.errors import DiscoveryError

T = TypeVar("T")


class Worker:
    """Runs one function at a time. Whoever waits for it may leave; a thread cannot be ended, and hangs on alone."""

    def __init__(self) -> None:
        self._busy = False
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """Return what the function returns.

        Raises:
            DiscoveryError: The one before has not come back yet. Without this, each retry would add a thread.
            Exception: What the function raises.
        """
        if self._busy:
            raise DiscoveryError("no answer: the last call still hangs")
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)  # its own: many that hang elsewhere do not keep it waiting
        return await anyio.to_thread.run_sync(self._work, function, abandon_on_cancel=True, limiter=self._limiter)

    def _work(self, function: Callable[[], T]) -> T:
        self._busy = True
        try:
            return function()
        finally:
            self._busy = False
