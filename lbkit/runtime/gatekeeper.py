"""One circuit for many threads: the lock, the clock and the counts of a guard.

1. The lock is held for a few instructions, never while anything of the user's runs. What listeners are to hear is
   collected and told after unlock.
2. A closed circuit lets a call in without the lock: the state is read after the ticket, so a ticket that is out of date
   by then makes the result count for nothing.
3. The collector may run in the middle of it and end a generator that is inside a guarded block, and a signal handler
   may use the guard. So the lock lets its own thread in again; what that brings is done right after what it interrupts.
4. A call inside a trial, at the same gatekeeper, is part of that trial: only the outer one's result counts. If it were
   refused, a function that calls another one with the same guard would never pass its trial.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from random import Random
from typing import TypeVar

from lbkit.balancer.audience import Audience
from lbkit.breaker.circuit import Circuit, State
from lbkit.breaker.config import CircuitBreaker, Mode
from lbkit.breaker.report import ChangeListener, CircuitChanged, GuardStats
from lbkit.core.outcome import FAILURES, Result
from lbkit.errors import CircuitOpen
from lbkit.runtime import fork
from lbkit.runtime.guard_log import log_change

T = TypeVar("T")
OK, CLOSED = Result.OK, State.CLOSED  # a member looked up on its class costs as much as the lock

PART_OF_A_TRIAL = -1
"""A ticket older than any: its result counts for nothing."""
REFUSED = -2

_trials: ContextVar[Mapping[object, int]] = ContextVar("lbkit_guard_trials")
"""The tickets of the trials that this context is inside of."""
_NONE: Mapping[object, int] = {}


class Gatekeeper:
    """Lets calls in, takes their results, and is told what to do. Thread-safe, right under fork."""

    __slots__ = (
        "__weakref__", "_audience", "_busy", "_circuit", "_failed", "_ignored", "_key", "_late", "_lock", "_news",
        "_ok", "_opened", "_own_rng", "_refused", "_rng", "_since", "_tell", "_would_refuse", "clock", "name", "timed",
    )  # fmt: skip

    def __init__(
        self, name: str, config: CircuitBreaker, *, clock: Callable[[], float] | None, rng: Random | None
    ) -> None:
        self.name = name
        self.clock = clock or time.monotonic
        self.timed = config.slow_s is not None
        """Whether it matters how long a call takes."""
        self._own_rng = rng is None
        self._rng = rng or Random()
        self._circuit = Circuit(config, self._rng)
        self._lock = threading.RLock()
        self._busy = False
        self._late: deque[Callable[[], None]] = deque()
        self._key = object()  # stands for this object in contexts, which must not keep it alive
        self._news: deque[CircuitChanged] = deque()
        self._audience: Audience[CircuitChanged] = Audience(name, self._news, log_change)
        self._tell = self._audience.tell
        self._since = self.clock()
        self._ok = self._failed = self._ignored = self._refused = self._would_refuse = self._opened = 0
        fork.register(self, innermost=True)

    # -- calls

    def admit(self) -> int:
        """Let a call in; returns the ticket for its result.

        Raises:
            CircuitOpen: It is refused.
        """
        ticket = self._circuit.generation
        if self._circuit.state is CLOSED:
            return ticket
        now = self.clock()
        error = None
        with self._lock:
            if not self._busy:
                ticket = self._do(partial(self._ticket, now))
            else:
                ticket = REFUSED if self._circuit.refuses else PART_OF_A_TRIAL
            if ticket == REFUSED:
                self._refused += 1
                error = self._refusal(now)
        if self._news:
            self._tell()
        if error is not None:
            raise error
        return ticket

    def end(self, result: Result, ticket: int, began: float) -> None:
        """Take the result of a call that was let in with `ticket`, at `began` where calls are timed."""
        if result is OK and not self._circuit.hears_ok:
            with self._lock:
                self._ok += 1
            return
        now = self.clock()
        took_s = now - began if self.timed else 0.0
        with self._lock:
            if self._busy:
                # No lambda: what it closed over would cost every call more than the lock does.
                self._late.append(partial(self._settle, result, ticket, now, took_s))
            else:  # as `_do`: this is the way of every call where a rate is a rule
                self._busy = True
                try:
                    self._settle(result, ticket, now, took_s)
                finally:
                    self._busy = False
                if self._late:
                    self._do(self._late.popleft())
        trials = _trials.get(_NONE)
        if trials and trials.get(self._key) == ticket:
            _trials.set({key: one for key, one in trials.items() if key is not self._key})
        if self._news:
            self._tell()

    # -- control and observation

    def set_mode(self, mode: Mode) -> None:
        """Act in another way from now on."""
        self._control(partial(self._circuit.set_mode, mode))

    def reset(self) -> None:
        """Forget the circuit's record."""
        self._control(self._circuit.reset)

    def stats(self) -> GuardStats:
        """Return what is known, as values that no longer change."""
        now = self.clock()
        with self._lock:
            if not self._busy:
                self._do(partial(self._advance, now))
            circuit, window = self._circuit, self._circuit.window
            stats = GuardStats(
                name=self.name,
                state=circuit.state,
                mode=circuit.mode,
                cause=circuit.cause,
                since_s=now - self._since,
                retry_after_s=self._retry_after_s(now),
                ok=self._ok,
                failed=self._failed,
                ignored=self._ignored,
                refused=self._refused,
                would_refuse=self._would_refuse,
                opened=self._opened,
                failures=circuit.failures,
                window_calls=window.calls if window is not None else 0,
                window_failed=window.failed if window is not None else 0,
                window_slow=window.slow if window is not None else 0,
            )
        self._tell()
        return stats

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Have `listener` told of changes; returns a function that ends it."""
        return self._audience.subscribe(listener)

    def before_fork(self) -> None:
        """Hold the lock over a fork, so that the child finds a whole state."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Let go after a fork; in the child forget the parent's calls and draw other random numbers."""
        if child:
            if self._own_rng:
                self._rng.seed()
            self._news.clear()
            self._circuit.renew()
        self._lock.release()

    def __repr__(self) -> str:
        return f"{self.name}: {self._circuit.state.value}, {self._circuit.mode.value}"

    # -- inside, under the lock

    def _do(self, work: Callable[[], T]) -> T:
        # Does it, and then what came from this thread meanwhile.
        self._busy = True
        try:
            value = work()
            while self._late:
                self._late.popleft()()
        finally:
            self._busy = False
        return value

    def _ticket(self, now: float) -> int:
        self._advance(now)
        circuit = self._circuit
        if not circuit.refuses:
            self._would_refuse += circuit.state is State.OPEN
            return circuit.generation
        if circuit.is_out(_trials.get(_NONE).get(self._key, PART_OF_A_TRIAL)):
            return PART_OF_A_TRIAL
        if not circuit.permits:
            return REFUSED
        ticket = circuit.take_permit(now)
        _trials.set({**_trials.get(_NONE), self._key: ticket})
        return ticket

    def _refusal(self, now: float) -> CircuitOpen:
        circuit = self._circuit
        state = circuit.mode.value if circuit.mode is Mode.FORCED_OPEN else circuit.state.value
        return CircuitOpen(self.name, state, circuit.cause, self._retry_after_s(now))

    def _settle(self, result: Result, ticket: int, now: float, took_s: float) -> None:
        if result is OK:
            self._ok += 1
        elif result in FAILURES:
            self._failed += 1
        else:
            self._ignored += 1
        before = self._circuit.state
        if self._circuit.record(result, ticket, now=now, took_s=took_s):
            self._changed(before, now)

    def _advance(self, now: float) -> None:
        before = self._circuit.state
        if self._circuit.advance(now):
            self._changed(before, now)
        if self._circuit.window is not None:
            self._circuit.window.trim(now)

    def _changed(self, before: State, now: float) -> None:
        circuit = self._circuit
        self._since = now
        self._opened += circuit.state is State.OPEN
        for_s = circuit.due - now
        self._news.append(CircuitChanged(self.name, before, circuit.state, circuit.mode, circuit.cause, for_s))

    def _retry_after_s(self, now: float) -> float | None:
        circuit = self._circuit
        if circuit.state is not State.OPEN or circuit.due == math.inf:
            return None
        return max(0.0, circuit.due - now)

    # -- inside, without it

    def _control(self, work: Callable[[], object]) -> None:
        now = self.clock()

        def control() -> None:
            before = self._circuit.state, self._circuit.mode
            work()
            if (self._circuit.state, self._circuit.mode) != before:
                self._changed(before[0], now)

        with self._lock:
            if self._busy:
                self._late.append(control)
            else:
                self._do(control)
        self._tell()
