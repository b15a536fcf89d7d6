"""Outlier detection: an endpoint is compared with its siblings, and ejected for a while if it is much worse.

The detectors and figures are Envoy's and gRPC's (gRFC A50): `OutlierDetection.envoy()` and `.grpc()`.

Rules:
1. No timer, no clock. Time comes in as `now`, and whatever was due since is made up for, in its order and at its time.
   So it does not matter how often `advance` is called.
2. Failures in a row are looked at with every failure, rates at the end of each interval. Only endpoints with enough
   calls for a rule are looked at then: no more than the calls of the interval divided by that number.
3. At most `eject_ratio` of the siblings are out at once, or one where `always_one` says so. An endpoint without
   siblings is never ejected.
4. One incident, one ejection: what began before an ejection, or during it, says nothing afterwards. The counts of the
   ejected start anew.
5. CANCELLED and OVERLOADED count as nothing. A failure never takes one from any count.

    endpoint    event                                        next        and
    ----------  -------------------------------------------  ----------  ------------------------------------------
    in service  OK                                           in service  rows of failures end
    in service  failure, the last of a row                   ejected     where enforced and within the limit;
                                                                         otherwise counted, and the row starts anew
    in service  end of interval, a rate is out of bounds     ejected     as above
    in service  `excuse`                                     in service  counts start anew
    ejected     any outcome                                  ejected     ignored
    ejected     its time is up, or `check_passed`            in service  counts start anew
    ejected     siblings have left and too many are out      in service  those whose time is up first

The n-th ejection in short order lasts n times `eject_s`, at most `eject_max_s`, plus jitter; every whole interval in
service takes one off.

Where we differ from both: ejections end at their time and not with the next interval; the worst are ejected first; the
multiplier stops where it makes no difference; a smaller membership lets endpoints go. What is a failure is said by the
outcomes: here 501, 505, and 503 with Retry-After are none, and for Envoy every 5xx is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from lbkit.core.outcome import Outcome, Result
from lbkit.errors import ConfigError
from lbkit.health.outlier.config import Limit, OutlierDetection
from lbkit.health.outlier.rates import Detector, suspects
from lbkit.health.outlier.rules import Streak
from lbkit.health.outlier.sibling import Sibling

LOCAL = frozenset({Result.UNREACHABLE, Result.NO_ANSWER})
"""Failures that the client has seen without an answer: Envoy's "local origin" (its own 503 and 504)."""


@dataclass(slots=True)
class Tally:
    """What one detector has found.

    Attributes:
        detected: Outliers found.
        ejected: Those of them that were ejected.
        over_limit: Those that were not, because enough were ejected already. The rest were not enforced.
    """

    detected: int = 0
    ejected: int = 0
    over_limit: int = 0


class OutlierDetector:
    """The machine built from an `OutlierDetection`, for the endpoints of one cluster.

    Attributes:
        config: What it was built from.
        hosts: How many siblings there are.
        ejected: Those that are out.
        changed: Those that were ejected or came back; for the owner to look at and to clear.
        due: When time alone may change something: the end of the interval or of the first ejection.
        tallies: Counts by detector, over its life.
    """

    __slots__ = (
        "_end", "_enough", "_epoch", "_most", "_reached", "_returns", "_rng", "_slow_s", "_turn", "changed", "config",
        "due", "ejected", "hosts", "tallies",
    )  # fmt: skip

    def __init__(self, config: OutlierDetection, rng: Random) -> None:
        self.config = config
        self.hosts = 0
        self.ejected: dict[Sibling, None] = {}
        self.changed: list[Sibling] = []
        self.tallies = {detector: Tally() for detector in _detectors(config)}
        self._rng = rng
        rates = (config.success_rate, config.failure_rate, config.slow_rate)
        self._enough = min((rule.min_calls for rule in rates if rule is not None), default=math.inf)
        self._slow_s = math.inf if config.slow_rate is None else config.slow_rate.slow_s
        self._most = math.ceil(config.longest_s / config.eject_s)
        self._reached: dict[Sibling, None] = {}  # have enough calls in this interval for one of the rules about rates
        self._epoch = 0
        self.due = self._end = math.inf  # the latter is that of the running interval
        self._returns: list[tuple[float, int, Sibling]] = []  # a heap; entries whose sibling is back are stale
        self._turn = 0  # breaks its ties

    # -- membership

    def join(self, siblings: Iterable[Sibling], now: float) -> None:
        """Compare these too. The first interval begins with the first of them.

        Raises:
            ConfigError: One of them is compared already, or comes twice; nothing changes.
        """
        siblings = tuple(siblings)
        if len(set(siblings)) < len(siblings) or any(map(self._has, siblings)):
            raise ConfigError("outlier detection: one of them is compared already")
        self.advance(now)
        if siblings and self._end == math.inf:
            self._end = now + self.config.interval_s
            self.due = self._end
        for sibling in siblings:
            self.hosts += 1
            sibling.counts_from = -math.inf

    def leave(self, siblings: Iterable[Sibling], now: float) -> None:
        """Compare these no more; what they still answer counts for nothing.

        Where fewer siblings may have fewer ejected, those whose time is up first come back.

        Raises:
            ConfigError: One of them is not compared, or comes twice; nothing changes.
        """
        siblings = tuple(siblings)
        if len(set(siblings)) < len(siblings) or not all(map(self._has, siblings)):
            raise ConfigError("outlier detection: one of them is not compared")
        self.advance(now)
        for sibling in siblings:
            self.hosts -= 1
            self.ejected.pop(sibling, None)
            sibling.until = -math.inf
            self._drop(sibling)
            sibling.counts_from = math.inf
        while self.ejected and not self._may_eject(len(self.ejected) - 1):
            self._first()  # drops what is stale
            self._return(heappop(self._returns)[2], now, "fewer siblings")

    def _has(self, sibling: Sibling) -> bool:
        return sibling.counts_from < math.inf or sibling in self.ejected

    # -- what happens

    def good(self, sibling: Sibling, started: float, now: float, took_s: float = 0.0) -> None:
        """Count a good answer to an attempt that began at `started` and took `took_s` seconds."""
        if now >= self.due:
            self.advance(now)
        if started <= sibling.counts_from:
            return
        if sibling.epoch != self._epoch:
            sibling.begin(self._epoch)
        sibling.calls += 1
        if sibling.calls == self._enough:
            self._reached[sibling] = None
        if sibling.in_row:
            sibling.end_rows()
        if took_s >= self._slow_s:
            sibling.slow += 1

    def record(self, sibling: Sibling, outcome: Outcome, *, started: float, now: float, took_s: float = 0.0) -> None:
        """Take the outcome of an attempt that began at `started` and took `took_s` seconds."""
        if outcome.result is Result.OK:
            self.good(sibling, started, now, took_s)
            return
        local = outcome.result in LOCAL
        if not local and outcome.result is not Result.ERROR:
            return
        if now >= self.due:
            self.advance(now)
        if started <= sibling.counts_from:
            return
        if sibling.epoch != self._epoch:
            sibling.begin(self._epoch)
        sibling.calls += 1
        if sibling.calls == self._enough:
            self._reached[sibling] = None
        if local:
            sibling.local += 1
        else:
            sibling.bad += 1
        self._lengthen_rows(sibling, now, local=local, gateway=outcome.gateway)

    def advance(self, now: float) -> None:
        """Make up for what was due by `now`: ends of ejections and of intervals, in their order."""
        while (first := self._first()) <= now or self._end <= now:
            if first <= self._end:
                self._return(heappop(self._returns)[2], first, "time")
            else:
                self._compare(self._end)
                # Nothing was counted in the intervals since: their ends change nothing.
                self._end += self.config.interval_s * (1 + (now - self._end) // self.config.interval_s)
                self._epoch += 1
        self.due = min(self._end, first)

    def excuse(self, sibling: Sibling, now: float) -> None:
        """Forget what is counted of it now: someone else has judged it, and has put it out."""
        self.advance(now)
        if sibling not in self.ejected:
            self._drop(sibling)

    def check_passed(self, sibling: Sibling, now: float) -> None:
        """Take note of a successful active check: it ends an ejection, where the config says so."""
        self.advance(now)
        if sibling in self.ejected and self.config.restore_on_check:
            self._return(sibling, now, "check")

    # -- rows of failures

    def _lengthen_rows(self, sibling: Sibling, now: float, *, local: bool, gateway: bool) -> None:
        config = self.config
        sibling.in_row = True
        if local and config.split_local:
            sibling.local_row += 1
            if config.local_failures is not None and sibling.local_row >= config.local_failures.failures:
                row, sibling.local_row = sibling.local_row, 0
                self._row_is_full(sibling, Detector.LOCAL_FAILURES, config.local_failures, row, now)
            return
        sibling.local_row = 0
        sibling.row += 1
        sibling.gateway_row = sibling.gateway_row + 1 if local or gateway else 0
        if config.gateway_failures is not None and sibling.gateway_row >= config.gateway_failures.failures:
            row, sibling.gateway_row = sibling.gateway_row, 0
            self._row_is_full(sibling, Detector.GATEWAY_FAILURES, config.gateway_failures, row, now)
        if config.failures is not None and sibling.row >= config.failures.failures:
            row, sibling.row = sibling.row, 0
            self._row_is_full(sibling, Detector.FAILURES, config.failures, row, now)

    def _row_is_full(self, sibling: Sibling, detector: Detector, rule: Streak, row: int, now: float) -> None:
        what = detector.value.replace("_", " ")
        self._detect(sibling, detector, rule.enforce, f"{row} {what} in a row" if row > 1 else f"a {what[:-1]}", now)

    # -- ejecting

    def _compare(self, at: float) -> None:
        named = suspects(self.config, list(self._reached))
        self._reached.clear()
        for sibling, detector, enforce, cause in named:
            if sibling not in self.ejected:
                self._detect(sibling, detector, enforce, cause, at)

    def _detect(self, sibling: Sibling, detector: Detector, enforce: float, cause: str, at: float) -> None:
        tally = self.tallies[detector]
        tally.detected += 1
        if not self._may_eject(len(self.ejected)):
            tally.over_limit += 1
        elif enforce == 1 or self._rng.random() < enforce:
            tally.ejected += 1
            self._eject(sibling, cause, at)

    def _may_eject(self, out: int) -> bool:
        """Whether one more may be ejected while `out` are."""
        if self.hosts < 2:
            return False
        config = self.config
        if config.limit is Limit.UNTIL_REACHED:
            within = out / self.hosts < config.eject_ratio
        else:
            within = (out + 1) / self.hosts <= config.eject_ratio
        return within or (config.always_one and out == 0)

    def _eject(self, sibling: Sibling, cause: str, at: float) -> None:
        config = self.config
        if sibling.multiplier:
            served = (at - sibling.returned_at) // config.interval_s
            sibling.multiplier = max(0, sibling.multiplier - int(served))
        sibling.multiplier = min(self._most, sibling.multiplier + 1)
        sibling.until = at + min(config.eject_s * sibling.multiplier, config.longest_s)
        if config.jitter_s:
            sibling.until += config.jitter_s * self._rng.random()
        self._drop(sibling)
        sibling.counts_from = math.inf
        sibling.cause = cause
        self.ejected[sibling] = None
        self._turn += 1
        heappush(self._returns, (sibling.until, self._turn, sibling))
        self.due = min(self.due, sibling.until)
        self.changed.append(sibling)

    def _return(self, sibling: Sibling, at: float, cause: str) -> None:
        del self.ejected[sibling]
        sibling.cause = cause
        sibling.until = -math.inf
        sibling.returned_at = sibling.counts_from = at
        self.changed.append(sibling)

    def _first(self) -> float:
        """Return when the first ejection ends, inf without any."""
        returns = self._returns
        while returns:
            until, _, sibling = returns[0]
            if sibling.until == until:
                return until
            heappop(returns)
        return math.inf

    def _drop(self, sibling: Sibling) -> None:
        sibling.clear()
        self._reached.pop(sibling, None)


def _detectors(config: OutlierDetection) -> Iterable[Detector]:
    """Return the detectors that a config turns on."""
    split = config.split_local
    for detector, on in (
        (Detector.FAILURES, config.failures),
        (Detector.GATEWAY_FAILURES, config.gateway_failures),
        (Detector.LOCAL_FAILURES, config.local_failures),
        (Detector.SUCCESS_RATE, config.success_rate),
        (Detector.LOCAL_SUCCESS_RATE, config.success_rate if split else None),
        (Detector.FAILURE_RATE, config.failure_rate),
        (Detector.LOCAL_FAILURE_RATE, config.failure_rate if split else None),
        (Detector.SLOW_RATE, config.slow_rate),
    ):
        if on is not None:
            yield detector
