"""Random walks over the circuit breaker beside a model of its table: whatever happens, they agree.

The model is naive: it keeps all calls and all permits in lists and counts them anew each time.
"""

import math
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbkit.breaker import Circuit, CircuitBreaker, Mode, State
from lbkit.core.outcome import Result
from lbkit.errors import LeaseMisuse

FAILED = {Result.ERROR, Result.UNREACHABLE, Result.NO_ANSWER}
NEUTRAL = {Result.CANCELLED, Result.OVERLOADED}
RATES = st.none() | st.sampled_from([0.25, 0.5, 1.0])


class CircuitModel(RuleBasedStateMachine):
    """Attempts begin and end in any order, or never; time passes; the model is the table in the module's docstring."""

    @initialize(
        failures=st.none() | st.integers(1, 4),
        probes=st.integers(1, 3),
        spans=st.sampled_from([(0.5, 1.0), (1.0, 4.0), (1.0, 30.0)]),
        rates=st.tuples(RATES, RATES),
        window=st.sampled_from([{"window_calls": 5}, {"window_s": 10.0}, {"window_calls": 1}]),
        min_calls=st.integers(1, 6),
        mode=st.sampled_from([Mode.NORMAL, Mode.NORMAL, Mode.NORMAL, *Mode]),
    )
    def begin(self, failures, probes, spans, rates, window, min_calls, mode):
        if failures is None and rates == (None, None):
            failures = 3
        self.config = CircuitBreaker(
            failures=failures, probes=probes, open_s=spans[0], open_max_s=spans[1], jitter_ratio=0,
            failure_rate=rates[0], slow_rate=rates[1], slow_s=None if rates[1] is None else 1.0,
            min_calls=min_calls, probe_max_s=7.0, mode=mode, **window,
        )  # fmt: skip
        self.circuit = Circuit(self.config, Random(1))
        self.now = 0.0
        self.out = []  # (the incarnation in which it began, its ticket, its permit or None)
        self.mode = mode
        self.start_over()

    # -- the model

    def start_over(self):
        self.openings = 0
        self.closed_at = -math.inf
        self.enter(State.OPEN if self.mode is Mode.FORCED_OPEN else State.CLOSED)

    def enter(self, state, *, due=math.inf):
        self.state, self.open_until = state, due
        self.incarnation = object()
        self.row = self.good = 0
        self.calls = []  # (when, failed, slow), since it closed
        self.permits = []  # when each that is out was given

    def open(self):
        if self.state is State.CLOSED and self.now - self.closed_at >= self.config.open_max_s:
            self.openings = 0
        span = min(self.config.open_s * self.config.factor**self.openings, self.config.open_max_s)
        self.openings += 1
        self.enter(State.OPEN, due=self.now + span)

    def look(self):
        """Make the transition that is due; True if the state changed."""
        if self.state is State.OPEN and self.now >= self.open_until:
            self.enter(State.HALF_OPEN)
            return True
        self.permits = [one for one in self.permits if self.now < one["given"] + self.config.probe_max_s]
        return False

    def rate_is_broken(self):
        config = self.config
        if config.window_calls is not None:
            calls = self.calls[-config.window_calls :]
        else:  # a window of ten seconds is ten buckets of one
            calls = [one for one in self.calls if int(one[0]) > int(self.now) - 10]
        if not calls or len(calls) < min(config.min_calls, config.window_calls or config.min_calls):
            return False
        failed, slow = sum(one[1] for one in calls) / len(calls), sum(one[2] for one in calls) / len(calls)
        return (config.failure_rate is not None and failed >= config.failure_rate) or (
            config.slow_rate is not None and slow >= config.slow_rate
        )

    def take(self, result, permit, *, slow):
        valid = any(one is permit for one in self.permits)
        self.permits = [one for one in self.permits if one is not permit]
        failed = result in FAILED
        if result in NEUTRAL:
            return
        if self.state is State.CLOSED:
            self.row = self.row + 1 if failed else 0
            self.calls.append((self.now, failed, slow))
            row = self.config.failures is not None and self.row >= self.config.failures
            if (failed or slow) and self.mode is not Mode.DISABLED and (row or self.rate_is_broken()):
                self.open()
        elif self.mode is Mode.FORCED_OPEN:
            return
        elif self.mode is Mode.METRICS_ONLY and self.state is State.OPEN:
            self.look()
        else:
            trial = valid or self.mode is Mode.METRICS_ONLY
            if failed or slow:
                if trial:
                    self.open()
                return
            self.good += trial
            if not trial or self.good >= self.config.probes:
                self.enter(State.CLOSED)
                self.closed_at = self.now

    @property
    def free(self):
        if self.state is not State.HALF_OPEN:
            return 0
        return self.config.probes - len(self.permits) - (self.good if self.mode is not Mode.METRICS_ONLY else 0)

    def memory(self):
        values = [getattr(self.circuit, name) for name in Circuit.__slots__]
        return [dict(value) if isinstance(value, dict) else value for value in values]

    # -- what happens

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 40.0]))
    def time_passes(self, seconds):
        self.now += seconds
        assert self.circuit.advance(self.now) == self.look()

    @rule()
    def an_attempt_begins(self):
        # In the closed state as usual; in the others because the balancer fails open, or the circuit only counts.
        self.out.append((self.incarnation, self.circuit.generation, None))

    @precondition(lambda self: self.free > 0 and self.mode is not Mode.METRICS_ONLY)
    @rule()
    def a_trial_begins(self):
        permit = {"given": self.now}
        self.permits.append(permit)
        self.out.append((self.incarnation, self.circuit.take_permit(self.now), permit))

    @precondition(lambda self: self.free <= 0)
    @rule()
    def a_trial_too_many_is_refused_and_changes_nothing(self):
        before = self.memory()
        try:
            self.circuit.take_permit(self.now)
        except LeaseMisuse:
            assert before == self.memory()
        else:
            raise AssertionError("a trial was given that is not there")

    @precondition(lambda self: self.circuit.due < math.inf)
    @rule(more_s=st.sampled_from([-0.01, 0.0, 0.0, 0.01]))
    def it_is_time_or_nearly(self, more_s):
        self.time_passes(max(0.0, self.circuit.due + more_s - self.now))

    @rule(
        results=st.lists(st.sampled_from([Result.OK, Result.ERROR, Result.ERROR]), min_size=1, max_size=6),
        took_s=st.sampled_from([0.0, 1.0]),
    )
    def attempts_follow_each_other(self, results, took_s):
        for result in results:
            if self.free > 0 and self.mode is not Mode.METRICS_ONLY:
                self.a_trial_begins()
            else:
                self.an_attempt_begins()
            self.ends(*self.out.pop(), result, took_s)
            self.they_agree()

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 50), result=st.sampled_from(Result), took_s=st.sampled_from([0.0, 0.1, 1.0]))
    def an_attempt_ends(self, which, result, took_s):
        self.ends(*self.out.pop(which % len(self.out)), result, took_s)

    def ends(self, incarnation, ticket, permit, result, took_s):
        changed = self.circuit.record(result, ticket, now=self.now, took_s=took_s)
        before = self.incarnation
        if incarnation == self.incarnation:
            self.take(result, permit, slow=self.config.slow_s is not None and took_s >= self.config.slow_s)
        assert changed == (self.incarnation is not before)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 50))
    def an_attempt_is_lost(self, which):
        self.out.pop(which % len(self.out))

    @rule(event=st.sampled_from([*[None] * 9, "fork", "reset", "excuse", *Mode]))
    def something_rare_happens(self, event):
        if event == "fork":
            self.circuit.renew()
            self.incarnation = object()
            self.permits, self.good = [], 0 if self.state is State.HALF_OPEN else self.good
        elif event == "reset":
            self.circuit.reset()
            self.start_over()
        elif event == "excuse":
            self.circuit.excuse()
            if self.mode is not Mode.FORCED_OPEN:
                self.enter(State.CLOSED)
        elif event is not None:
            changed = self.circuit.set_mode(event)
            assert changed == (event is not self.mode)
            if changed:
                self.mode = event
                self.start_over()

    # -- what always holds

    @invariant()
    def they_agree(self):
        circuit = self.circuit
        assert circuit.state is self.state
        given = [one["given"] + self.config.probe_max_s for one in self.permits]
        assert circuit.due == (min(given, default=math.inf) if self.state is State.HALF_OPEN else self.open_until)
        if self.mode is not Mode.METRICS_ONLY:
            assert circuit.permits == self.free
        if self.state is State.CLOSED:
            assert circuit.failures == self.row

    @invariant()
    def exactly_the_trials_are_admitted(self):
        valid = sum(any(one is permit for one in self.permits) for *_, permit in self.out)
        assert valid <= self.config.probes
        assert self.circuit.permits <= self.config.probes
        if self.state is not State.HALF_OPEN:
            assert self.circuit.permits == 0

    @invariant()
    def it_is_never_stuck(self):
        # Where no trial can begin now, time brings the next one: also when all that are out are lost.
        if self.mode is Mode.NORMAL and self.state is not State.CLOSED and not self.circuit.permits:
            assert self.now < self.circuit.due < math.inf

    @invariant()
    def an_ok_is_news_wherever_it_would_change_something(self):
        if self.state is not State.CLOSED or self.row or self.config.has_window:
            assert self.circuit.hears_ok


TestCircuitModel = CircuitModel.TestCase
TestCircuitModel.settings = settings(derandomize=True, max_examples=300, stateful_step_count=40, deadline=None)
