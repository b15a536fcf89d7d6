"""Random, first, and finding schedulers by name."""

import dataclasses
from collections import Counter
from random import Random as Rng

import pytest

from lbkit.errors import ConfigError
from lbkit.scheduler import First, LeastRequest, Random, RoundRobin, ShortestExpectedDelay, by_name
from lbkit.scheduler.sampling import Sampler
from tests.unit.scheduler.nodes import make, name, picker, sequence


def test_random_draws_in_proportion_to_weight():
    """10,000 draws of 5,3,2: standard deviation at most 50, four allowed."""
    counts = Counter(sequence(picker(Random(), make(5, 3, 2)), 10_000))
    for node, share in zip("abc", (0.5, 0.3, 0.2), strict=True):
        assert abs(counts[node] - 10_000 * share) <= 200


def test_random_draws_equal_nodes_evenly_and_avoids_tried_ones():
    """10,000 draws of four equal nodes; one tried leaves three."""
    counts = Counter(sequence(picker(Random(), make(1, 1, 1, 1)), 10_000))
    assert all(abs(count - 2_500) <= 174 for count in counts.values())  # standard deviation 43.3
    assert set(sequence(picker(Random(), make(1, 1, 1, 1)), 200, tried="b")) == set("acd")


def test_weights_of_very_different_size_are_drawn_right():
    """A billionth is practically never drawn, and nothing breaks at the edges of the running sum."""
    assert sequence(picker(Random(), make(1e9, 1.0, 1e-9)), 2_000) == "a" * 2_000

    class Edge(Rng):
        def random(self):
            return 1.0 - 2**-53

    nodes = make(0.1, 0.2, 0.7)
    assert name(Sampler(tuple(nodes), Edge()).draw()) == "c"


def test_a_pair_is_the_same_node_twice_only_where_weights_leave_no_other_chance():
    """99 to 1: redrawn three times, then given up; equal weights never repeat."""
    sampler = Sampler(tuple(make(1, 1)), Rng(1))
    assert all(one is not other for one, other in (sampler.draw_pair() for _ in range(200)))
    sampler = Sampler(tuple(make(1e9, 1e-9)), Rng(1))
    one, other = sampler.draw_pair()
    assert one is other


def test_first_takes_the_first_of_the_list_until_it_is_full():
    """With a limit the next one gets what does not fit; where all are full the least used does."""
    nodes = make(1, 1, 1)
    assert sequence(picker(First(), nodes), 5) == "aaaaa"
    assert sequence(picker(First(), nodes), 5, tried="a") == "bbbbb"
    built = picker(First(limit=2), nodes)
    nodes[0].in_flight = 2
    assert sequence(built, 2) == "bb"
    nodes[1].in_flight, nodes[2].in_flight = 3, 4
    assert sequence(built, 2) == "aa"


def test_first_refuses_a_limit_below_one():
    """At construction."""
    with pytest.raises(ConfigError, match="at least 1"):
        First(limit=0)


@pytest.mark.parametrize(
    "known",
    [
        "first",
        "least_connections",
        "least_request",
        "peak_ewma",
        "random",
        "round_robin",
        "shortest_expected_delay",
    ],
)
def test_every_scheduler_has_a_name_and_works_with_one_node(known):
    """The name gives the config with its defaults."""
    scheduler = by_name(known)
    assert scheduler == type(scheduler)()
    assert sequence(picker(scheduler, make(2.5)), 3) == "aaa"


def test_a_config_is_taken_as_it_is_and_may_build_many_pickers():
    """Frozen, and its pickers share nothing."""
    scheduler = LeastRequest(choices=3)
    assert by_name(scheduler) is scheduler
    assert scheduler.build(Rng(1)) is not scheduler.build(Rng(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        scheduler.choices = 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("roundrobin", "no scheduler is called 'roundrobin'; there are first, least_connections"),
        (RoundRobin, "a config with a build method"),
        (object(), "a config with a build method"),
        (None, "a config with a build method"),
    ],
)
def test_what_is_no_scheduler_is_refused_with_the_choices(wrong, message):
    """The message lists the names."""
    with pytest.raises(ConfigError, match=message):
        by_name(wrong)


def test_the_default_values_of_the_default_scheduler():
    """Where they come from is said in its documentation."""
    assert ShortestExpectedDelay() == ShortestExpectedDelay(decay_s=10.0, gamma=0.5, penalty_s=5.0)
