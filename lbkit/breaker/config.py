"""The circuit breaker's config: when a circuit opens, how it comes back, and whether it may refuse at all."""

from __future__ import annotations

import enum
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from lbkit.breaker.verdict import Errors
from lbkit.errors import ConfigError

if TYPE_CHECKING:
    # A guard has a lock and a clock, so it is made on a floor above and looked for when it is used.
    from lbkit.runtime.guard import Guard

WINDOW_CALLS_MAX = 1_000_000


class Mode(enum.Enum):
    """Whether a circuit acts on what it learns."""

    NORMAL = "normal"
    DISABLED = "disabled"
    """It counts and is always closed."""
    METRICS_ONLY = "metrics_only"
    """It counts and changes its state as in normal, and refuses nothing: to see what it would do."""
    FORCED_OPEN = "forced_open"
    """It is open until someone says otherwise."""


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When an endpoint is kept out for its failures, and how it comes back.

    The rules that can open a circuit are consecutive failures, the rate of failures, and the rate of slow calls. Any of
    them is enough; each is off with None. The rates look at one window: the last `window_calls` calls where that is
    given, the last `window_s` seconds otherwise.

    Args:
        failures: Consecutive failures that open the circuit, at least 1, or None; 5 by default (Envoy's
            consecutive_5xx, Finagle).
        open_s: First open time in seconds, above 0; 1 by default.
        factor: Growth of the open time with each reopening, at least 1; 2 by default.
        open_max_s: Longest open time in seconds, at least `open_s`; 30 by default.
        probes: Trial requests at a time while half-open, all of which must succeed, at least 1; 1 by default.
        jitter_ratio: Spread of the open time, 0 to 1; 0.1 by default, so that many clients do not probe in step.
        failure_rate: Share of failures in the window that opens the circuit, above 0, up to 1; None by default.
        slow_rate: Share of slow calls in the window that opens the circuit, above 0, up to 1; None by default. It needs
            `slow_s`. A slow trial then has failed.
        slow_s: Seconds from which on a call is slow, above 0. It needs `slow_rate`.
        window_s: Length of the window in seconds, above 0, exact to a tenth of it; 10 by default (Hystrix).
        window_calls: Length of the window in calls, 1 to 1,000,000, in place of `window_s`; None by default.
        min_calls: Calls in the window below which no rate opens the circuit, at least 1; 20 by default (Hystrix). It is
            never more than `window_calls` (resilience4j's rule).
        probe_max_s: Seconds after which a trial without a result no longer holds up the next one, above 0; 60 by
            default (resilience4j's longest wait of a call that is not slow).
        mode: Whether it refuses calls at all; `Mode.NORMAL` by default.

    Raises:
        ConfigError: A value is out of range or of the wrong type; the message says what to write.
    """

    failures: int | None = 5
    open_s: float = 1.0
    factor: float = 2.0
    open_max_s: float = 30.0
    probes: int = 1
    jitter_ratio: float = 0.1
    failure_rate: float | None = None
    slow_rate: float | None = None
    slow_s: float | None = None
    window_s: float = 10.0
    window_calls: int | None = None
    min_calls: int = 20
    probe_max_s: float = 60.0
    mode: Mode = Mode.NORMAL

    def __post_init__(self) -> None:
        if self.failures is not None:
            _check_count("failures", self.failures, " or None")
        if self.window_calls is not None:
            _check_count("window_calls", self.window_calls, " or None", most=WINDOW_CALLS_MAX)
        _check_count("probes", self.probes)
        _check_count("min_calls", self.min_calls)
        for name in ("open_s", "open_max_s", "window_s", "probe_max_s"):
            _check_seconds(name, getattr(self, name))
        if self.open_s > self.open_max_s:
            raise ConfigError(
                f"CircuitBreaker: open_s must be at most open_max_s, which is {self.open_max_s!r}, not {self.open_s!r}"
            )
        if not _is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise ConfigError(f"CircuitBreaker: factor must be a number of at least 1, not {self.factor!r}")
        if not _is_number(self.jitter_ratio) or not 0 <= self.jitter_ratio <= 1:
            raise ConfigError(f"CircuitBreaker: jitter_ratio must be from 0 to 1, not {self.jitter_ratio!r}")
        for name in ("failure_rate", "slow_rate"):
            rate = getattr(self, name)
            if rate is not None and not (_is_number(rate) and 0 < rate <= 1):
                raise ConfigError(
                    f"CircuitBreaker: {name} must be above 0 and at most 1 (half of the calls is 0.5), or None, "
                    f"not {rate!r}"
                )
        if self.slow_s is not None:
            _check_seconds("slow_s", self.slow_s)
        if (self.slow_rate is None) != (self.slow_s is None):
            raise ConfigError("CircuitBreaker: slow_rate and slow_s need each other, such as slow_rate=0.5, slow_s=2.0")
        if not isinstance(self.mode, Mode):
            modes = ", ".join(str(mode) for mode in Mode)
            raise ConfigError(
                f"CircuitBreaker: mode must be one of {modes} (from lbkit.breaker import Mode), not {self.mode!r}"
            )
        if self.failures is None and not self.has_window and self.mode is not Mode.DISABLED:
            raise ConfigError(
                "CircuitBreaker: nothing could open it: give failures, failure_rate or slow_rate, or say "
                "mode=Mode.DISABLED"
            )

    if not TYPE_CHECKING:  # a type checker finds it by itself

        def __call__(self, *_: object, **__: object) -> NoReturn:
            """Refuse to decorate: a config holds no state."""
            raise ConfigError(
                'a CircuitBreaker is a config and decorates nothing: write @CircuitBreaker(...).guard("name")'
            )

    @property
    def has_window(self) -> bool:
        """Whether there is a rule that looks at a window of calls."""
        return self.failure_rate is not None or self.slow_rate is not None

    def guard(
        self,
        name: str,
        *,
        failure: Errors = Exception,
        success: Errors = (),
        ignore: Errors = (),
        failure_result: Callable[[Any], bool] | None = None,
        ignore_result: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] | None = None,
        rng: Random | None = None,
    ) -> Guard:
        """Make a circuit breaker that is used alone, without a cluster: see `lbkit.Guard`, whose arguments these are.

        A config holds no state: two guards made from one know nothing of each other.
        """
        made: Guard = importlib.import_module("lbkit.runtime.guard").Guard(
            name,
            self,
            failure=failure,
            success=success,
            ignore=ignore,
            failure_result=failure_result,
            ignore_result=ignore_result,
            clock=clock,
            rng=rng,
        )
        return made


def _check_count(name: str, value: object, alternative: str = "", *, most: int | None = None) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 and (most is None or value <= most):
        return
    limit = "at least 1" if most is None else f"1 to {most:,}"
    raise ConfigError(f"CircuitBreaker: {name} must be a whole number, {limit}{alternative}, not {value!r}")


def _check_seconds(name: str, value: object) -> None:
    if not _is_number(value) or not 0 < value < math.inf:  # type: ignore[operator]
        raise ConfigError(f"CircuitBreaker: {name} must be above 0 seconds and finite, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
