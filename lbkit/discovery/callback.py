"""Membership from a function of the user's own: a database, an orchestrator's API, a registry that nobody else has.

A function that returns is polled. One that yields (an async generator, or a function that returns an async iterator)
pushes: each item is a complete set, and it is asked for the next one as soon as the last is in use.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from random import Random
from typing import Any

from lbkit.core.backoff import jittered
from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Upkeep
from lbkit.discovery.checks import check_limit, check_pause
from lbkit.errors import ConfigError, DiscoveryError

HURRY_S = 1.0
"""After connections failed the function is called at once, but at most once a second."""
JITTER_RATIO = 0.1
"""The pause between two calls is spread by so much, so that many processes do not call at the same time."""


@dataclass(frozen=True, slots=True)
class CallFunction:
    """A query: what the function returns, or the next item of the async iterator that it returned.

    Attributes:
        function: Takes no argument.
        timeout: Seconds that a call may take. The next item of an iterator may take any time.
        anew: Whether to call the function even if an iterator of an earlier call is there.
    """

    function: Callable[[], Any]
    timeout: float
    anew: bool


@dataclass(frozen=True, slots=True)
class Pushed:
    """The reply where the function yields: the item, a complete set."""

    item: Any


@dataclass(frozen=True, slots=True)
class Callback:
    """The endpoints that a function of yours returns or yields.

        def from_inventory():
            return [Endpoint.parse(row.address, weight=row.weight) for row in inventory.replicas("orders")]

        Cluster("orders", Callback(from_inventory))

    A plain function runs in a worker thread; an async one in lbkit's own event loop, where it must not block, and where
    clients of another loop cannot be used. What it raises is shown as the type's name only, for texts may hold
    secrets, and logged whole at DEBUG by the logger "lbkit"; raise `DiscoveryError` with a text to have it shown.

    Args:
        function: Takes no argument; returns an iterable of `Endpoint`s and texts such as "10.0.0.1:8080". Of several
            with one address the first counts. An async generator function yields such iterables, each a complete set;
            when it ends or raises, it is called again.
        every: Seconds between two calls, spread by 10 %; 30 by default. Not for functions that yield.
        timeout: Seconds that a call may take; 10 by default. An item may take any time.
        empty_grace: Seconds that the last good set is kept when there is no endpoint in it; see `Upkeep`.
        name: What it is called in statistics and messages; the function's name by default.

    Raises:
        ConfigError: An argument is wrong.
    """

    function: Callable[[], Any]
    _: KW_ONLY
    every: float = 30.0
    timeout: float = 10.0
    empty_grace: float = math.inf
    name: str | None = None

    def __post_init__(self) -> None:
        if inspect.iscoroutine(self.function) or inspect.isasyncgen(self.function):
            kind = type(self.function).__name__
            if inspect.iscoroutine(self.function):
                self.function.close()  # or Python would warn that it was never awaited
            raise ConfigError(f"Callback: give the function itself, without calling it, not its {kind}")
        if not callable(self.function):
            raise ConfigError(f"Callback: function must be a function without arguments, not {self.function!r}")
        needed = _needed(self.function)
        if needed:
            raise ConfigError(
                f"Callback: function takes no argument, and {_name(self.function)} needs {needed}: "
                "give it with functools.partial(function, ...), or write a lambda"
            )
        check_pause("Callback: every", self.every)
        check_pause("Callback: timeout", self.timeout)
        check_limit("Callback: empty_grace", self.empty_grace)
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise ConfigError(f"Callback: name must be a text, not {self.name!r}")

    @property
    def upkeep(self) -> Upkeep:
        """How it is kept."""
        return Upkeep(self.empty_grace, hurry_s=HURRY_S)

    def watch(self, rng: Random) -> CallbackWatch:
        """Build the machine that calls it."""
        return CallbackWatch(self, rng)

    def __str__(self) -> str:
        return f"callback:{self.name or _name(self.function)}"


def _name(function: Callable[[], Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _needed(function: Callable[[], Any]) -> str:
    """Name the arguments that a function cannot be called without; empty where nobody knows, as of some builtins."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    return ", ".join(
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    )


class CallbackWatch:
    """Calls the function and checks what comes back."""

    __slots__ = ("_anew", "_config", "_rng")

    def __init__(self, config: Callback, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._anew = True

    def query(self, now: float) -> CallFunction:  # noqa: ARG002
        """Call the function, or wait for its next item."""
        return CallFunction(self._config.function, self._config.timeout, self._anew)

    def answer(self, reply: Any, now: float) -> Found:  # noqa: ARG002
        """Take what the function returned or yielded.

        Raises:
            DiscoveryError: It is no iterable of endpoints; the text names the item.
        """
        if isinstance(reply, Pushed):
            found = Found(_endpoints(reply.item, "yielded"), 0.0)
            self._anew = False
            return found
        return Found(_endpoints(reply, "returned"), jittered(self._config.every, JITTER_RATIO, self._rng))

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Call the function again; a generator may be broken, and one that begins anew yields what is true now."""
        self._anew = True


def _endpoints(items: Any, did: str) -> tuple[Endpoint, ...]:
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise DiscoveryError(f"the function {did} {_kind(items)}, not a list of endpoints")
    return tuple(_endpoint(item, index, did) for index, item in enumerate(items))


def _endpoint(item: Any, index: int, did: str) -> Endpoint:
    if isinstance(item, Endpoint):
        return item
    if not isinstance(item, str):
        raise DiscoveryError(
            f"item {index} that the function {did} is {_kind(item)}, not an Endpoint or a target{_hint(item, did)}"
        )
    try:
        return Endpoint.parse(item)
    except ConfigError as error:
        raise DiscoveryError(f"item {index} that the function {did}: {error}") from None


def _hint(item: Any, did: str) -> str:
    match item:
        case (str(), int()):
            return ': write f"{host}:{port}"'
        case list() | tuple() | set() | frozenset() if did == "returned":
            return ": return one flat list; to yield one set after the other, make the function async def"
    return ""


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
