"""Random walks over outlier detection beside a naive model, and beside a twin that is looked at more often.

Times are quarters of seconds, so that
arithmetic is exact and events fall on the borders of intervals often.
"""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbkit.core.outcome import Outcome, Result
from lbkit.errors import ConfigError
from lbkit.health import FailureRate, Limit, OutlierDetection, SlowRate, Streak, SuccessRate
from lbkit.health.outlier import OutlierDetector, Sibling
from tests.model.naive_outlier import INTERVAL_S, Host, Naive

NEUTRAL = {Result.CANCELLED, Result.OVERLOADED}
RESULTS = [Result.OK, Result.OK, Result.ERROR, Result.ERROR, *Result]
CALLS = st.lists(st.sampled_from(RESULTS), min_size=1, max_size=8)
PLACE = st.integers(0, 99)
PATTERNS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6)
ENFORCE = st.sampled_from([0.0, 1.0, 1.0])
STREAK = st.one_of(st.none(), st.none(), st.builds(Streak, st.integers(2, 5), ENFORCE))
COMPARED = st.builds(
    SuccessRate, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.25]), st.integers(1, 3), st.integers(1, 4),
    ENFORCE, ENFORCE,
)  # fmt: skip
BAR = st.builds(
    FailureRate, st.sampled_from([0.25, 0.5, 1.0]), st.booleans(), st.integers(1, 3), st.integers(1, 4), ENFORCE,
    ENFORCE,
)  # fmt: skip
SLOW = st.builds(SlowRate, st.just(1.0), st.sampled_from([0.5, 1.0]), st.integers(1, 3), st.integers(1, 4), ENFORCE)
RULES = ("failures", "gateway_failures", "local_failures", "success_rate", "failure_rate", "slow_rate")
CONFIGS = st.fixed_dictionaries({
    "failures": STREAK, "gateway_failures": STREAK, "success_rate": COMPARED | st.none(),
    "failure_rate": BAR | st.none(), "slow_rate": SLOW | st.none(), "eject_ratio": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    "limit": st.sampled_from(Limit), "always_one": st.booleans(), "split_local": st.booleans(),
    "restore_on_check": st.booleans(), "eject_s": st.sampled_from([2.0, 6.0]), "eject_max_s": st.sampled_from([4.0, 12.0]),
})  # fmt: skip


class OutlierModel(RuleBasedStateMachine):
    """Siblings come and go, are used and checked; time passes."""

    @initialize(options=CONFIGS, streak=STREAK, count=st.integers(1, 8))
    def begin(self, options, streak, count):
        if options["split_local"]:
            options["local_failures"] = streak
        if not any(options.get(kind) for kind in RULES):
            options["failure_rate"] = FailureRate(0.5, min_hosts=1, min_calls=2)
        self.config = OutlierDetection(interval_s=INTERVAL_S, jitter_s=0.0, **options)
        self.detector = OutlierDetector(self.config, Random(1))
        self.twin = OutlierDetector(self.config, Random(1))
        self.naive = Naive(self.config)
        self.names = 0
        self.siblings = {}
        self.flights = []  # (host, when it began)
        self.join(count)

    # -- what happens

    def both(self):
        return (0, self.detector), (1, self.twin)

    @rule(count=st.integers(1, 2))
    def join(self, count):
        self.naive.tick()
        fresh = [Host(f"s{self.names + number}") for number in range(count)]
        self.names += count
        for host in fresh:
            self.siblings[host] = (Sibling(host.name), Sibling(host.name))
        for which, detector in self.both():
            detector.join([self.siblings[host][which] for host in fresh], self.naive.now)
        self.naive.join(fresh)

    @precondition(lambda self: self.naive.hosts)
    @rule(data=st.data())
    def leave(self, data):
        gone = data.draw(st.lists(st.sampled_from(self.naive.hosts), unique=True, max_size=2))
        self.naive.tick()
        for which, detector in self.both():
            detector.leave([self.siblings[host][which] for host in gone], self.naive.now)
        self.naive.leave(gone)

    @precondition(lambda self: self.naive.hosts)
    @rule(results=CALLS, gateway=st.booleans(), age=st.sampled_from([0.25, 0.25, 0.5, 1.0, 6.0]), first=PLACE)
    def serve(self, results, gateway, age, first):
        """Some calls of one host end, which began so long ago."""
        host = self.naive.hosts[first % len(self.naive.hosts)]
        for result in results:
            self.take(host, self.naive.now - age, result, gateway)

    @precondition(lambda self: self.naive.hosts)
    @rule(patterns=PATTERNS, age=st.sampled_from([0.25, 0.25, 1.0]), quarters=st.sampled_from([0, 0, 0, 1, 9, 16, 30]))
    def pass_an_interval(self, patterns, age, quarters):
        """Every host gets calls after some pattern; then the interval ends, perhaps long since."""
        for number, host in enumerate(self.naive.hosts):
            good, bad, local = patterns[number % len(patterns)]
            for result in [Result.ERROR] * bad + [Result.NO_ANSWER] * local + [Result.OK] * good:
                self.take(host, self.naive.now - (age if number < 2 else 0.25), result, gateway=False)
        self.naive.tick()
        self.naive.now = self.naive.end + quarters / 4

    @precondition(lambda self: self.naive.hosts)
    @rule(place=PLACE)
    def send(self, place):
        self.flights.append((self.naive.hosts[place % len(self.naive.hosts)], self.naive.now))

    @precondition(lambda self: self.flights)
    @rule(result=st.sampled_from(RESULTS), gateway=st.booleans(), place=PLACE)
    def end_one(self, result, gateway, place):
        host, began = self.flights.pop(place % len(self.flights))
        self.take(host, began, result, gateway)

    def take(self, host, began, result, gateway):
        gateway = gateway and result is Result.ERROR
        took_s = self.naive.now - began
        outcome = Outcome(result, gateway=gateway)
        if result not in NEUTRAL:
            self.naive.tick()
        before = [self.standing_of(self.siblings[host][which]) for which in (0, 1)]
        for which, detector in self.both():
            detector.record(self.siblings[host][which], outcome, started=began, now=self.naive.now, took_s=took_s)
        if result in NEUTRAL or host not in self.naive.hosts or began <= host.deaf_to:
            if result in NEUTRAL:
                assert before == [self.standing_of(self.siblings[host][which]) for which in (0, 1)]
            return
        self.naive.hear(host, result, gateway, took_s >= 1.0)

    @staticmethod
    def standing_of(sibling):
        return tuple(getattr(sibling, name) for name in Sibling.__slots__)

    @rule(quarters=st.sampled_from([1, 1, 2, 4, 8, 16, 40, 400]))
    def wait(self, quarters):
        self.naive.now += quarters / 4

    @precondition(lambda self: self.naive.hosts)
    @rule(place=PLACE)
    def check(self, place):
        candidates = self.naive.out() or self.naive.hosts
        host = candidates[place % len(candidates)]
        self.naive.tick()
        for which, detector in self.both():
            detector.check_passed(self.siblings[host][which], self.naive.now)
        if host in self.naive.out() and self.config.restore_on_check:
            self.naive.come_back(host, self.naive.now)

    @precondition(lambda self: self.naive.hosts)
    @rule(place=PLACE)
    def excuse(self, place):
        host = self.naive.hosts[place % len(self.naive.hosts)]
        self.naive.tick()
        for which, detector in self.both():
            detector.excuse(self.siblings[host][which], self.naive.now)
        host.forget()

    @precondition(lambda self: self.naive.hosts)
    @rule(place=PLACE)
    def refuse(self, place):
        """What is wrong raises, and changes nothing."""
        known = self.siblings[self.naive.hosts[place % len(self.naive.hosts)]][0]
        before = self.state_of(self.detector)
        with pytest.raises(ConfigError):
            self.detector.join([Sibling("other"), known], self.naive.now)
        with pytest.raises(ConfigError):
            self.detector.leave([known, Sibling("other")], self.naive.now)
        with pytest.raises(ConfigError):
            self.detector.leave([known, known], self.naive.now)
        assert self.state_of(self.detector) == before

    def state_of(self, detector):
        siblings = [self.standing_of(pair[0]) for pair in self.siblings.values()]
        return detector.hosts, list(detector.ejected), list(detector.changed), detector.due, siblings

    # -- what holds

    @invariant()
    def the_share_holds(self):
        # Looked at without catching up, as a request does that finds a detector nobody has advanced.
        count = len(self.detector.ejected)
        assert count == 0 or self.naive.may_hold(count)

    @invariant()
    def ejections_are_no_shorter_or_longer_than_they_may_be(self):
        longest = max(self.config.eject_s, self.config.eject_max_s)
        for sibling in self.detector.ejected:
            assert sibling.until <= self.naive.now + longest
            assert sibling.multiplier >= 1

    @invariant()
    def the_twin_agrees(self):
        """Only the twin is looked at all the time: that must make no difference."""
        self.naive.tick()
        self.twin.advance(self.naive.now)
        self.agree((1, self.twin))

    def agree(self, *detectors):
        for which, detector in detectors:
            found = {sibling.id: (sibling.until, sibling.multiplier) for sibling in detector.ejected}
            assert found == {host.name: (host.until, host.times) for host in self.naive.out()}
            detected = {kind: tally.detected for kind, tally in detector.tallies.items() if tally.detected}
            assert detected == dict(self.naive.found)
            for host in self.naive.hosts:
                sibling = self.siblings[host][which]
                assert (sibling.row, sibling.gateway_row, sibling.local_row) == (
                    host.row, host.gateway_row, host.local_row,
                )  # fmt: skip

    def teardown(self):
        if hasattr(self, "detector"):
            self.detector.advance(self.naive.now)
            self.agree(*self.both())


TestOutlierModel = OutlierModel.TestCase
TestOutlierModel.settings = settings(derandomize=True, max_examples=500, stateful_step_count=30, deadline=None)
