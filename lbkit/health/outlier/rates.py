"""Which siblings are outliers by their rates over one interval. Pure functions: counts in, suspects out, worst first.

The success rate compares: an outlier is far below the mean of all that had enough calls. The other two have a fixed
bar. Both need a number of endpoints with enough calls, or they say nothing. The worst comes first, so that where only
some may be ejected it is those (Envoy and gRPC take them as they come).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence

from lbkit.health.outlier.config import OutlierDetection
from lbkit.health.outlier.rules import FailureRate, SlowRate, SuccessRate
from lbkit.health.outlier.sibling import Sibling


class Detector(enum.Enum):
    """What found an outlier."""

    FAILURES = "failures"
    GATEWAY_FAILURES = "gateway_failures"
    LOCAL_FAILURES = "local_failures"
    SUCCESS_RATE = "success_rate"
    LOCAL_SUCCESS_RATE = "local_success_rate"
    FAILURE_RATE = "failure_rate"
    LOCAL_FAILURE_RATE = "local_failure_rate"
    SLOW_RATE = "slow_rate"


Suspect = tuple[Sibling, Detector, float, str]
"""Who, by which detector, the share of detections that eject, and the cause in a few words."""
Counted = Callable[[Sibling], tuple[int, int]]
"""Returns how many calls count, and how many of them were good."""


def everything(sibling: Sibling) -> tuple[int, int]:
    """Count all failures alike."""
    return sibling.calls, sibling.calls - sibling.bad - sibling.local


def answers(sibling: Sibling) -> tuple[int, int]:
    """Count only calls that were answered."""
    answered = sibling.calls - sibling.local
    return answered, answered - sibling.bad


def reached(sibling: Sibling) -> tuple[int, int]:
    """Count an answer of any kind as good."""
    return sibling.calls, sibling.calls - sibling.local


def not_slow(sibling: Sibling) -> tuple[int, int]:
    """Count good answers, and those of them as good that came in time."""
    good = sibling.calls - sibling.bad - sibling.local
    return good, good - sibling.slow


def mean_and_threshold(rates: Sequence[float], stdev_factor: float) -> tuple[float, float]:
    """Return the mean, and the mean less so many standard deviations (of a population).

    >>> "{:.2f} {:.2f}".format(*mean_and_threshold([0.5, 1.0, 1.0, 1.0, 1.0], 1.9))
    '0.90 0.52'
    """
    mean = math.fsum(rates) / len(rates)
    stdev = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates) / len(rates))
    return mean, mean - stdev_factor * stdev


def suspects(config: OutlierDetection, siblings: Sequence[Sibling]) -> list[Suspect]:
    """Return whom the rules name, by one rule after the other."""
    found: list[Suspect] = []
    whole = answers if config.split_local else everything
    if (rule := config.success_rate) is not None:
        found += _far_below(rule, whole, siblings, Detector.SUCCESS_RATE, rule.enforce)
        if config.split_local:
            found += _far_below(rule, reached, siblings, Detector.LOCAL_SUCCESS_RATE, rule.enforce_local)
    if (bar := config.failure_rate) is not None:
        found += _over_bar(bar, whole, siblings, Detector.FAILURE_RATE, bar.enforce)
        if config.split_local:
            found += _over_bar(bar, reached, siblings, Detector.LOCAL_FAILURE_RATE, bar.enforce_local)
    if config.slow_rate is not None:
        found += _over_bar(config.slow_rate, not_slow, siblings, Detector.SLOW_RATE, config.slow_rate.enforce)
    return found


def _rates(
    rule: SuccessRate | FailureRate | SlowRate, counted: Counted, siblings: Iterable[Sibling]
) -> list[tuple[float, Sibling]]:
    """Return the shares of good calls of those that had enough, the worst first; none where those are too few."""
    rates = []
    for sibling in siblings:
        calls, good = counted(sibling)
        if calls >= rule.min_calls:
            rates.append((good / calls, sibling))
    if len(rates) < rule.min_hosts:
        return []
    rates.sort(key=lambda one: one[0])
    return rates


def _far_below(
    rule: SuccessRate, counted: Counted, siblings: Iterable[Sibling], detector: Detector, enforce: float
) -> Iterable[Suspect]:
    rates = _rates(rule, counted, siblings)
    if not rates or rates[0][0] == rates[-1][0]:  # where all are equal, rounding alone could make one of them worse
        return
    mean, threshold = mean_and_threshold([rate for rate, _ in rates], rule.stdev_factor)
    for rate, sibling in rates:
        if rate >= threshold or rate > mean - rule.margin:
            break
        yield sibling, detector, enforce, f"{rate:.1%} good, siblings {mean:.1%}"


def _over_bar(
    rule: FailureRate | SlowRate, counted: Counted, siblings: Iterable[Sibling], detector: Detector, enforce: float
) -> Iterable[Suspect]:
    what = "slow" if isinstance(rule, SlowRate) else "failed"
    above = isinstance(rule, FailureRate) and rule.above
    for _, sibling in _rates(rule, counted, siblings):
        calls, good = counted(sibling)
        share = (calls - good) / calls  # a quotient equals the decimal that was given for it; 1 minus a rate may not
        if share < rule.ratio or (above and share == rule.ratio):
            break
        yield sibling, detector, enforce, f"{share:.1%} {what}"
