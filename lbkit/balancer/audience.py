"""Who is told of events: outside all locks, in the order in which things happened, and without harm to a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from lbkit.balancer.log import logger

E = TypeVar("E")


class Audience(Generic[E]):
    """Listeners, and the news that they have not heard yet.

    It needs no lock of its own: what is added and taken here is so in one step.

    Args:
        name: Of whom the events tell.
        news: Where the events are put.
        own: Listeners of lbkit's own, which are told first.
    """

    __slots__ = ("_listeners", "_name", "_news", "_own")

    def __init__(self, name: str, news: deque[E], *own: Callable[[E], None]) -> None:
        self._name = name
        self._news = news
        self._own = own
        self._listeners: dict[object, Callable[[E], None]] = {}

    def subscribe(self, listener: Callable[[E], None]) -> Callable[[], None]:
        """Have `listener` told of every event from now on; returns a function that ends it."""
        ticket = object()
        self._listeners[ticket] = listener

        def unsubscribe() -> None:
            self._listeners.pop(ticket, None)

        return unsubscribe

    def tell(self) -> None:
        """Tell the news. A listener that raises is logged; the others are told all the same."""
        news = self._news
        while news:
            try:
                event = news.popleft()
            except IndexError:  # another thread tells it
                return
            for listener in (*self._own, *tuple(self._listeners.values())):
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - it is logged
                    logger.exception("%s: a listener failed; the call it was told of goes on", self._name)
