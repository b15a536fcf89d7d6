"""Random walks over the circuit breaker beside a model of its table: whatever happens, they agree."""

import math
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbkit.breaker import Circuit, CircuitBreaker, State
from lbkit.core.outcome import Result
from lbkit.errors import LeaseMisuse

FAILED = {Result.ERROR, Result.UNREACHABLE, Result.NO_ANSWER}


class CircuitModel(RuleBasedStateMachine):
    """Attempts begin and end in any order; time passes; the model is the table in the module's docstring."""

    @initialize(
        failures=st.integers(1, 4),
        probes=st.integers(1, 3),
        open_s=st.sampled_from([0.5, 1.0]),
        open_max_s=st.sampled_from([1.0, 4.0, 30.0]),
    )
    def begin(self, failures, probes, open_s, open_max_s):
        self.config = CircuitBreaker(
            failures=failures, probes=probes, open_s=open_s, open_max_s=open_max_s, jitter_ratio=0
        )
        self.circuit = Circuit(self.config, Random(1))
        self.now = 0.0
        self.out = []  # (the incarnation in which it began, the circuit's generation then, whether it is a trial)
        # The model.
        self.state = State.CLOSED
        self.incarnation = 0
        self.count = 0
        self.openings = 0
        self.due = math.inf
        self.free = self.good = 0
        self.closed_at = -math.inf

    def open(self):
        if self.state is State.CLOSED and self.now - self.closed_at >= self.config.open_max_s:
            self.openings = 0
        span = min(self.config.open_s * self.config.factor**self.openings, self.config.open_max_s)
        self.openings += 1
        self.enter(State.OPEN, due=self.now + span)

    def enter(self, state, *, due=math.inf):
        self.state, self.due = state, due
        self.incarnation += 1
        self.count = self.good = 0
        self.free = self.config.probes if state is State.HALF_OPEN else 0

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 40.0]))
    def time_passes(self, seconds):
        self.now += seconds
        changed = self.circuit.advance(self.now)
        due = self.state is State.OPEN and self.now >= self.due
        if due:
            self.enter(State.HALF_OPEN)
        assert changed == due

    @rule()
    def an_attempt_begins(self):
        # In the closed state as usual; in the others because the balancer fails open.
        self.out.append((self.incarnation, self.circuit.generation, False))

    @precondition(lambda self: self.free)
    @rule()
    def a_trial_begins(self):
        self.circuit.take_permit()
        self.free -= 1
        self.out.append((self.incarnation, self.circuit.generation, True))

    @precondition(lambda self: not self.free)
    @rule()
    def a_trial_too_many_is_refused_and_changes_nothing(self):
        before = [getattr(self.circuit, name) for name in Circuit.__slots__]
        try:
            self.circuit.take_permit()
        except LeaseMisuse:
            assert before == [getattr(self.circuit, name) for name in Circuit.__slots__]
        else:
            raise AssertionError("a trial was given that is not there")

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 50), result=st.sampled_from(Result))
    def an_attempt_ends(self, which, result):
        incarnation, generation, probe = self.out.pop(which % len(self.out))
        changed = self.circuit.record(result, generation, probe=probe, now=self.now)
        before = self.incarnation
        if incarnation == self.incarnation:
            self.take(result, probe=probe)
        assert changed == (self.incarnation != before)

    def take(self, result, *, probe):
        if result in (Result.CANCELLED, Result.OVERLOADED):
            self.free += probe
        elif self.state is State.CLOSED:
            self.count = self.count + 1 if result in FAILED else 0
            if self.count >= self.config.failures:
                self.open()
        elif result in FAILED:
            if probe:
                self.open()
        else:
            self.good += probe
            if not probe or self.good >= self.config.probes:
                self.enter(State.CLOSED)
                self.closed_at = self.now

    @rule()
    def the_process_forks(self):
        self.circuit.renew()
        self.incarnation += 1
        if self.state is State.HALF_OPEN:
            self.free, self.good = self.config.probes, 0

    @invariant()
    def they_agree(self):
        assert self.circuit.state is self.state
        assert self.circuit.due == self.due
        assert self.circuit.permits == self.free

    @invariant()
    def the_trials_of_this_incarnation_never_exceed_their_number(self):
        trials = sum(probe and incarnation == self.incarnation for incarnation, _, probe in self.out)
        if self.state is State.HALF_OPEN:
            assert trials + self.circuit.permits + self.good == self.config.probes
        else:
            assert self.circuit.permits == 0


TestCircuitModel = CircuitModel.TestCase
TestCircuitModel.settings = settings(derandomize=True, max_examples=150, stateful_step_count=40, deadline=None)
