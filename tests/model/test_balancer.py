"""Random lives of a balancer: whatever is taken, reported, dropped, drained and removed, simple truths hold."""

import warnings
from collections import Counter
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.empty import FailClosed, FailOpen
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.errors import LeaseMisuse, NoEndpointAvailable
from lbkit.health import OutlierDetection, Streak
from lbkit.scheduler import by_name
from lbkit.testing import ManualClock

NAMES = "abcde"
EJECTS = OutlierDetection(failures=Streak(2), eject_ratio=0.5, eject_s=1.0, interval_s=2.0)
SCHEDULERS = [
    "first", "least_connections", "least_request", "peak_ewma", "random", "round_robin", "shortest_expected_delay",
]  # fmt: skip
OUTCOMES = [
    OK,
    OK,
    CANCELLED,
    Outcome(Result.ERROR, cause="500"),
    Outcome(Result.UNREACHABLE, cause="refused"),
    Outcome(Result.NO_ANSWER, cause="reset"),
    Outcome(Result.OVERLOADED, cause="429"),
    Outcome(Result.OVERLOADED, retry_after_s=2.0, cause="429"),
]


class BalancerModel(RuleBasedStateMachine):
    """The model knows who is a member, who is drained, and which leases are out; not why a node was chosen."""

    @initialize(
        scheduler=st.sampled_from(SCHEDULERS),
        on_empty=st.sampled_from([FailOpen(), FailClosed()]),
        failures=st.integers(1, 3),
        probes=st.integers(1, 2),
        outliers=st.none() | st.just(EJECTS),
    )
    def begin(self, scheduler, on_empty, failures, probes, outliers):
        self.clock = ManualClock()
        self.probes = probes
        self.fails_open = isinstance(on_empty, FailOpen)
        self.balancer = Balancer(
            "model",
            scheduler=by_name(scheduler),
            breaker=CircuitBreaker(failures=failures, probes=probes),
            on_empty=on_empty,
            outliers=outliers,
            clock=self.clock,
            rng=Random(1),
        )
        self.members = {}
        self.lives = Counter()  # how often each name has joined: a lease belongs to one life
        self.drained = set()
        self.leases = []  # (lease, the life it belongs to)
        self.taken = self.dropped = 0
        self.join(dict.fromkeys(NAMES[:3], (1.0, 0)))

    def join(self, members):
        for name in members.keys() - self.members.keys():
            self.lives[name] += 1
            self.drained.discard(name)
        self.members = members
        self.balancer.apply(
            Snapshot.of(
                Endpoint(host=name, port=80, weight=weight, priority=priority)
                for name, (weight, priority) in members.items()
            )
        )

    @rule(
        members=st.dictionaries(
            st.sampled_from(NAMES), st.tuples(st.sampled_from([0.0, 1.0, 1.0, 2.5]), st.sampled_from([0, 0, 1])),
            max_size=5,
        )
    )  # fmt: skip
    def the_membership_changes(self, members):
        self.join(members)

    @rule(name=st.sampled_from(NAMES), draining=st.booleans())
    def an_operator_drains_or_restores(self, name, draining):
        if name in self.members:
            self.balancer.drain(f"{name}:80", draining=draining)
            (self.drained.add if draining else self.drained.discard)(name)

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.6, 1.2, 3.0, 50.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(tried=st.sets(st.sampled_from(NAMES), max_size=4), may_probe=st.booleans())
    def a_lease_is_taken(self, tried, may_probe):
        self.settle_drops()
        before = self.states()
        usable = {name for name, (weight, _) in self.members.items() if weight and name not in self.drained}
        info = PickInfo(tuple(f"{name}:80" for name in sorted(tried)), may_probe)
        refused = lease = None
        try:
            lease = self.balancer.acquire(info)
        except NoEndpointAvailable as error:
            refused = error.reasons
        if lease is None:
            states = Counter(self.states().values())
            assert "ready" not in states
            assert refused == states
            assert not self.fails_open or not usable
            return
        self.taken += 1
        name = lease.endpoint.host
        self.leases.append((lease, (name, self.lives[name])))
        assert name in usable
        now = self.states()
        ready = {one for one, state in now.items() if state == "ready"}
        if lease.probe:
            # Time may have made it half-open just now.
            assert before[name] in ("open", "half_open", "ejected", "paused")
            assert may_probe or not ready
            assert name not in tried or not ready
        elif ready:
            assert name in ready
            assert name not in tried or not ready - tried
            untried = ready - tried or ready
            assert self.members[name][1] == min(self.members[one][1] for one in untried)
        else:
            assert self.fails_open

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 50), outcome=st.sampled_from(OUTCOMES), release=st.booleans())
    def a_lease_is_reported_and_perhaps_released(self, which, outcome, release):
        place = which % len(self.leases)
        lease, _ = self.leases[place]
        try:
            lease.report(outcome)
        except LeaseMisuse:
            assert lease.state
        if release:
            lease.release()
            self.leases.pop(place)

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 50), outcome=st.sampled_from([None, *OUTCOMES]))
    def a_lease_is_released(self, which, outcome):
        lease, _ = self.leases.pop(which % len(self.leases))
        lease.release(outcome)
        before = self.balancer.stats()
        for misuse in (lease.release, lambda: lease.report(OK)):
            try:
                misuse()
            except LeaseMisuse:
                pass
            else:
                raise AssertionError("a lease was settled twice")
        assert self.balancer.stats() == before

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 50))
    def a_lease_is_dropped(self, which):
        self.leases.pop(which % len(self.leases))
        self.dropped += 1

    def settle_drops(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.balancer.stats()

    def states(self):
        return {one.endpoint.removesuffix(":80"): one.state for one in self.balancer.stats().endpoints}

    @invariant()
    def in_flight_is_what_is_out(self):
        self.settle_drops()
        expected = Counter(name for _, (name, life) in self.leases if life == self.lives[name])
        stats = self.balancer.stats()
        for one in stats.endpoints:
            assert one.in_flight == expected[one.endpoint.removesuffix(":80")]
        assert {one.endpoint.removesuffix(":80") for one in stats.endpoints} == self.members.keys()
        assert (stats.attempts, stats.abandoned) == (self.taken, self.dropped)

    @invariant()
    def no_more_trials_are_out_than_there_are(self):
        roster = self.balancer._roster
        for name in self.members:
            circuit = roster.nodes[f"{name}:80"].health.circuit
            trials = sum(
                lease.probe and lease.state == 0 and circuit.is_out(lease.ticket)
                for lease, life in self.leases
                if life == (name, self.lives[name])
            )
            assert trials + circuit.permits <= self.probes
        assert all(roster.nodes.get(node.endpoint.id) is node for node in [*roster.probing, *roster.ready])

    @invariant()
    def operators_and_the_membership_are_obeyed(self):
        for name, state in self.states().items():
            assert (state == "draining") == (name in self.drained)
            assert (state == "weight_0") == (self.members[name][0] == 0 and name not in self.drained)

    def teardown(self):
        if not hasattr(self, "balancer"):
            return
        for lease, _ in self.leases:
            lease.release(CANCELLED)
        self.settle_drops()
        assert all(one.in_flight == 0 for one in self.balancer.stats().endpoints)


TestBalancerModel = BalancerModel.TestCase
TestBalancerModel.settings = settings(derandomize=True, max_examples=150, stateful_step_count=40, deadline=None)
