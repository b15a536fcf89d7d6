"""The config of outlier detection: by which rules an endpoint is ejected, for how long, and how many may be at once."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lbkit.errors import ConfigError
from lbkit.health.outlier.checks import check_flag, check_ratio, check_seconds
from lbkit.health.outlier.rules import FailureRate, SlowRate, Streak, SuccessRate

COMPARED = SuccessRate()
BAR = FailureRate()


class Limit(enum.Enum):
    """How the largest share of ejected endpoints is kept."""

    NOT_ABOVE = "not_above"
    """Envoy's: with the one to be ejected the share must not be above the ratio."""
    UNTIL_REACHED = "until_reached"
    """gRPC's (gRFC A50): the share must be below the ratio before the next is ejected. So there may always be one."""


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an endpoint is ejected for being worse than its siblings, and for how long.

    By itself it compares rates and leaves failures in a row to the circuit breaker. `envoy()` and `grpc()` have the
    rules and defaults of those two; change single values with `dataclasses.replace`.

    Args:
        interval_s: Seconds over which rates are counted and then compared, at least 0.1; 10 by default (Envoy, gRPC).
        eject_s: First ejection in seconds, above 0; 30 by default (Envoy, gRPC). The n-th in short order is n times
            as long; each interval in service takes one off.
        eject_max_s: Longest ejection in seconds; 300 by default (Envoy, gRPC). Where `eject_s` is longer, that.
        jitter_s: Seconds of which up to so many are added by chance, at least 0; 3 by default (ours: many clients
            should not come back in step).
        eject_ratio: Largest share of the endpoints that may be ejected at once, 0 to 1; 0.1 by default (Envoy, gRPC).
        limit: How that is kept; `Limit.NOT_ABOVE` by default.
        always_one: Whether one may be ejected even where that is more than the share; True by default (gRPC).
        failures: Failures in a row that eject; None by default: the circuit breaker has that rule.
        gateway_failures: The same for answers of 502, 503 and 504, and for failures to get an answer where those are
            not split; None by default.
        local_failures: The same for failures to get an answer alone; None by default. It needs `split_local`.
        split_local: Whether failures to get an answer (UNREACHABLE, NO_ANSWER) are counted apart from bad answers;
            False by default (Envoy).
        success_rate, failure_rate, slow_rate: See those; None turns one off. The last is None by default.
        restore_on_check: Whether a successful active check ends an ejection; True by default (Envoy).

    Raises:
        ConfigError: A value is out of range or of the wrong type; the message says what to write.
    """

    interval_s: float = 10.0
    eject_s: float = 30.0
    eject_max_s: float = 300.0
    jitter_s: float = 3.0
    eject_ratio: float = 0.1
    limit: Limit = Limit.NOT_ABOVE
    always_one: bool = True
    failures: Streak | None = None
    gateway_failures: Streak | None = None
    local_failures: Streak | None = None
    split_local: bool = False
    success_rate: SuccessRate | None = COMPARED
    failure_rate: FailureRate | None = BAR
    slow_rate: SlowRate | None = None
    restore_on_check: bool = True

    def __post_init__(self) -> None:
        for name in ("interval_s", "eject_s", "eject_max_s"):
            check_seconds(f"OutlierDetection: {name}", getattr(self, name))
        if self.interval_s < 0.1:
            raise ConfigError(f"OutlierDetection: interval_s must be at least 0.1 seconds, not {self.interval_s!r}")
        if self.jitter_s != 0:
            check_seconds("OutlierDetection: jitter_s", self.jitter_s, " or 0")
        check_ratio("OutlierDetection: eject_ratio", self.eject_ratio)
        for name, kind in (
            ("limit", Limit),
            ("failures", Streak), ("gateway_failures", Streak), ("local_failures", Streak),
            ("success_rate", SuccessRate), ("failure_rate", FailureRate), ("slow_rate", SlowRate),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, kind) and (value is not None or kind is Limit):
                wanted = "a Limit, such as Limit.NOT_ABOVE" if kind is Limit else f"a {kind.__name__} or None"
                raise ConfigError(f"OutlierDetection: {name} must be {wanted}, not {value!r}")
        for name in ("always_one", "split_local", "restore_on_check"):
            check_flag(f"OutlierDetection: {name}", getattr(self, name))
        if self.local_failures is not None and not self.split_local:
            raise ConfigError(
                "OutlierDetection: local_failures needs split_local=True; without it those are counted with all others"
            )
        rules = (self.failures, self.gateway_failures, self.local_failures)
        if all(rule is None for rule in (*rules, self.success_rate, self.failure_rate, self.slow_rate)):
            raise ConfigError(
                "OutlierDetection: nothing could eject: give a rule, such as success_rate=SuccessRate(), or give the "
                "cluster no OutlierDetection"
            )

    @property
    def longest_s(self) -> float:
        """The longest ejection in seconds, its jitter left out (Envoy: the longer of the two)."""
        return max(self.eject_max_s, self.eject_s)

    @classmethod
    def envoy(cls, *, split_local: bool = False) -> OutlierDetection:
        """Return Envoy's defaults: what is not enforced there is counted here.

        Its 10 % of fewer than ten endpoints is none at all; `replace(..., always_one=True)` lets one go.

        Args:
            split_local: Envoy's `split_external_local_origin_errors`.
        """
        return cls(
            jitter_s=0.0,
            always_one=False,
            failures=Streak(5, enforce=1.0),
            gateway_failures=Streak(5, enforce=0.0),
            local_failures=Streak(5, enforce=1.0) if split_local else None,
            split_local=split_local,
            success_rate=SuccessRate(margin=0.0),
            failure_rate=FailureRate(enforce=0.0, enforce_local=0.0),
        )

    @classmethod
    def grpc(cls) -> OutlierDetection:
        """Return the defaults of gRPC (gRFC A50) with both of its algorithms on."""
        return cls(
            jitter_s=0.0,
            limit=Limit.UNTIL_REACHED,
            success_rate=SuccessRate(margin=0.0),
            failure_rate=FailureRate(above=True),
        )
