"""The index of the least score: the heap chooses as a scan would, and ties are fair."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.pick import FIRST_TRY, PickInfo
from lbkit.scheduler import LeastConnections, LeastRequest
from lbkit.scheduler.least import SCAN_LIMIT, LeastIndex
from tests.unit.scheduler.nodes import begin, end, make, name, picker, sequence


def least(nodes):
    return min(node.cost * (node.in_flight + 1) for node in nodes)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(
    count=st.sampled_from([1, 2, SCAN_LIMIT, SCAN_LIMIT + 1, 60]),
    seed=st.integers(0, 10**6),
    steps=st.lists(st.tuples(st.sampled_from(["begin", "end", "cheaper", "dearer"]), st.integers(0, 59)), max_size=150),
)
def test_the_pick_always_has_the_least_score(count, seed, steps):
    """Whatever begins, ends, or changes its cost in between: no node has a lower score than the one that is picked."""
    nodes = make(*[1 + place % 3 for place in range(count)])
    index = LeastIndex(Random(seed))
    index.rebuild(tuple(nodes), 0.0)
    for what, place in steps:
        node = nodes[place % count]
        if what == "begin":
            begin(index, index.pick(FIRST_TRY, 0.0))
        elif what == "end" and node.in_flight:
            end(index, node)
        elif what in ("cheaper", "dearer"):
            node.cost *= 0.5 if what == "cheaper" else 3.0
            index.released(node)
        picked = index.pick(FIRST_TRY, 0.0)
        assert picked.cost * (picked.in_flight + 1) == least(nodes)


@pytest.mark.parametrize("count", [4, SCAN_LIMIT, SCAN_LIMIT + 1, 100])
def test_a_tie_is_broken_with_equal_chances_whatever_lies_between(count):
    """Of two idle nodes side by side among busy ones each gets half: 400 picks, four standard deviations of 10."""
    nodes = make(*[1] * count)
    for node in nodes:
        node.in_flight = 5
    nodes[1].in_flight = nodes[2].in_flight = 0
    index = picker(LeastConnections(), nodes)
    counts = Counter(name(index.pick(FIRST_TRY, 0.0)) for _ in range(400))
    assert set(counts) == {"b", "c"}
    assert abs(counts["b"] - 200) <= 40


@pytest.mark.parametrize("count", [SCAN_LIMIT, SCAN_LIMIT + 1, 300])
def test_requests_one_at_a_time_visit_all_nodes(count):
    """With nothing in flight all are equals: after ten picks a node nobody was left out or had thrice that."""
    nodes = make(*[1] * count)
    index = picker(LeastConnections(), nodes)
    for _ in range(10 * count):
        node = index.pick(FIRST_TRY, 0.0)
        begin(index, node)
        end(index, node)
    assert min(node.picks for node in nodes) >= 1
    assert max(node.picks for node in nodes) <= 30


def test_the_heap_stays_in_proportion_to_the_nodes():
    """Entries that were left behind are cleared away: 50,000 requests over 50 nodes leave at most two each."""
    nodes = make(*[1] * 50)
    index = picker(LeastConnections(), nodes)
    rng = Random(1)
    running = []
    for _ in range(50_000):
        node = index.pick(FIRST_TRY, 0.0)
        begin(index, node)
        running.append(node)
        if len(running) > 80:
            end(index, running.pop(int(rng.random() * len(running))))
        assert len(index._heap) <= 2 * len(nodes) + 1


def test_connections_that_stay_fill_up_by_weight():
    """Known answer for (connections + 1) / weight with weights 4, 2, 1, ties aside: after 7 picks 4, 2 and 1."""
    nodes = make(4, 2, 1)
    index = picker(LeastConnections(), nodes)
    for round_number in (1, 2, 3):
        for _ in range(7):
            begin(index, index.pick(FIRST_TRY, 0.0))
        assert [node.in_flight for node in nodes] == [4 * round_number, 2 * round_number, round_number]


def test_tried_nodes_are_avoided_and_the_best_of_the_others_is_taken():
    """Of the untried the least loaded; where all were tried, of all."""
    for count in (3, SCAN_LIMIT + 5):
        nodes = make(*[1] * count)
        for place, node in enumerate(nodes):
            node.in_flight = place
        index = picker(LeastConnections(), nodes)
        assert sequence(index, 5, tried="a") == "bbbbb"
        assert sequence(index, 5, tried="ab") == "ccccc"
        everything = PickInfo(tried=tuple(node.endpoint.id for node in nodes))
        assert name(index.pick(everything, 0.0)) == "a"


def test_least_request_over_all_is_least_connections():
    """`LeastRequest(choices=None)` compares all nodes."""
    nodes = make(1, 1, 1, 1)
    for node in nodes[:3]:
        node.in_flight = 1
    assert sequence(picker(LeastRequest(choices=None), nodes), 20) == "d" * 20
