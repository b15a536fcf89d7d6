"""The circuit breaker: one endpoint's own record decides whether it gets requests.

Rules:
1. No timer, no clock: time comes in as `now`, and a transition happens on the first event at or after its due time.
2. Every state has a generation. A result brings the ticket with which its attempt began, and one from an older
   generation changes nothing. So the hundred requests that were in flight when an endpoint died count as one incident.
3. CANCELLED and OVERLOADED say nothing about health: they return a probe's permit and are otherwise ignored.
4. The probes of a half-open circuit are permits with numbers of their own: exactly `probes` are out at a time, never
   more. One that is out for `probe_max_s` is free again. Its attempt is then one without permit: if it succeeds late it
   proves life, so an endpoint that is slower than `probe_max_s` comes back; if it fails late it proves nothing new. A
   half-open circuit never goes back to open for want of results: that would punish an endpoint for a lost request.
5. A request that is sent although the circuit is open (the balancer failing open) proves life when it succeeds, and
   proves nothing new when it fails.
6. A success never opens a circuit: rates are looked at when a call was bad. With a rule for slow calls a slow success
   is bad for the rate, for a probe, and as a proof of life; it still ends a row of failures.

    state      event                                  next       and
    ---------  -------------------------------------  ---------  ---------------------------------------------
    closed     OK                                     closed     consecutive failures = 0
    closed     failure or slow, no rule is broken     closed     counted
    closed     failure or slow, a rule is broken      open       due = now + open time, jittered
    open       now >= due                             half-open  `probes` permits
    open       OK (failing open)                      closed
    half-open  probe OK, `probes` of them             closed
    half-open  probe failed or slow                   open       open time grows
    half-open  OK without permit (failing open)       closed
    half-open  CANCELLED, OVERLOADED                  half-open  the permit is back
    half-open  permit out for `probe_max_s`           half-open  the permit is back
    any        excuse                                 closed     clean record
    any        reset, another mode                    closed     clean record, the open time starts over

    mode          what is different
    ------------  ------------------------------------------------------------------------------------------------
    disabled      always closed: no rule opens it
    forced open   always open, never due: no result closes it
    metrics only  the table holds, but callers refuse nothing. What it lets through while open changes nothing, and the
                  first `probes` results while half-open are taken for the probes'

The open time starts at `open_s`, is multiplied by `factor` with each reopening up to `open_max_s`, and starts over
once the circuit has stayed closed for `open_max_s`. Sources: the generation counter is gobreaker's; growth and cap
follow elastic-transport (1 s doubling to 30 s) and Envoy's outlier detection; windows and modes are resilience4j's.
"""

from __future__ import annotations

import enum
import math
from random import Random

from lbkit.breaker.config import CircuitBreaker, Mode
from lbkit.breaker.window import CountWindow, TimeWindow, Window
from lbkit.core.backoff import growing, jittered
from lbkit.core.outcome import FAILURES, Result
from lbkit.errors import LeaseMisuse


class State(enum.Enum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_NOBODY: dict[int, float] = {}  # never changed: most circuits are never half-open
OK, CLOSED = Result.OK, State.CLOSED  # looked up once: on its class a member costs as much as all else here


class Circuit:
    """One endpoint's circuit: the machine built from a `CircuitBreaker`.

    Attributes:
        state, mode: Where it stands, and whether it acts on it.
        cause: Why it came there, in a few words.
        generation: The ticket of attempts that begin now without a permit.
        permits: Probes that may be taken now.
        due: When time alone changes something, `inf` for never.
        failures: Failures in a row.
        hears_ok: Whether an OK of an attempt without permit would change anything.
        window: The last calls, None where no rule looks at them.
    """

    __slots__ = (
        "_closed_at", "_config", "_last", "_limit", "_openings", "_out", "_rng", "_slow_s", "_succeeded",
        "cause", "due", "failures", "generation", "hears_ok", "mode", "permits", "state", "window",
    )  # fmt: skip

    def __init__(self, config: CircuitBreaker, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._limit = math.inf if config.failures is None else config.failures
        self._slow_s = math.inf if config.slow_s is None else config.slow_s
        self._last = -1  # the last ticket given to a state or a permit
        self._out = _NOBODY  # permits that are out, and when each is free again; the oldest first
        self.window = _window(config)
        self.mode = config.mode
        self.failures = self._succeeded = 0
        self._start_over("config")

    @property
    def refuses(self) -> bool:
        """Whether an attempt without permit should not begin now."""
        return self.state is not State.CLOSED and self.mode is not Mode.METRICS_ONLY

    def advance(self, now: float) -> bool:
        """Make the transition that is due, if any; True if the state changed."""
        if now < self.due:
            return False
        if self.state is State.OPEN:
            self._enter(State.HALF_OPEN, "time")
            self.permits = self._config.probes
            return True
        while now >= self.due:
            del self._out[next(iter(self._out))]
            self.permits += 1
            self._date()
        return False

    def take_permit(self, now: float) -> int:
        """Use one of the half-open circuit's probes; returns the ticket for its result.

        Raises:
            LeaseMisuse: None is left; nothing changes.
        """
        if self.permits < 1:
            raise LeaseMisuse("the circuit has no probe left to give")
        self.permits -= 1
        self._last += 1
        self._out[self._last] = now + self._config.probe_max_s
        self._date()
        return self._last

    def record(self, result: Result, ticket: int, *, now: float, took_s: float = 0.0) -> bool:
        """Take the result of an attempt that began with `ticket` and took `took_s`; True if the state changed."""
        if ticket < self.generation:
            return False
        failed = result is not OK and result in FAILURES
        if not failed and result is not OK:
            self._take_back(ticket)
            return False
        slow = took_s >= self._slow_s
        if self.state is CLOSED:
            self.failures = self.failures + 1 if failed else 0
            if self.window is None:
                self.hears_ok = failed
            else:
                self.window.add(failed, slow, now)
            return self._break_rule(now) if failed or slow else False
        if self.mode is Mode.FORCED_OPEN:
            return False
        if self.mode is Mode.METRICS_ONLY and self.state is State.OPEN:
            return self.advance(now)
        probe = self._out.pop(ticket, None) is not None or self.mode is Mode.METRICS_ONLY
        self._date()
        if failed or slow:
            return self._open(f"trial: {result.value}" if failed else "trial: slow", now) if probe else False
        if probe:
            self._succeeded += 1
            if self._succeeded < self._config.probes:
                return False
        self._enter(State.CLOSED, "trial" if probe else "answer")
        self._closed_at = now
        return True

    def is_out(self, ticket: int) -> bool:
        """Whether that is the ticket of a permit that is out."""
        return ticket in self._out

    def renew(self) -> None:
        """Forget the attempts that are out: their results will be ignored, their trials are given out again."""
        self._last += 1
        self.generation = self._last
        if self.state is State.HALF_OPEN:
            self._out = {}
            self._date()
            self.permits = self._config.probes
            self._succeeded = 0

    def set_mode(self, mode: Mode) -> bool:
        """Act in another way from now on, from a clean record; False where that is its mode already."""
        if mode is self.mode:
            return False
        self.mode = mode
        self._start_over("by hand")
        return True

    def reset(self) -> None:
        """Forget everything: closed, unless forced open. What is in flight counts no more."""
        self._start_over("reset")

    def excuse(self) -> None:
        """Forget the record and what is in flight: someone else has judged it, and keeps the endpoint out.

        It is closed then, unless forced open.
        """
        if self.mode is not Mode.FORCED_OPEN:
            self._enter(CLOSED, "excuse")

    def _break_rule(self, now: float) -> bool:
        broken = self._broken_rule(self.window)
        if not broken or self.mode is Mode.DISABLED:
            return False
        if now - self._closed_at >= self._config.open_max_s:
            self._openings = 0
        return self._open(broken, now)

    def _broken_rule(self, window: Window | None) -> str:
        if self.failures >= self._limit:
            return f"{self.failures} failures in a row" if self.failures > 1 else "a failure"
        config = self._config
        if window is None or window.calls < min(config.min_calls, config.window_calls or config.min_calls):
            return ""
        # A quotient equals the decimal that was given for it exactly; the product with the rate may not.
        if config.failure_rate is not None and window.failed / window.calls >= config.failure_rate:
            return f"{window.failed} of {window.calls} calls failed"
        if config.slow_rate is not None and window.slow / window.calls >= config.slow_rate:
            return f"{window.slow} of {window.calls} calls were slow"
        return ""

    def _take_back(self, ticket: int) -> None:
        if self._out.pop(ticket, None) is not None:
            self.permits += 1
            self._date()

    def _date(self) -> None:
        if self.state is State.HALF_OPEN:
            self.due = next(iter(self._out.values()), math.inf)

    def _open(self, cause: str, now: float) -> bool:
        config = self._config
        open_s = growing(config.open_s, config.factor, config.open_max_s, self._openings)
        due = now + jittered(open_s, config.jitter_ratio, self._rng)
        self._openings += 1
        self._enter(State.OPEN, cause, due)
        return True

    def _enter(self, state: State, cause: str, due: float = math.inf) -> None:
        self.state = state
        self.cause = cause
        self._last += 1
        self.generation = self._last
        self._out = {} if state is State.HALF_OPEN else _NOBODY
        self._succeeded = 0
        self.permits = 0
        self.due = due
        if state is State.CLOSED:
            self.failures = 0
            if self.window is not None:
                self.window.clear()
        self.hears_ok = state is not State.CLOSED or self.window is not None

    def _start_over(self, cause: str) -> None:
        self._openings = 0
        self._closed_at = -math.inf
        self._enter(State.CLOSED, cause)
        if self.mode is Mode.FORCED_OPEN:
            self._enter(State.OPEN, cause)


def _window(config: CircuitBreaker) -> Window | None:
    if not config.has_window:
        return None
    return TimeWindow(config.window_s) if config.window_calls is None else CountWindow(config.window_calls)
