"""The circuit breaker used alone: around calls of anything, without a cluster.

A guard is a circuit with a name, a lock and a clock, and the ways to put it around a call: decorator, context manager,
`call`. It is here, and not beside the circuit, because of the lock and the clock; what it decides, the circuit decides.

What a `with` block knows of itself is in the context (`contextvars`), so one guard serves any number of threads and
tasks, asyncio's and trio's, at the same time, and blocks may be nested. A `Block` of one's own knows it by itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from random import Random
from types import CoroutineType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from lbkit.balancer.log import logger
from lbkit.breaker.config import CircuitBreaker, Mode
from lbkit.breaker.report import ChangeListener, GuardStats
from lbkit.breaker.verdict import Errors, Verdict
from lbkit.core.outcome import Result
from lbkit.errors import CircuitOpen, ConfigError
from lbkit.runtime.gatekeeper import Gatekeeper

P = ParamSpec("P")
R = TypeVar("R")
OK = Result.OK  # looked up once: on its class it costs as much as the lock


class Block:
    """One run through a guarded block, and what can be said of it from inside.

    Attributes:
        owner, outer, ticket, began, result: The guard's own.
    """

    __slots__ = ("began", "outer", "owner", "result", "ticket")

    def __init__(self, owner: Guard) -> None:
        self.owner = owner
        self.outer: Block | None = None
        self.ticket: int | None = None
        self.began = 0.0
        self.result = OK

    def fail(self) -> None:
        """Count this block as a failure although it ends without an exception."""
        self.result = Result.ERROR

    def ignore(self) -> None:
        """Count this block as nothing if it ends without an exception."""
        self.result = Result.CANCELLED

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            CircuitOpen: It is refused.
            ConfigError: It has begun before.
        """
        if self.ticket is not None:
            raise ConfigError(f"{self.owner.name}: a block runs once; call `block()` for each run")
        self.owner._begin(self)  # noqa: SLF001 - a part of it
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.owner._finish(self, error)  # noqa: SLF001 - a part of it

    async def __aenter__(self) -> Self:
        """As `with`: nothing is awaited."""
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.owner._finish(self, error)  # noqa: SLF001 - a part of it


_innermost: ContextVar[Block | None] = ContextVar("lbkit_guard_block", default=None)


class Guard:
    """A circuit breaker around calls of your own: decorator, context manager or `call`, sync and async. Thread-safe.

        payments = CircuitBreaker(failures=5).guard("payments")

        @payments
        async def pay(order): ...

    The guard is the state: what shares a guard is refused together. It works on threads, under asyncio and trio, and
    is right under fork. What ends a call without saying anything of the service (cancellation, KeyboardInterrupt, the
    end of a generator) counts as nothing.

    Args:
        name: For messages, logs and statistics.
        config: When it opens and how it comes back; `CircuitBreaker()` by default.
        failure: Exceptions that count as failures: classes, or a function of the exception; `Exception` by default.
        success: Exceptions that prove that the service works, such as that of a declined card; none by default.
        ignore: Exceptions that say nothing of the service; none by default. It goes before `success`, and that before
            `failure`. An exception that none of them names is ignored as well.
        failure_result: Says of a returned value whether the call has failed. The value is returned all the same.
        ignore_result: Says of a returned value whether the call counts as nothing.
        clock: Seconds that never go back; for tests.
        rng: Source of the jitter; for tests.

    Raises:
        ConfigError: An argument is wrong; the message says what to write.
    """

    __slots__ = ("__weakref__", "_admit", "_clock", "_end", "_keeper", "_timed", "_verdict")

    def __init__(
        self,
        name: str,
        config: CircuitBreaker | None = None,
        *,
        failure: Errors = Exception,
        success: Errors = (),
        ignore: Errors = (),
        failure_result: Callable[[Any], bool] | None = None,
        ignore_result: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] | None = None,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a guard's name is text that messages can show, not {name!r}")
        config = CircuitBreaker() if config is None else config
        if not isinstance(config, CircuitBreaker):
            raise ConfigError(f"Guard({name!r}, ...): expected a CircuitBreaker, not {config!r}")
        self._verdict = Verdict(
            f"Guard({name!r}, ...)",
            failure=failure,
            success=success,
            ignore=ignore,
            failure_result=failure_result,
            ignore_result=ignore_result,
        )
        self._keeper = Gatekeeper(name, config, clock=clock, rng=rng)
        self._admit = self._keeper.admit
        self._end = self._keeper.end
        self._clock = self._keeper.clock
        self._timed = self._keeper.timed

    @property
    def name(self) -> str:
        """Its name."""
        return self._keeper.name

    # -- calls

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, sync or async.

        Raises:
            ConfigError: It is a generator function, whose work is done after it has returned, or no function.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"{self.name}: put `with guard.block():` into a generator function instead of decorating it"
            )
        if isinstance(function, type) or not callable(function):
            raise ConfigError(f"{self.name}: a guard decorates a function, not {function!r}")
        admit, end, clock, timed = self._admit, self._end, self._clock, self._timed
        judges = self._verdict.hears_values
        if not inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                ticket = admit()
                began = clock() if timed else 0.0
                try:
                    value = function(*args, **kwargs)
                except BaseException as error:
                    end(self._of_error(error), ticket, began)
                    raise
                if type(value) is CoroutineType:
                    return self._awaited(value, ticket, began)  # type: ignore[return-value]
                end(self._of_value(value) if judges else OK, ticket, began)
                return value

            return guarded

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            ticket = admit()
            began = clock() if timed else 0.0
            try:
                value = await function(*args, **kwargs)
            except BaseException as error:
                end(self._of_error(error), ticket, began)
                raise
            end(self._of_value(value) if judges else OK, ticket, began)
            return value

        return awaited  # type: ignore[return-value]

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` once; what it returns or raises is judged.

        A coroutine that it returns is judged when it has been awaited, so `await guard.call(fetch, url)` works too.

        Raises:
            CircuitOpen: The call is refused.
        """
        ticket = self._admit()
        began = self._clock() if self._timed else 0.0
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            self._end(self._of_error(error), ticket, began)
            raise
        if type(value) is CoroutineType:
            return self._awaited(value, ticket, began)  # type: ignore[return-value]
        self._end(self._of_value(value) if self._verdict.hears_values else OK, ticket, began)
        return value

    async def _awaited(self, coroutine: Any, ticket: int, began: float) -> Any:
        try:
            value = await coroutine
        except BaseException as error:
            self._end(self._of_error(error), ticket, began)
            raise
        self._end(self._of_value(value), ticket, began)
        return value

    def __enter__(self) -> Block:
        """Begin a block.

        Raises:
            CircuitOpen: It is refused.
        """
        ticket = self._admit()
        block = Block(self)
        block.ticket = ticket
        if self._timed:
            block.began = self._clock()
        block.outer = _innermost.get()
        _innermost.set(block)
        return block

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        block = _innermost.get()
        if block is not None and block.owner is self:
            _innermost.set(block.outer)
        else:
            block = _take_out(block, self)
        if block is not None:  # or it began in another context: see `block`
            self._finish(block, error)

    async def __aenter__(self) -> Block:
        """As `with`: nothing is awaited."""
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, error, traceback)

    def block(self) -> Block:
        """Return a block for one run: `with guard.block():`, sync or async.

        As `with guard:`, which finds what it has begun in the context. Take this one in a generator, above all in an
        async one: it may be ended by somebody else, in another context.
        """
        return Block(self)

    def _begin(self, block: Block) -> None:
        block.ticket = self._admit()
        if self._timed:
            block.began = self._clock()

    def _finish(self, block: Block, error: BaseException | None) -> None:
        if block.ticket is not None:
            self._end(block.result if error is None else self._of_error(error), block.ticket, block.began)

    def _of_error(self, error: BaseException) -> Result:
        if isinstance(error, CircuitOpen) and error.name == self.name:
            return Result.CANCELLED  # it refused a call inside: that is no news of the service
        return self._judged(self._verdict.of_error, error)

    def _of_value(self, value: Any) -> Result:
        return self._judged(self._verdict.of_value, value)

    def _judged(self, verdict: Callable[[Any], Result], what: Any) -> Result:
        try:
            return verdict(what)
        except Exception:  # noqa: BLE001 - it is logged
            logger.exception("%s: a function that judges calls failed; this call counts as nothing", self.name)
            return Result.CANCELLED

    # -- control and observation

    def force_open(self) -> None:
        """Refuse all calls until it is told otherwise."""
        self._keeper.set_mode(Mode.FORCED_OPEN)

    def disable(self) -> None:
        """Let all calls through, and count."""
        self._keeper.set_mode(Mode.DISABLED)

    def metrics_only(self) -> None:
        """Let all calls through, count, and tell what would be done."""
        self._keeper.set_mode(Mode.METRICS_ONLY)

    def enable(self) -> None:
        """Act on what is learned, from a clean record on; nothing changes where it does already."""
        self._keeper.set_mode(Mode.NORMAL)

    def reset(self) -> None:
        """Close the circuit, unless it was forced open, and forget its record. The counts in `stats` stay."""
        self._keeper.reset()

    def stats(self) -> GuardStats:
        """Return what the guard has seen, as values that no longer change."""
        return self._keeper.stats()

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` with every change of state or mode, outside the lock; returns a function that ends it."""
        return self._keeper.subscribe(listener)

    def __repr__(self) -> str:
        return f"<Guard {self._keeper!r}>"


def _take_out(inner: Block | None, owner: Guard) -> Block | None:
    # Blocks end in the reverse order in which they began, unless generators are interleaved.
    while inner is not None:
        block = inner.outer
        if block is not None and block.owner is owner:
            inner.outer = block.outer
            return block
        inner = block
    return None
