"""Shortest expected delay: the numbers of its formula, one by one."""

import math
from random import Random

import pytest

from lbkit.core.outcome import OK, Outcome, Result
from lbkit.core.pick import FIRST_TRY
from lbkit.errors import ConfigError
from lbkit.scheduler import ShortestExpectedDelay
from lbkit.scheduler.least import SCAN_LIMIT
from tests.unit.scheduler.nodes import begin, end, make, name, picker, sequence

FAILED = Outcome(Result.ERROR)


def test_the_first_answer_of_all_makes_its_node_average():
    """The mean starts with it, so the node lies 0 apart from the mean."""
    (node,) = nodes = make(1)
    built = picker(ShortestExpectedDelay(), nodes)
    built.observe(node, OK, 0.010, 0.0)
    assert built._mean == pytest.approx(math.log(0.010))
    assert node.estimate == pytest.approx(0.0)
    assert node.cost == pytest.approx(1.0)


def test_the_mean_is_plain_for_a_hundred_answers_and_moves_by_a_hundredth_after_that():
    """Early answers do not carry a noisy first one along for hundreds of others."""
    (node,) = nodes = make(1)
    built = picker(ShortestExpectedDelay(), nodes)
    for latency in (1.0, math.e, math.e**2):
        built.observe(node, OK, latency, 0.0)
    assert built._mean == pytest.approx(1.0)
    for _ in range(97):
        built.observe(node, OK, math.e, 0.0)
    before = built._mean
    built.observe(node, OK, math.e**5, 0.0)
    assert built._mean == pytest.approx(before + 0.01 * (5.0 - before))


def test_a_new_answer_has_a_twentieth_of_the_weight_when_answers_are_frequent():
    """D = 0.95 d + 0.05 (ln x - m)."""
    (node, other) = nodes = make(1, 1)
    built = picker(ShortestExpectedDelay(), nodes)
    for _ in range(1_000):
        built.observe(other, OK, 1.0, 0.0)
    node.estimate, node.stamp = 0.5, 0.0
    built.observe(node, OK, math.e**2, 0.0)
    assert node.estimate == pytest.approx(0.95 * 0.5 + 0.05 * (2.0 - 0.02))


def test_after_a_pause_a_new_answer_weighs_more():
    """Ten seconds after the last answer the old opinion keeps 1 / e of the weight."""
    (node, other) = nodes = make(1, 1)
    built = picker(ShortestExpectedDelay(decay_s=10.0), nodes)
    for _ in range(1_000):
        built.observe(other, OK, 1.0, 0.0)
    node.estimate, node.stamp = 0.5, 0.0
    built.observe(node, OK, math.e**2, 10.0)
    keep = math.exp(-1)
    assert node.estimate == pytest.approx(keep * 0.5 + (1 - keep) * (2.0 - 0.02))


def test_an_old_opinion_fades_towards_the_mean():
    """After three decay times it counts 1 / e: cost = exp(gamma d / e)."""
    (node,) = nodes = make(1)
    built = picker(ShortestExpectedDelay(decay_s=10.0, gamma=0.5), nodes)
    node.estimate, node.stamp = 2.0, 0.0
    built.rebuild(tuple(nodes), 0.0)
    assert node.cost == pytest.approx(math.exp(0.5 * 2.0))
    built.pick(FIRST_TRY, 30.0)
    assert node.cost == pytest.approx(math.exp(0.5 * 2.0 / math.e) * node.charge)


def test_the_score_is_cost_times_requests_in_flight_over_weight():
    """A node of weight 2 takes two requests for one of weight 1."""
    nodes = make(2, 1)
    built = picker(ShortestExpectedDelay(), nodes)
    for _ in range(9):
        begin(built, built.pick(FIRST_TRY, 0.0))
    assert [node.in_flight for node in nodes] == [6, 3]


def test_gamma_says_how_strongly_latency_counts():
    """Four times the latency costs as much as one more in flight at 0.5, three more at 1, nothing at 0."""
    for gamma, ahead in ((0.0, 0), (0.5, 1), (1.0, 3)):
        nodes = make(1, 1)
        built = picker(ShortestExpectedDelay(gamma=gamma), nodes)
        nodes[1].estimate, nodes[1].stamp = math.log(4.0), 0.0
        built.rebuild(tuple(nodes), 0.0)
        nodes[0].in_flight = ahead - 1
        assert ahead == 0 or sequence(built, 1) == "a"
        nodes[0].in_flight = ahead + 1
        assert sequence(built, 1) == "b"


@pytest.mark.parametrize(
    ("outcome", "mean_s", "expected"),
    [
        (FAILED, 0.1, math.log(100.0)),  # 5 s are less than a hundred means of 0.1 s
        (FAILED, 0.001, math.log(5_000.0)),
        (Outcome(Result.OVERLOADED, retry_after_s=60.0), 0.001, math.log(60_000.0)),
        (Outcome(Result.OVERLOADED, retry_after_s=1e-9), 0.1, math.log(100.0)),
        (Outcome(Result.OVERLOADED, retry_after_s=0.0), 0.1, math.log(100.0)),
    ],
)
def test_a_failure_counts_as_a_penalty_and_moves_no_mean(outcome, mean_s, expected):
    """The larger of 5 s, a hundred means and the Retry-After, however fast it came."""
    (node, other) = nodes = make(1, 1)
    built = picker(ShortestExpectedDelay(), nodes)
    for _ in range(10):
        built.observe(other, OK, mean_s, 0.0)
    built.observe(node, outcome, 1e-6, 0.0)
    assert built._mean == pytest.approx(math.log(mean_s))
    assert node.estimate == pytest.approx(0.05 * expected)


def test_failures_before_the_first_good_answer_repel_too():
    """Whatever the mean turns out to be, fast or slow, the node that failed lies above it."""
    for latency in (0.0001, 0.01, 30.0):
        nodes = make(1, 1)
        built = picker(ShortestExpectedDelay(), nodes)
        for _ in range(3):
            built.observe(nodes[0], FAILED, 0.0001, 0.0)
        built.observe(nodes[1], OK, latency, 0.0)
        assert nodes[0].cost > 1.2 * nodes[1].cost


def test_a_latency_of_nothing_is_no_error():
    """A clock may stand still between two readings: it counts as a microsecond."""
    (node,) = nodes = make(1)
    built = picker(ShortestExpectedDelay(), nodes)
    built.observe(node, OK, 0.0, 0.0)
    assert built._mean == pytest.approx(math.log(1e-6))


def test_the_charge_follows_the_share_of_the_picks_within_its_bounds():
    """0.975 for a node that gets nothing, 1.1 for one that gets everything of four, 1 for a fair share."""
    nodes = make(1, 1, 1, 1)
    built = picker(ShortestExpectedDelay(), nodes)
    for _ in range(400):
        built.pick(FIRST_TRY, 0.0)
        nodes[0].picks += 1  # whatever was picked, a took it
    assert nodes[0].charge == pytest.approx(1.1)
    assert nodes[1].charge == pytest.approx(0.975)
    for turn in range(800):
        built.pick(FIRST_TRY, 0.0)
        nodes[turn % 4].picks += 1
    assert [node.charge for node in nodes] == pytest.approx([1.0] * 4, abs=0.01)


def test_a_fair_share_is_in_proportion_to_weight():
    """Nodes that are used by weight are charged nothing."""
    nodes = make(3, 1)
    built = picker(ShortestExpectedDelay(), nodes)
    for turn in range(4_000):
        built.pick(FIRST_TRY, 0.0)
        nodes[turn % 4 == 0].picks += 1
    assert [node.charge for node in nodes] == pytest.approx([1.0, 1.0], abs=0.03)


@pytest.mark.parametrize("count", [5, SCAN_LIMIT + 20])
def test_the_slow_of_equally_loaded_nodes_is_avoided(count):
    """In the scan and in the heap."""
    nodes = make(*[1] * count)
    built = picker(ShortestExpectedDelay(), nodes)
    rng = Random(1)
    now = 0.0
    for _ in range(100 * count):
        node = built.pick(FIRST_TRY, now)
        begin(built, node)
        latency = 0.010 * math.exp(0.3 * rng.gauss(0, 1)) * (10 if name(node) == "b" else 1)
        now += latency
        end(built, node, latency, now)
    # A fair share would be 100; after some ten answers it is out of the running, apart from a look now and then.
    assert nodes[1].picks < 40


def test_a_slow_node_is_tried_again_when_its_record_is_old():
    """Ten times slower is out at once, and costs as much as the others after some decay times."""
    nodes = make(1, 1)
    built = picker(ShortestExpectedDelay(decay_s=10.0), nodes)
    nodes[1].estimate, nodes[1].stamp = math.log(10.0), 0.0
    built.rebuild(tuple(nodes), 0.0)
    assert sequence(built, 20, now=0.0) == "a" * 20
    begin(built, nodes[0])
    # exp(0.5 ln 10 exp(-t / 30)) < 2 from t = 30 ln(0.5 ln 10 / ln 2) = 15 s on.
    assert sequence(built, 4, now=10.0) == "aaaa"
    assert sequence(built, 4, now=20.0)[-1] == "b"


def test_a_new_node_is_average_neither_perfect_nor_terrible():
    """A newcomer beside two that answer costs what the mean costs."""
    nodes = make(1, 1, 1)
    built = picker(ShortestExpectedDelay(), nodes[:2])
    for _ in range(300):
        built.observe(nodes[0], OK, 0.005, 0.0)
        built.observe(nodes[1], OK, 0.020, 0.0)
    built.rebuild(tuple(nodes), 0.0)
    assert nodes[0].cost < nodes[2].cost < nodes[1].cost
    assert nodes[2].cost == 1.0


def test_one_node_is_always_taken_and_tried_nodes_are_avoided():
    """The edges of every scheduler."""
    assert sequence(picker(ShortestExpectedDelay(), make(1)), 3) == "aaa"
    assert sequence(picker(ShortestExpectedDelay(), make(1, 1, 1)), 10, tried="ac") == "b" * 10
    assert set(sequence(picker(ShortestExpectedDelay(), make(1, 1)), 40, tried="ab")) == {"a", "b"}


@pytest.mark.parametrize(
    "wrong", [{"decay_s": 0}, {"penalty_s": -1}, {"gamma": -0.1}, {"gamma": 1.1}, {"gamma": float("nan")}]
)
def test_values_out_of_range_are_refused(wrong):
    """At construction, with the name of the argument."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ShortestExpectedDelay(**wrong)
