"""Loops over `attempts()` on three faces, and time that moves only when they sleep."""

import anyio
import pytest

from lbkit.runtime import attempts as module
from lbkit.testing import ManualClock


@pytest.fixture
def clock(monkeypatch):
    """Time that moves when the loop sleeps, and only then."""
    clock = ManualClock()

    async def asleep(seconds):
        clock.advance(seconds)

    monkeypatch.setattr(module.time, "sleep", clock.advance)
    monkeypatch.setattr(module.anyio, "sleep", asleep)
    return clock


@pytest.fixture(params=["sync", "asyncio", "trio"])
def drive(request):
    """Return a function that runs a loop over attempts; it returns what the loop's body made of them."""

    def sync(attempts, body):
        for attempt in attempts:
            with attempt as endpoint:
                found = body(attempt, endpoint)
                if found is not None:
                    return found
        return "ended"

    async def asynchronous(attempts, body):
        async for attempt in attempts:
            with attempt as endpoint:
                found = body(attempt, endpoint)
                if found is not None:
                    return found
        return "ended"

    if request.param == "sync":
        return sync
    return lambda attempts, body: anyio.run(asynchronous, attempts, body, backend=request.param)
