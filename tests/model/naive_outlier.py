"""Outlier detection done naively, to compare with: every call is kept in a list, time ticks eagerly, all is counted anew."""

import math
from collections import Counter

from lbkit.core.outcome import Result
from lbkit.health import Limit
from lbkit.health.outlier import Detector

LOCAL = {Result.UNREACHABLE, Result.NO_ANSWER}
INTERVAL_S = 4.0


class Host:
    """What the model knows of one sibling: every call of the interval, and the present rows."""

    def __init__(self, name):
        self.name = name
        self.calls = []  # (result, slow)
        self.row = self.gateway_row = self.local_row = 0
        self.until = -math.inf
        self.deaf_to = -math.inf  # what began then or before counts for nothing
        self.back = -math.inf
        self.times = 0

    def forget(self):
        self.calls = []
        self.row = self.gateway_row = self.local_row = 0


class Naive:
    """The rules of outlier detection without jitter, and with detections that are enforced always or never."""

    def __init__(self, config):
        self.config = config
        self.now = 0.0
        self.end = math.inf
        self.hosts = []
        self.found = Counter()
        self.full = 0

    def join(self, hosts):
        self.hosts += hosts
        if self.end == math.inf:
            self.end = self.now + INTERVAL_S

    def leave(self, hosts):
        self.hosts = [host for host in self.hosts if host not in hosts]
        while self.out() and not self.may_hold(len(self.out())):
            self.come_back(min(self.out(), key=lambda host: (host.until, host.turn)), self.now)

    def out(self):
        return [host for host in self.hosts if host.until > -math.inf]

    def may_hold(self, count):
        hosts = len(self.hosts)
        if hosts < 2:
            return False
        if count == 1 and self.config.always_one:
            return True
        if self.config.limit is Limit.NOT_ABOVE:
            return count / hosts <= self.config.eject_ratio
        return (count - 1) / hosts < self.config.eject_ratio

    def come_back(self, host, at):
        host.until = -math.inf
        host.back = host.deaf_to = at

    def detect(self, host, detector, enforce, at):
        self.found[detector] += 1
        if not self.may_hold(len(self.out()) + 1) or not enforce:
            return
        served = math.floor((at - host.back) / INTERVAL_S) if host.times else 0
        most = math.ceil(max(self.config.eject_s, self.config.eject_max_s) / self.config.eject_s)
        host.times = min(most, max(0, host.times - served) + 1)
        host.until = at + min(self.config.eject_s * host.times, max(self.config.eject_s, self.config.eject_max_s))
        host.turn = self.found.total()
        host.deaf_to = math.inf
        host.forget()

    def tick(self):
        """Do what is due, one thing after the other; ends of ejections before the end of an interval."""
        while True:
            due = [(host.until, 0, number) for number, host in enumerate(self.out())] + [(self.end, 1, 0)]
            at, what, number = min(due)
            if at > self.now or at == math.inf:
                return
            if what == 0:
                self.come_back(self.out()[number], at)
            else:
                self.compare(at)
                self.end += INTERVAL_S

    def compare(self, at):
        config, split = self.config, self.config.split_local

        def whole(host):
            calls = [one for one in host.calls if not (split and one[0] in LOCAL)]
            return [result is Result.OK for result, _ in calls]

        def reached(host):
            return [result not in LOCAL for result, _ in host.calls]

        def in_time(host):
            return [not slow for result, slow in host.calls if result is Result.OK]

        named = []
        if config.success_rate:
            named += self.below(config.success_rate, whole, Detector.SUCCESS_RATE, config.success_rate.enforce)
            if split:
                enforce = config.success_rate.enforce_local
                named += self.below(config.success_rate, reached, Detector.LOCAL_SUCCESS_RATE, enforce)
        if config.failure_rate:
            named += self.over(config.failure_rate, whole, Detector.FAILURE_RATE, config.failure_rate.enforce)
            if split:
                enforce = config.failure_rate.enforce_local
                named += self.over(config.failure_rate, reached, Detector.LOCAL_FAILURE_RATE, enforce)
        if config.slow_rate:
            named += self.over(config.slow_rate, in_time, Detector.SLOW_RATE, config.slow_rate.enforce)
        for host, detector, enforce in named:
            if host not in self.out():
                self.detect(host, detector, enforce, at)
        for host in self.hosts:
            host.calls = []

    def judged(self, rule, view):
        views = [(view(host), host) for host in self.by_first_full() if len(view(host)) >= rule.min_calls]
        rates = [(sum(view) / len(view), host) for view, host in views]
        return sorted(rates, key=lambda one: one[0]) if len(rates) >= rule.min_hosts else []

    def by_first_full(self):
        return sorted((host for host in self.hosts if host.calls), key=lambda host: host.full_at)

    def below(self, rule, view, detector, enforce):
        rates = self.judged(rule, view)
        if not rates or rates[0][0] == rates[-1][0]:
            return []
        mean = math.fsum(rate for rate, _ in rates) / len(rates)
        stdev = math.sqrt(math.fsum((rate - mean) ** 2 for rate, _ in rates) / len(rates))
        bar = mean - rule.stdev_factor * stdev
        return [(host, detector, enforce) for rate, host in rates if rate < bar and rate <= mean - rule.margin]

    def over(self, rule, view, detector, enforce):
        strict = getattr(rule, "above", False)
        found = []
        for _, host in self.judged(rule, view):
            share = view(host).count(False) / len(view(host))
            if share > rule.ratio or (share == rule.ratio and not strict):
                found.append((host, detector, enforce))
        return found

    def hear(self, host, result, gateway, slow):
        config, local = self.config, result in LOCAL
        rates = (config.success_rate, config.failure_rate, config.slow_rate)
        host.calls.append((result, slow))
        if len(host.calls) == min((rule.min_calls for rule in rates if rule), default=0):
            self.full += 1
            host.full_at = self.full
        elif len(host.calls) == 1:
            host.full_at = math.inf
        if result is Result.OK:
            host.row = host.gateway_row = host.local_row = 0
            return
        if local and config.split_local:
            host.local_row += 1
            self.look_at_row(host, "local_row", Detector.LOCAL_FAILURES, config.local_failures)
            return
        host.local_row = 0
        host.row += 1
        host.gateway_row = host.gateway_row + 1 if local or gateway else 0
        self.look_at_row(host, "gateway_row", Detector.GATEWAY_FAILURES, config.gateway_failures)
        self.look_at_row(host, "row", Detector.FAILURES, config.failures)

    def look_at_row(self, host, row, detector, streak):
        if streak and getattr(host, row) >= streak.failures:
            setattr(host, row, 0)
            self.detect(host, detector, streak.enforce, self.now)
