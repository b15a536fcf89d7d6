"""The circuit breaker: one endpoint's own record decides whether it gets requests.

Rules:
1. No timer, no clock: time comes in as `now`, and a transition happens on the first event at or after its due time.
2. Every state has a generation. A permit carries the generation in which it was given; a result from an older one
   changes nothing. So the hundred requests that were in flight when an endpoint died count as one incident.
3. CANCELLED and OVERLOADED say nothing about health: they return a probe's permit and are otherwise ignored.
4. The probes of a half-open circuit are counted permits: exactly `probes` are out at a time, never more.
5. A request that is sent although the circuit is open (the balancer failing open) proves life when it succeeds, and
   proves nothing new when it fails.

    state      event                                  next       and
    ---------  -------------------------------------  ---------  ---------------------------------------------
    closed     OK                                     closed     consecutive failures = 0
    closed     failure, fewer than `failures`         closed     consecutive failures + 1
    closed     failure, the last of `failures`        open       due = now + open time, jittered
    open       now >= due                             half-open  `probes` permits
    open       OK (failing open)                      closed
    half-open  probe OK, `probes` of them             closed
    half-open  probe failed                           open       open time grows
    half-open  OK without permit (failing open)       closed
    half-open  CANCELLED, OVERLOADED                  half-open  the permit is back

The open time starts at `open_s`, is multiplied by `factor` with each reopening up to `open_max_s`, and starts over
once the circuit has stayed closed for `open_max_s`. Sources: the generation counter is gobreaker's; growth and cap
follow elastic-transport (1 s doubling to 30 s) and Envoy's outlier detection.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from random import Random

from lbkit.core.backoff import growing, jittered
from lbkit.core.outcome import FAILURES, Result
from lbkit.errors import ConfigError, LeaseMisuse


class State(enum.Enum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When an endpoint is kept out for its failures, and how it comes back.

    Args:
        failures: Consecutive failures that open the circuit, at least 1; 5 by default (Envoy's consecutive_5xx,
            Finagle).
        open_s: First open time in seconds, above 0; 1 by default.
        factor: Growth of the open time with each reopening, at least 1; 2 by default.
        open_max_s: Longest open time in seconds, at least `open_s`; 30 by default.
        probes: Trial requests at a time while half-open, all of which must succeed, at least 1; 1 by default.
        jitter_ratio: Spread of the open time, 0 to 1; 0.1 by default, so that many clients do not probe in step.

    Raises:
        ConfigError: A value is out of range.
    """

    failures: int = 5
    open_s: float = 1.0
    factor: float = 2.0
    open_max_s: float = 30.0
    probes: int = 1
    jitter_ratio: float = 0.1

    def __post_init__(self) -> None:
        if self.failures < 1 or self.probes < 1:
            raise ConfigError("CircuitBreaker: failures and probes must be at least 1")
        if not 0 < self.open_s <= self.open_max_s or not math.isfinite(self.open_max_s):
            raise ConfigError("CircuitBreaker: open_s must be above 0 seconds and at most open_max_s")
        if not self.factor >= 1:
            raise ConfigError(f"CircuitBreaker: factor must be at least 1, not {self.factor!r}")
        if not 0 <= self.jitter_ratio <= 1:
            raise ConfigError(f"CircuitBreaker: jitter_ratio must be from 0 to 1, not {self.jitter_ratio!r}")


class Circuit:
    """One endpoint's circuit: the machine built from a `CircuitBreaker`."""

    __slots__ = (
        "_closed_at", "_config", "_openings", "_rng", "_succeeded", "due", "failures", "generation", "permits", "state",
    )  # fmt: skip

    def __init__(self, config: CircuitBreaker, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._openings = 0
        self._succeeded = 0
        self._closed_at = -math.inf
        self.state = State.CLOSED
        self.generation = 0
        self.failures = 0
        self.permits = 0
        self.due = math.inf

    def advance(self, now: float) -> bool:
        """Make the transition that is due, if any; True if the state changed."""
        if self.state is State.OPEN and now >= self.due:
            self.generation += 1
            self.state = State.HALF_OPEN
            self.permits = self._config.probes
            self._succeeded = 0
            self.due = math.inf
            return True
        return False

    def take_permit(self) -> None:
        """Use one of the half-open circuit's probes.

        Raises:
            LeaseMisuse: None is left; nothing changes.
        """
        if self.permits < 1:
            raise LeaseMisuse("the circuit has no probe left to give")
        self.permits -= 1

    def record(self, result: Result, generation: int, *, probe: bool, now: float) -> bool:
        """Take the result of an attempt that began in `generation`; True if the state changed."""
        if generation != self.generation:
            return False
        failed = result in FAILURES
        if not failed and result is not Result.OK:
            if probe:
                self.permits += 1
            return False
        if self.state is State.CLOSED:
            if not failed:
                self.failures = 0
                return False
            self.failures += 1
            if self.failures < self._config.failures:
                return False
            if now - self._closed_at >= self._config.open_max_s:
                self._openings = 0
            return self._open(now)
        if failed:
            return self._open(now) if probe else False
        if probe:
            self._succeeded += 1
            if self._succeeded < self._config.probes:
                return False
        self.generation += 1
        self.state = State.CLOSED
        self.failures = self.permits = 0
        self.due = math.inf
        self._closed_at = now
        return True

    def renew(self) -> None:
        """Forget the attempts that are out: their results will be ignored, their trials are given out again."""
        self.generation += 1
        if self.state is State.HALF_OPEN:
            self.permits = self._config.probes
            self._succeeded = 0

    def _open(self, now: float) -> bool:
        config = self._config
        open_s = growing(config.open_s, config.factor, config.open_max_s, self._openings)
        self._openings += 1
        self.generation += 1
        self.state = State.OPEN
        self.permits = 0
        self.due = now + jittered(open_s, config.jitter_ratio, self._rng)
        return True
