"""Calls functions of the user's that return endpoints, and holds the async iterators that some of them return."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator
from typing import Any

import anyio

from lbkit.discovery.base import Run
from lbkit.discovery.callback import CallFunction, Pushed
from lbkit.errors import DiscoveryError
from lbkit.runtime.clients import MISHAPS, RunClient, raise_on

CLOSE_S = 0.5
"""How long an async generator may take to end, in seconds."""


class CallbackClient:
    """Calls one function."""

    def __init__(self) -> None:
        self._run = RunClient()
        self._items: AsyncIterator[Any] | None = None

    async def ask(self, query: CallFunction) -> Any:
        """Return what the function returned, or `Pushed` with the next item.

        Raises:
            DiscoveryError: It raised, took too long, or its generator has ended. The text of what it raised is not in
                it, for that may hold secrets; the exception is the cause.
        """
        if query.anew:
            await self.aclose()
        if self._items is None:
            if inspect.isasyncgenfunction(query.function):
                result = query.function()
            else:
                result = await self._run.ask(Run(query.function, query.timeout))
            if not hasattr(result, "__aiter__"):
                return result
            self._items = aiter(result)
        try:
            return Pushed(await anext(self._items))
        except StopAsyncIteration:
            self._items = None
            raise DiscoveryError("the function has ended; it is called again") from None
        except DiscoveryError:
            raise
        except MISHAPS as error:
            raise_on(error)

    async def aclose(self) -> None:
        """End the generator, here in the loop in which it runs."""
        items, self._items = self._items, None
        if items is not None and hasattr(items, "aclose"):
            with contextlib.suppress(Exception), anyio.move_on_after(CLOSE_S):
                try:
                    await items.aclose()
                except MISHAPS as error:
                    raise_on(error)
