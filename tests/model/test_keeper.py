"""Random walks over the keeper: whatever a source does, what it last said well stays in use, and it is not stormed."""

import math
from itertools import pairwise
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Upkeep
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.errors import DiscoveryError

ENDPOINTS = [Endpoint.parse(f"{name}:80") for name in "abcd"]
SETS = st.lists(st.sampled_from(ENDPOINTS), max_size=4).map(tuple)


class Source:
    """Answers what it is given."""

    def __init__(self, upkeep):
        self.upkeep = upkeep

    def watch(self, rng):
        return self

    def query(self, now):
        return None

    def answer(self, reply, now):
        return reply

    def failed(self, now):
        pass


class KeeperModel(RuleBasedStateMachine):
    """Queries are made when they are due and end in one of five ways; connections fail at any time."""

    @initialize(
        empty_grace=st.sampled_from([0.0, 5.0, math.inf]),
        hurry_s=st.sampled_from([0.5, 1.0, math.inf]),
        pauses=st.sampled_from([(0.5, 10.0), (0.5, 0.5), (1.0, 1.2), (2.0, 60.0)]),
        seed=st.integers(0, 5),
    )
    def begin(self, empty_grace, hurry_s, pauses, seed):
        self.upkeep = Upkeep(empty_grace, *pauses, hurry_s)
        self.keeper = Keeper(Source(self.upkeep), Random(seed))
        self.now = 0.0
        self.good = None  # the last set with endpoints, or what came of it
        self.had_endpoints = False
        self.empty_since = None
        self.asked_after_failure = []
        self.failing = False
        self.hurried = []
        self.answered_at = None

    def ask(self):
        """Let time pass until the query is due. Returns False where it never is."""
        if self.keeper.due == math.inf:
            return False
        self.now = max(self.now, self.keeper.due)
        self.asked_after_failure = [*self.asked_after_failure, self.now] if self.failing else []
        return True

    @rule(endpoints=SETS, ask_again_s=st.sampled_from([0.0, 1.0, 30.0]), problem=st.sampled_from(["", "odd"]))
    def it_answers(self, endpoints, ask_again_s, problem):
        if not self.ask():
            return
        self.failing = False
        self.keeper.answer(Found(endpoints, ask_again_s, problem), self.now)
        self.answered_at = self.now
        unique = tuple(dict.fromkeys(endpoints))
        if unique:
            self.good, self.empty_since, self.had_endpoints = unique, None, True
            assert self.keeper.report.state is SourceState.LIVE
            assert self.keeper.due == self.now + ask_again_s
            return
        self.empty_since = self.now if self.empty_since is None else self.empty_since
        if not self.good or self.now - self.empty_since >= self.upkeep.empty_grace:
            self.good = ()
            assert self.keeper.report.state is SourceState.EMPTY
        else:
            assert self.keeper.report.state is SourceState.STALE
            assert self.keeper.due <= self.now + ask_again_s

    @rule()
    def it_needs_another_query(self):
        if self.ask():
            self.keeper.answer(None, self.now)
            assert self.keeper.due == self.now

    @rule(reply=st.sampled_from(["nonsense", Found(("a:80",), 1.0), Found(7, 1.0)]))
    def it_answers_nonsense(self, reply):
        if not self.ask():
            return
        try:
            self.keeper.answer(reply, self.now)
        except Exception as error:
            self.fail(error)
        else:
            raise AssertionError("nonsense was taken")

    @rule(error=st.sampled_from([DiscoveryError("refused"), OSError("secret")]))
    def it_fails(self, error):
        if self.ask():
            self.fail(error)

    def fail(self, error):
        before = self.keeper.endpoints
        self.keeper.failed(error, self.now)
        self.failing = True
        assert self.keeper.endpoints is before
        assert self.keeper.report.state is (SourceState.STALE if before else SourceState.FAILED)
        assert self.keeper.report.problem
        assert "secret" not in self.keeper.report.problem
        pause = self.keeper.due - self.now
        assert self.upkeep.retry_first_s - 1e-6 <= pause <= self.upkeep.retry_max_s + 1e-6

    @rule(later_s=st.sampled_from([0.0, 0.1, 0.5, 3.0]))
    def connections_fail(self, later_s):
        now = min(self.now + later_s, max(self.now, self.keeper.due))
        before = self.keeper.due
        hurried = self.keeper.hurry(now)
        self.now = now
        if hurried:
            assert not self.failing
            self.hurried.append(now)
            assert self.keeper.due == min(before, now)
        else:
            assert self.keeper.due == before

    @invariant()
    def the_set_is_the_last_good_one(self):
        assert self.keeper.endpoints == self.good

    @invariant()
    def with_endless_grace_a_set_never_becomes_empty(self):
        if self.upkeep.empty_grace == math.inf and self.had_endpoints:
            assert self.keeper.endpoints

    @invariant()
    def a_failing_source_is_asked_at_most_twice_a_second(self):
        # A source that needs several queries for one answer asks them at once: they count as one.
        times = sorted(set(self.asked_after_failure[-3:]))
        assert all(later - earlier >= 0.5 - 1e-6 for earlier, later in pairwise(times))

    @invariant()
    def it_is_hurried_no_more_often_than_said(self):
        last = self.hurried[-2:]
        assert not last or self.upkeep.hurry_s < math.inf
        assert len(last) < 2 or last[1] - last[0] >= self.upkeep.hurry_s

    @invariant()
    def the_report_is_consistent(self):
        report, endpoints = self.keeper.report, self.keeper.endpoints
        assert report.endpoints == len(endpoints or ())
        assert report.answered_at == self.answered_at
        assert self.keeper.part.settled == (report.state is not SourceState.STARTING)
        match report.state:
            case SourceState.STARTING:
                assert endpoints is None and not report.problem
            case SourceState.LIVE:
                assert endpoints
            case SourceState.STALE:
                assert endpoints and report.problem
            case SourceState.EMPTY:
                assert endpoints == () and report.problem
            case SourceState.FAILED:
                assert not endpoints and report.problem


TestKeeperModel = KeeperModel.TestCase
TestKeeperModel.settings = settings(derandomize=True, max_examples=150, stateful_step_count=40, deadline=None)
