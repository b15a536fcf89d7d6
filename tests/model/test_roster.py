"""Random lives of a roster: what it keeps up change by change is what listing everything anew would give."""

import math
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lbkit.balancer.comparison import Comparison
from lbkit.balancer.roster import Roster
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import OK, Outcome, Result
from lbkit.core.pick import FIRST_TRY, PickInfo
from lbkit.health import OutlierDetection, Standing, Streak
from lbkit.scheduler import by_name
from lbkit.scheduler.least import SCAN_LIMIT
from tests.unit.scheduler.nodes import begin, end

NAMES = [f"s{number}" for number in range(3 * SCAN_LIMIT)]
EJECTS = OutlierDetection(failures=Streak(2), eject_ratio=0.5, eject_s=1.0, interval_s=2.0)
KINDS = st.tuples(st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.5]), st.sampled_from([0, 0, 0, 0, 1, 2]))


class RosterModel(RuleBasedStateMachine):
    """Every node that ever was is kept, so that one which has left and is still listed somewhere is found."""

    @initialize(
        scheduler=st.sampled_from(["least_connections", "shortest_expected_delay", "first"]),
        count=st.sampled_from([2, SCAN_LIMIT - 1, SCAN_LIMIT + 2, len(NAMES)]),
        probes=st.integers(1, 2),
        failures=st.sampled_from([1, 1, 3]),
        compared=st.booleans(),
    )
    def start(self, scheduler, count, probes, failures, compared):
        self.now = 0.0
        self.picker = by_name(scheduler).build(Random(1))
        self.keeps_order = scheduler == "first"
        breaker = CircuitBreaker(failures=failures, probes=probes)
        self.comparison = Comparison(EJECTS, Random(3)) if compared else None
        self.roster = Roster("model", self.picker, breaker, Random(2), self.comparison)
        self.seen = {}  # as an ordered set
        self.out = []  # (node, generation, whether it is a trial)
        self.apply(dict.fromkeys(NAMES[:count], (1.0, 0)))

    def apply(self, members):
        self.members = members
        endpoints = (Endpoint(name, 80, weight=weight, priority=tier) for name, (weight, tier) in members.items())
        self.roster.apply(self.roster.plan(Snapshot.of(endpoints), self.now), self.now)
        self.seen.update(dict.fromkeys(self.roster.nodes.values()))

    def node(self, place):
        nodes = list(self.roster.nodes.values())
        return nodes[place % len(nodes)] if nodes else None

    def pick(self, info=FIRST_TRY):
        node = self.picker.pick(info, self.now)
        assert node.listed
        assert node in self.roster.ready
        return node

    # -- what happens

    @rule(
        changes=st.dictionaries(st.sampled_from(NAMES), st.none() | KINDS, max_size=6),
        seconds=st.sampled_from([0.0, 0.0, 1.5]),
    )
    def some_come_go_or_change(self, changes, seconds):
        self.now += seconds  # what is due by then is due in the same moment
        members = {**self.members, **changes}
        self.apply({name: kind for name, kind in members.items() if kind is not None})

    @rule(kept=st.integers(0, len(NAMES)), seed=st.integers(0, 99), kind=KINDS)
    def most_come_or_go_in_another_order(self, kept, seed, kind):
        names = Random(seed).sample(NAMES, kept)
        self.apply({name: self.members.get(name, kind) for name in names})

    @rule(place=st.integers(0, 99), count=st.integers(1, 4))
    def some_fail(self, place, count):
        for number in range(count):
            node = self.node(place + number)
            if node is not None:
                self.settle(node, node.health.circuit.generation, Result.ERROR, probe=False)

    @rule(place=st.integers(0, 99), seconds=st.sampled_from([0.5, 2.0, 40.0]))
    def one_asks_for_a_pause(self, place, seconds):
        node = self.node(place)
        if node is not None and node.health.pause.extend(self.now + seconds):
            self.roster.stand((node,), "429", self.now)

    @rule(place=st.integers(0, 99), draining=st.booleans())
    def an_operator_drains_or_restores(self, place, draining):
        node = self.node(place)
        if node is not None:
            self.roster.drain(node.endpoint.id, draining=draining, now=self.now)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 50.0]))
    def time_passes(self, seconds):
        self.now += seconds
        if self.now >= self.roster.next_due:
            self.roster.advance(self.now)
        assert self.roster.next_due > self.now

    @precondition(lambda self: self.roster.probing)
    @rule(tried=st.sets(st.sampled_from(NAMES), max_size=2))
    def a_trial_is_taken(self, tried):
        trial = self.roster.take_trial(PickInfo(tuple(f"{name}:80" for name in sorted(tried))), self.now)
        if trial is not None:
            node, ticket = trial
            node.in_flight += 1
            self.out.append((node, ticket, True))

    @precondition(lambda self: self.roster.ready)
    @rule(count=st.sampled_from([1, 3, 100]), tried=st.sets(st.sampled_from(NAMES), max_size=3))
    def requests_begin(self, count, tried):
        for _ in range(count):
            node = self.pick(PickInfo(tuple(f"{name}:80" for name in sorted(tried))))
            if not self.keeps_order and not tried:
                assert score(node) == min(map(score, self.roster.ready))
            begin(self.picker, node)
            self.out.append((node, node.health.circuit.generation, False))

    @precondition(lambda self: self.out)
    @rule(
        which=st.integers(0, 999), count=st.sampled_from([1, 30]),
        result=st.sampled_from([Result.OK, Result.OK, Result.ERROR, Result.CANCELLED]),
    )  # fmt: skip
    def requests_end(self, which, count, result):
        for _ in range(min(count, len(self.out))):
            node, ticket, probe = self.out.pop(which % len(self.out))
            self.settle(node, ticket, result, probe=probe)
            self.let_go(node, observed=result is Result.OK)

    def settle(self, node, ticket, result, *, probe):
        if node.health.circuit.record(result, ticket, now=self.now):
            self.roster.stand((node,), "500", self.now)
        elif probe:
            self.roster.return_trial(node)
        if self.comparison is not None:
            self.comparison.record(node, ticket, Outcome(result), self.now, 0.0, self.now)
            self.roster.stand_compared(self.now)

    def let_go(self, node, *, observed=False):
        if not node.listed:
            node.in_flight -= 1
        elif self.keeps_order:
            end(self.picker, node)
        else:
            learns = observed and hasattr(self.picker, "observe")
            end(self.picker, node, 0.01 if learns else None, self.now, OK)

    @precondition(lambda self: self.roster.ready and not self.keeps_order)
    @rule()
    def every_ready_node_is_reached(self):
        # A node is passed over until its score is the least: each other takes at most (highest score) / cost before.
        ready = list(self.roster.ready)
        highest = max(map(score, ready))
        missing, begun = set(ready), []
        for _ in range(len(ready) + int(sum(1.1 * highest / node.cost for node in ready))):
            node = self.pick()
            begin(self.picker, node)
            begun.append(node)
            missing.discard(node)
            if not missing:
                break
        assert not missing
        for node in begun:
            self.let_go(node)

    # -- what always holds

    @invariant()
    def the_lists_are_those_of_a_roster_made_anew(self):
        roster = self.roster
        nodes = list(roster.nodes.values())
        assert [node.endpoint.host for node in nodes] == list(self.members)
        for node in nodes:
            assert (node.standing, node.until) == node.health.judge(node.weight, self.now)
            assert (node.weight, node.endpoint.priority) == self.members[node.endpoint.host]
        usable = [node for node in nodes if node.standing is Standing.READY]
        tier = min((node.endpoint.priority for node in usable), default=math.inf)
        ready = [node for node in usable if node.endpoint.priority == tier]
        assert roster.ready == ready if self.keeps_order else set(roster.ready) == set(ready)
        assert len(roster.ready) == len(ready)
        assert [node for node in self.seen if node.listed] == [node for node in self.seen if node in set(ready)]
        out = [node for node in nodes if node.standing is not Standing.READY]
        assert roster.first_return() == min((node.until for node in out), default=math.inf)
        due = math.inf if self.comparison is None else self.comparison.detector.due
        assert roster.next_due == min(roster.first_return(), due)
        half_open = [node for node in out if node.standing is Standing.HALF_OPEN and node.health.circuit.permits]
        assert set(roster.probing) == {node for node in half_open if node.endpoint.priority <= tier}
        tiers = [node.endpoint.priority for node in roster.probing]
        assert tiers == sorted(tiers)

    @invariant()
    def the_detector_and_the_standings_agree(self):
        if self.comparison is None:
            return
        detector = self.comparison.detector
        assert detector.hosts == len(self.roster.nodes)
        ejected = {node for node in self.roster.nodes.values() if node.sibling in detector.ejected}
        assert len(ejected) == len(detector.ejected) <= max(1, detector.hosts // 2)
        stands = {node for node in self.roster.nodes.values() if node.standing is Standing.EJECTED}
        stronger = {Standing.DRAINING, Standing.WEIGHT_ZERO, Standing.PAUSED}
        assert stands == {node for node in ejected if node.standing not in stronger}
        assert detector.changed == []

    @invariant()
    def the_picker_knows_the_weights_and_holds_no_more_than_it_needs(self):
        if self.keeps_order or not self.roster.ready:
            return
        ready = self.roster.ready
        index = getattr(self.picker, "_index", self.picker)
        assert index.nodes is ready
        assert (index._heap is None) == (len(ready) <= SCAN_LIMIT)
        assert len(index._heap or ()) <= 2 * len(ready) + 1
        if index is self.picker:
            assert all(node.cost == 1 / node.weight for node in ready)
        else:
            mean = sum(node.weight for node in ready) / len(ready)
            assert math.isclose(self.picker._weight, mean, rel_tol=1e-6)


def score(node):
    return node.cost * (node.in_flight + 1)


TestRosterModel = RosterModel.TestCase
TestRosterModel.settings = settings(derandomize=True, max_examples=150, stateful_step_count=40, deadline=None)
