"""The retry budget: all calls of a cluster together may retry only a share of what they ask for.

Limits per call do not prevent a retry storm: three attempts each are three times the load exactly when everything is
down. The budget counts requests and retries of the last ten seconds and grants a retry while there were fewer than
max(floor, ratio x requests). A retry is counted when it is decided on, so those that wait in a back-off count too
(Envoy's budget forgets them, envoyproxy/envoy#30205).

Sources: 20 % of requests is the default of Finagle, Linkerd and Envoy, the ten seconds are Finagle's. The floor lets a
client with little traffic retry at all; it is the larger of the two and not added, so that with everything down the
attempts stay within 1 + ratio times the requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbkit.core.window import SlidingCount
from lbkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How much a whole cluster may retry.

    Args:
        ratio: Retries per request over the window, 0 to 10; 0.2 by default.
        floor: Retries per window that are granted whatever the traffic, at least 0; 20 by default.
        window_s: Length of the window in seconds, above 0; 10 by default.

    Raises:
        ConfigError: A value is out of range.
    """

    ratio: float = 0.2
    floor: int = 20
    window_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 10:
            raise ConfigError(f"RetryBudget: ratio must be from 0 to 10 retries per request, not {self.ratio!r}")
        if self.floor < 0 or not self.window_s > 0:
            raise ConfigError("RetryBudget: floor must be at least 0 and window_s above 0 seconds")


class Budget:
    """The machine built from a `RetryBudget`."""

    __slots__ = ("_config", "_requests", "_retries")

    def __init__(self, config: RetryBudget) -> None:
        self._config = config
        self._requests = SlidingCount(config.window_s)
        self._retries = SlidingCount(config.window_s)

    def deposit(self, now: float) -> None:
        """Count a request."""
        self._requests.add(now)

    def withdraw(self, now: float) -> bool:
        """Take one retry; False, with nothing taken, where the budget is used up."""
        granted = max(self._config.floor, self._config.ratio * self._requests.total(now))
        if self._retries.total(now) + 1 > granted:
            return False
        self._retries.add(now)
        return True
