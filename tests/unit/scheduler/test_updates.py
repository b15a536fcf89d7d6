"""Pickers that take single nodes in and out: a node that has left is never picked, one that has joined is."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.pick import FIRST_TRY
from lbkit.scheduler import LeastConnections, LeastRequest, RoundRobin, ShortestExpectedDelay
from lbkit.scheduler import Random as RandomChoice
from lbkit.scheduler.base import Updates
from lbkit.scheduler.least import SCAN_LIMIT
from tests.unit.scheduler.nodes import begin, end, make

BOTH = pytest.mark.parametrize("scheduler", [LeastConnections(), ShortestExpectedDelay()], ids=["least", "delay"])


class Live:
    """A picker and its live list, changed as a roster changes it: the last node takes the place of one that leaves."""

    def __init__(self, scheduler, nodes):
        self.ready = list(nodes)
        self.picker = scheduler.build(Random(1))
        self.picker.rebuild(self.ready, 0.0)

    def leave(self, node):
        place = self.ready.index(node)
        last = self.ready.pop()
        if last is not node:
            self.ready[place] = last
        self.picker.left(node)

    def join(self, node):
        self.ready.append(node)
        self.picker.joined(node, 0.0)

    def pick(self):
        return self.picker.pick(FIRST_TRY, 0.0)

    def use(self, count):
        """Let so many requests pass, one at a time; return the nodes that had one."""
        used = set()
        for _ in range(count):
            node = self.pick()
            begin(self.picker, node)
            end(self.picker, node)
            used.add(node)
        return used


def test_the_pickers_that_compare_all_nodes_take_single_changes():
    """The others are given all nodes anew, for they draw from sums or go around in an order."""
    updates = {
        scheduler: isinstance(scheduler.build(Random(1)), Updates)
        for scheduler in (
            LeastConnections(), ShortestExpectedDelay(), LeastRequest(choices=None), LeastRequest(), RoundRobin(),
            RandomChoice(),
        )
    }  # fmt: skip
    assert list(updates.values()) == [True, True, True, False, False, False]


@BOTH
@pytest.mark.parametrize("count", [2, SCAN_LIMIT, SCAN_LIMIT + 1, SCAN_LIMIT + 2, 100])
def test_a_node_that_left_is_not_picked_until_it_is_back(scheduler, count):
    """Although it was the least loaded one, and its entries are still there."""
    nodes = make(*[1] * count)
    live = Live(scheduler, nodes)
    for node in nodes[1:]:
        node.in_flight = 5
    assert live.pick() is nodes[0]
    live.leave(nodes[0])
    assert nodes[0] not in live.use(3 * count)
    live.join(nodes[0])
    assert live.pick() is nodes[0]


@BOTH
def test_a_cluster_that_shrinks_and_grows_across_the_limit_of_the_scan_uses_all_its_nodes(scheduler):
    """Down to one node and up again, twice; requests one at a time reach all that are there at each size."""
    nodes = make(*[1] * (SCAN_LIMIT + 5))
    live = Live(scheduler, nodes)
    for _ in range(2):
        for node in nodes[1:]:
            live.leave(node)
            assert live.use(30 * len(live.ready)) == set(live.ready)
        for node in nodes[1:]:
            live.join(node)
            assert live.use(30 * len(live.ready)) == set(live.ready)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(
    count=st.sampled_from([3, SCAN_LIMIT, SCAN_LIMIT + 1, 60]),
    steps=st.lists(
        st.tuples(st.sampled_from(["begin", "end", "leave", "join", "reweigh"]), st.integers(0, 59)), max_size=150
    ),
)
def test_the_pick_has_the_least_score_of_those_that_are_there(count, steps):
    """Whatever begins, ends, leaves, comes back, or comes back with another weight."""
    nodes = make(*[1 + place % 3 for place in range(count)])
    live = Live(LeastConnections(), nodes)
    for what, place in steps:
        node = nodes[place % count]
        there = node in live.ready
        if what == "begin":
            begin(live.picker, live.pick())
        elif what == "end" and node.in_flight:
            if there:
                end(live.picker, node)
            else:
                node.in_flight -= 1
        elif what in ("leave", "reweigh") and there and len(live.ready) > 1:
            live.leave(node)
        if what == "reweigh":
            node.weight = 7.0 - node.weight
        if what in ("join", "reweigh") and node not in live.ready:
            live.join(node)
        picked = live.pick()
        assert picked in live.ready
        assert picked.cost == 1 / picked.weight
        assert (picked.in_flight + 1) / picked.weight == pytest.approx(
            min((node.in_flight + 1) / node.weight for node in live.ready)
        )


@BOTH
def test_nodes_that_come_and_go_leave_nothing_behind(scheduler):
    """10,000 changes of 50 nodes: at most two entries a node, as after requests."""
    nodes = make(*[1] * 50)
    live = Live(scheduler, nodes)
    for turn in range(10_000):
        live.leave(nodes[turn % 50])
        live.join(nodes[turn % 50])
        index = getattr(live.picker, "_index", live.picker)
        assert len(index._heap) <= 2 * 50 + 1


@pytest.mark.parametrize("heavy", [10.0, 1e9])
def test_the_mean_weight_follows_each_change(heavy):
    """Also when a weight goes beside which the others are lost in rounding."""
    nodes = make(1e-9, 1e-9, heavy)
    live = Live(ShortestExpectedDelay(), nodes)
    assert live.picker._weight == pytest.approx(heavy / 3)
    live.leave(nodes[2])
    assert live.picker._weight == pytest.approx(1e-9)
    live.join(nodes[2])
    assert live.picker._weight == pytest.approx(heavy / 3)
    for node in nodes:
        live.leave(node)
    live.join(nodes[0])
    assert live.picker._weight == pytest.approx(1e-9)


def test_who_joins_the_expected_delays_keeps_what_is_known_of_it_and_starts_a_new_count():
    """Picks from before it left are nobody's share now; its estimate is as good as it was."""
    nodes = make(*[1] * (SCAN_LIMIT + 2))
    live = Live(ShortestExpectedDelay(), nodes)
    slow = nodes[3]
    for node in nodes:
        end(live.picker, node, 1.0 if node is slow else 0.01)
        node.in_flight = 0
    slow.picks = 70
    cost = slow.cost
    live.leave(slow)
    live.join(slow)
    assert slow.counted == 70
    assert slow.cost == pytest.approx(cost)
    assert slow not in live.use(100)
