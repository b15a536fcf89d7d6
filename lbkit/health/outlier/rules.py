"""The rules by which an endpoint is an outlier among its siblings. Frozen values; `rates` and `detector` apply them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lbkit.errors import ConfigError
from lbkit.health.outlier.checks import check_count, check_flag, check_ratio, check_seconds, is_number


@dataclass(frozen=True, slots=True)
class Streak:
    """So many failures in a row eject.

    Args:
        failures: How many, at least 1; 5 by default (Envoy).
        enforce: Share of the detections that eject, 0 to 1; 1 by default. With 0 they are only counted.

    Raises:
        ConfigError: A value is out of range or of the wrong type.
    """

    failures: int = 5
    enforce: float = 1.0

    def __post_init__(self) -> None:
        check_count("Streak: failures", self.failures)
        check_ratio("Streak: enforce", self.enforce)


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Endpoints whose success rate is far below those of their siblings are ejected.

    Far is below the mean minus `stdev_factor` standard deviations (population), and below the mean by `margin` too. One
    bad endpoint among n is sqrt(n - 1) standard deviations below the mean however little it differs, so without a
    margin a single failed request in an interval ejects from five endpoints on.

    Args:
        stdev_factor: In standard deviations, at least 0; 1.9 by default (Envoy and gRPC write 1900).
        margin: Least distance to the mean, 0 to 1; 0.05 by default (ours; Envoy and gRPC have none).
        min_hosts: Endpoints with `min_calls` below which nothing is compared, at least 1; 5 by default (Envoy, gRPC).
        min_calls: Calls in an interval below which an endpoint is not compared, at least 1; 100 by default (the same).
        enforce: Share of the detections that eject, 0 to 1; 1 by default (the same).
        enforce_local: The same for failures to reach it, with `split_local`; 1 by default (Envoy).

    Raises:
        ConfigError: A value is out of range or of the wrong type.
    """

    stdev_factor: float = 1.9
    margin: float = 0.05
    min_hosts: int = 5
    min_calls: int = 100
    enforce: float = 1.0
    enforce_local: float = 1.0

    def __post_init__(self) -> None:
        if not is_number(self.stdev_factor) or not 0 <= self.stdev_factor < math.inf:
            raise ConfigError(
                f"SuccessRate: stdev_factor must be at least 0, such as 1.9 standard deviations, "
                f"not {self.stdev_factor!r}"
            )
        check_ratio("SuccessRate: margin", self.margin)
        check_count("SuccessRate: min_hosts", self.min_hosts)
        check_count("SuccessRate: min_calls", self.min_calls)
        check_ratio("SuccessRate: enforce", self.enforce)
        check_ratio("SuccessRate: enforce_local", self.enforce_local)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Endpoints that fail a fixed share of their calls are ejected, whatever their siblings do.

    Args:
        ratio: The share of failures, 0 to 1; 0.85 by default (Envoy and gRPC write 85).
        above: Whether the share must be above the ratio (gRPC) or may be equal to it (Envoy); False by default.
        min_hosts: Endpoints with `min_calls` below which nothing is judged, at least 1; 5 by default (Envoy, gRPC).
        min_calls: Calls in an interval below which an endpoint is not judged, at least 1; 50 by default (the same).
        enforce: Share of the detections that eject, 0 to 1; 1 by default (gRPC; Envoy's is 0).
        enforce_local: The same for failures to reach it, with `split_local`; 1 by default (Envoy's is 0).

    Raises:
        ConfigError: A value is out of range or of the wrong type.
    """

    ratio: float = 0.85
    above: bool = False
    min_hosts: int = 5
    min_calls: int = 50
    enforce: float = 1.0
    enforce_local: float = 1.0

    def __post_init__(self) -> None:
        check_ratio("FailureRate: ratio", self.ratio)
        check_flag("FailureRate: above", self.above)
        check_count("FailureRate: min_hosts", self.min_hosts)
        check_count("FailureRate: min_calls", self.min_calls)
        check_ratio("FailureRate: enforce", self.enforce)
        check_ratio("FailureRate: enforce_local", self.enforce_local)


@dataclass(frozen=True, slots=True)
class SlowRate:
    """Endpoints of whose good answers a fixed share is slow are ejected.

    Args:
        slow_s: Seconds to the head of the answer from which on it is slow, above 0.
        ratio: The share of slow answers that ejects, above 0, up to 1; 0.5 by default (ours).
        min_hosts, min_calls: As in `FailureRate`; 5 and 50 by default. Calls are good answers here.
        enforce: Share of the detections that eject, 0 to 1; 1 by default.

    Raises:
        ConfigError: A value is out of range or of the wrong type.
    """

    slow_s: float
    ratio: float = 0.5
    min_hosts: int = 5
    min_calls: int = 50
    enforce: float = 1.0

    def __post_init__(self) -> None:
        check_seconds("SlowRate: slow_s", self.slow_s)
        check_ratio("SlowRate: ratio", self.ratio)
        if self.ratio == 0:
            raise ConfigError("SlowRate: ratio must be above 0: every endpoint has at least that share of slow answers")
        check_count("SlowRate: min_hosts", self.min_hosts)
        check_count("SlowRate: min_calls", self.min_calls)
        check_ratio("SlowRate: enforce", self.enforce)
