"""Smooth weighted round robin: nginx's order exactly, through changes of membership and weight."""

from collections import Counter
from random import Random

import pytest

from lbkit.core.pick import FIRST_TRY
from lbkit.scheduler import RoundRobin
from tests.unit.scheduler.nodes import make, name, picker, sequence

FIXED = RoundRobin(random_start=False)


def reference(weights, picks):
    """Choose the way nginx does, by its definition: raise all, take the first of the largest, lower it by the total."""
    current = [0] * len(weights)
    chosen = []
    for _ in range(picks):
        for place, weight in enumerate(weights):
            current[place] += weight
        best = current.index(max(current))
        current[best] -= sum(weights)
        chosen.append(best)
    return chosen


@pytest.mark.parametrize(
    ("weights", "cycle"),
    [
        ((5, 1, 1), "aabacaa"),
        ((4, 3, 2), "abcabacba"),
        ((3, 2, 1), "abacba"),
        ((1, 1, 1), "abc"),
        ((10, 1), "aaaaabaaaaa"),
        ((1,), "a"),
    ],
)
def test_the_order_is_that_of_nginx(weights, cycle):
    """Known answers, over three cycles: the order repeats and does not drift."""
    assert sequence(picker(FIXED, make(*weights)), 3 * len(cycle)) == 3 * cycle


@pytest.mark.parametrize("seed", range(12))
def test_random_weights_give_the_order_of_the_plain_algorithm(seed):
    """Up to 12 nodes with weights up to 40, equal ones among them: the heaps choose what the full scan would choose."""
    rng = Random(seed)
    weights = [int(rng.random() ** 2 * 40) + 1 for _ in range(rng.randrange(1, 13))]
    nodes = make(*weights)
    built = picker(FIXED, nodes)
    chosen = [nodes.index(built.pick(FIRST_TRY, 0.0)) for _ in range(3 * sum(weights) + 5)]
    assert chosen == reference(weights, len(chosen))


@pytest.mark.parametrize("weights", [(1e9, 1e9 - 1, 3.0), (10**9, 1, 1), (0.5, 0.25, 0.25), (2.5, 1.5)])
def test_huge_and_binary_fractional_weights_give_the_exact_order(weights):
    """Sums of such weights have no rounding error in a double, so the order is that of exact arithmetic."""
    nodes = make(*weights)
    built = picker(FIXED, nodes)
    assert [nodes.index(built.pick(FIRST_TRY, 0.0)) for _ in range(500)] == reference(weights, 500)


def test_decimal_weights_keep_their_shares_for_ever():
    """0.1, 0.2 and 0.7 have rounding errors; after 100,000 picks no share is off by more than one pick in a cycle."""
    nodes = make(0.1, 0.2, 0.7)
    counts = Counter(sequence(picker(FIXED, nodes), 100_000))
    # Smooth order keeps every count within one of t x share; rounding may move a pick over the border, no more.
    for node, share in zip("abc", (0.1, 0.2, 0.7), strict=True):
        assert abs(counts[node] - share * 100_000) <= 2


def test_all_credits_are_zero_after_a_whole_cycle():
    """Nothing is carried over from one cycle to the next, whatever the start."""
    for weights in ((5, 1, 1), (4, 3, 2), (7, 7, 2, 1)):
        nodes = make(*weights)
        built = picker(FIXED, nodes)
        sequence(built, sum(weights))
        built._fold()
        assert [node.cost for node in nodes] == [0.0] * len(weights)


def test_folding_the_sums_changes_no_order():
    """Sums are brought back to small numbers now and then; that is not seen in the choices."""
    weights = (5, 3, 3, 1)
    nodes = make(*weights)
    built = FIXED.build(Random(1))
    type(built).FOLD_AFTER, before = 7, type(built).FOLD_AFTER
    try:
        built.rebuild(tuple(nodes), 0.0)
        assert [nodes.index(built.pick(FIRST_TRY, 0.0)) for _ in range(200)] == reference(weights, 200)
    finally:
        type(built).FOLD_AFTER = before


def test_the_start_is_random_and_differs_between_clients():
    """300 clients with 10 nodes begin at each of them: 30 expected, standard deviation 5.2, four of these allowed."""
    firsts = Counter(sequence(picker(RoundRobin(), make(*[1] * 10), seed=seed), 1) for seed in range(300))
    assert len(firsts) == 10
    assert all(abs(count - 30) <= 21 for count in firsts.values())


def test_a_random_start_does_not_change_the_cycle():
    """Wherever it begins, ten picks of ten equal nodes are ten different nodes."""
    for seed in range(20):
        assert len(set(sequence(picker(RoundRobin(), make(*[1] * 10), seed=seed), 10))) == 10


def test_when_all_nodes_are_replaced_the_start_is_random_again():
    """A fork or a blue-green switch gives a picker nodes that it has never seen: many clients do not start in step."""
    firsts = set()
    for seed in range(60):
        built = picker(RoundRobin(), make(*[1] * 10), seed=seed)
        built.rebuild(tuple(make(*[1] * 10)), 0.0)
        firsts.add(sequence(built, 1))
    assert len(firsts) == 10  # P(some of ten is missing in 60 draws) < 10 x 0.9**60 = 2 %, and the seeds are fixed


def test_a_leaving_node_neither_resets_the_turn_nor_causes_a_burst():
    """After b has left, c and d are next, as they were before; nobody is asked twice."""
    nodes = make(1, 1, 1, 1)
    built = picker(FIXED, nodes)
    assert sequence(built, 2) == "ab"
    built.rebuild((nodes[0], nodes[2], nodes[3]), 0.0)
    assert sequence(built, 6) == "cdacda"


def test_a_joining_node_gets_its_share_and_no_more():
    """A newcomer among three of equal weight is asked once in each of the next rounds of four."""
    nodes = make(1, 1, 1, 1)
    built = picker(FIXED, nodes[:3])
    sequence(built, 100)
    built.rebuild(tuple(nodes), 0.0)
    following = sequence(built, 40)
    assert following.count("d") == 10
    assert "dd" not in following


def test_rebuilding_with_the_same_nodes_changes_nothing():
    """A discovery refresh that brings the same membership is not seen in the order."""
    weights = (5, 3, 1)
    nodes = make(*weights)
    built = picker(FIXED, nodes)
    chosen = []
    for _ in range(60):
        chosen.append(nodes.index(built.pick(FIRST_TRY, 0.0)))
        built.rebuild(tuple(nodes), 0.0)
    assert chosen == reference(weights, 60)


@pytest.mark.parametrize(("before", "after"), [((1, 1, 1), (5, 1, 1)), ((5, 1, 1), (1, 1, 1)), ((1, 1), (1000, 1))])
def test_a_change_of_weight_counts_from_now_on(before, after):
    """After 1,000 picks a new weight neither starves a node nor sends it a burst: the next cycles have its shares."""
    nodes = make(*before)
    built = picker(FIXED, nodes)
    sequence(built, 1_000)
    for node, weight in zip(nodes, after, strict=True):
        node.weight = float(weight)
    built.rebuild(tuple(nodes), 0.0)
    total = sum(after)
    counts = Counter(sequence(built, 3 * total))
    for node, weight in zip(nodes, after, strict=True):
        # The credits left from the old weights are worth at most one old cycle: one pick more or less a node.
        assert abs(counts[name(node)] - 3 * weight) <= 2


def test_a_retry_takes_the_best_untried_node_and_pays_for_it():
    """A node that was taken out of turn is later in the next rounds: over a long run the shares stay equal."""
    nodes = make(1, 1, 1)
    built = picker(FIXED, nodes)
    chosen = []
    for _ in range(300):
        first = sequence(built, 1)
        chosen += [first, sequence(built, 1, tried=first)]
        assert chosen[-1] != chosen[-2]
    assert max(Counter(chosen).values()) - min(Counter(chosen).values()) <= 1


def test_where_all_were_tried_the_turn_goes_on():
    """Having tried everything does not leave a call without an endpoint."""
    assert set(sequence(picker(FIXED, make(1, 1)), 4, tried="ab")) == {"a", "b"}
