"""What a guard tells of itself: frozen values that name states and causes, nothing that passed through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lbkit.breaker.circuit import State
from lbkit.breaker.config import Mode


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A guard's circuit has come to another state or mode.

    Attributes:
        name: The guard's.
        before, after: Where it stood and where it stands.
        mode: Whether it acts on that.
        cause: Why, such as "5 failures in a row", "time", "trial" or "by hand".
        for_s: Seconds until that may change by itself; `inf` where only an event can change it.
    """

    name: str
    before: State
    after: State
    mode: Mode
    cause: str
    for_s: float


ChangeListener = Callable[[CircuitChanged], None]


@dataclass(frozen=True, slots=True)
class GuardStats:
    """What a guard has seen.

    Attributes:
        name: The guard's.
        state, mode, cause: Where it stands, whether it acts on it, and why it stands there.
        since_s: Seconds for which it has stood there.
        retry_after_s: Seconds until an open circuit lets a trial through; None where there is no such time.
        ok, failed, ignored: Calls that ended, by what they said. What began in an older state is counted here too.
        refused: Calls that were refused with `CircuitOpen`.
        would_refuse: Calls that were let through and that another mode would have refused (`Mode.METRICS_ONLY`).
        opened: How often it opened.
        failures: Failures in a row now.
        window_calls, window_failed, window_slow: The calls that the rates look at; 0 without a rule that has a rate.
    """

    name: str
    state: State
    mode: Mode
    cause: str
    since_s: float
    retry_after_s: float | None
    ok: int
    failed: int
    ignored: int
    refused: int
    would_refuse: int
    opened: int
    failures: int
    window_calls: int
    window_failed: int
    window_slow: int

    @property
    def failure_rate(self) -> float:
        """Share of failures in the window, 0 to 1."""
        return self.window_failed / self.window_calls if self.window_calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Share of slow calls in the window, 0 to 1."""
        return self.window_slow / self.window_calls if self.window_calls else 0.0
