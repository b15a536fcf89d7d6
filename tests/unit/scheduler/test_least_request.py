"""Two random choices by requests in flight."""

from collections import Counter

import pytest

from lbkit.core.pick import FIRST_TRY
from lbkit.errors import ConfigError
from lbkit.scheduler import LeastRequest
from tests.unit.scheduler.nodes import begin, make, picker, sequence


def test_the_less_loaded_of_two_is_taken_so_the_most_loaded_never_is():
    """With two different draws the node with the most in flight always loses."""
    nodes = make(1, 1, 1, 1)
    nodes[2].in_flight = 7
    assert "c" not in sequence(picker(LeastRequest(), nodes), 500)


def test_an_idle_cluster_is_shared_by_weight():
    """Ties go to the first draw, which is by weight: 6,000 picks of 3,2,1 within four standard deviations."""
    counts = Counter(sequence(picker(LeastRequest(), make(3, 2, 1)), 6_000))
    for node, share in zip("abc", (1 / 2, 1 / 3, 1 / 6), strict=True):
        # Binomial(6000, share): the standard deviation is at most 39.
        assert abs(counts[node] - 6_000 * share) <= 4 * 39


def test_load_is_compared_in_proportion_to_weight():
    """3 in flight at weight 4 is less than 1 in flight at weight 1."""
    nodes = make(4, 1)
    nodes[0].in_flight, nodes[1].in_flight = 3, 1
    built = picker(LeastRequest(choices=10), nodes)
    assert sequence(built, 50).count("a") >= 49  # ten draws of weight 4:1 miss a with 0.2 ** 10


@pytest.mark.parametrize("choices", [2, 3])
def test_more_choices_keep_the_fullest_node_emptier(choices):
    """1,000 requests that stay, over 1,000 nodes: the fullest has 5.5 on average for one draw, 3.0 for two."""
    nodes = make(*[1] * 1_000)
    built = picker(LeastRequest(choices=choices), nodes)
    for _ in range(1_000):
        begin(built, built.pick(FIRST_TRY, 0.0))
    assert max(node.in_flight for node in nodes) <= 4


def test_one_node_and_tried_nodes():
    """One node is taken always; an untried one is preferred while there is one."""
    assert sequence(picker(LeastRequest(), make(1)), 3) == "aaa"
    built = picker(LeastRequest(), make(1, 1, 1))
    assert sequence(built, 30, tried="ab") == "c" * 30
    assert set(sequence(built, 60, tried="abc")) == set("abc")


def test_two_draws_of_equal_weight_are_different_and_all_pairs_equally_likely():
    """With three nodes and loads 0, 1, 2 the pairs ab, ac, bc are won by a, a, b: two thirds to one third."""
    nodes = make(1, 1, 1)
    nodes[1].in_flight, nodes[2].in_flight = 1, 2
    counts = Counter(sequence(picker(LeastRequest(), nodes), 3_000))
    # Binomial(3000, 2/3): standard deviation 26.
    assert abs(counts["a"] - 2_000) <= 104
    assert counts["c"] == 0


@pytest.mark.parametrize("choices", [0, 1, 11, -3])
def test_a_number_of_choices_out_of_range_is_refused(choices):
    """At construction, with the range and what None means."""
    with pytest.raises(ConfigError, match="from 2 to 10, or None"):
        LeastRequest(choices=choices)
