"""Subsets: deterministic, never too small, and moved as little as can be. DI-9."""

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import Subset, subset
from lbkit.discovery.base import Part
from lbkit.errors import ConfigError


def some(count, **more):
    return tuple(Endpoint(host=f"10.0.{one // 250}.{one % 250}", port=80, **more) for one in range(count))


def take(endpoints, size, seed="me"):
    return Subset("a:80", size, seed=seed).combine((Part(tuple(endpoints), settled=True),))


SEEDED = ["10.0.0.1:80", "10.0.0.14:80", "10.0.0.17:80"]
"""What was taken when this test was written."""
SETS = st.lists(
    st.builds(
        Endpoint, host=st.integers(0, 30).map("h{}".format), port=st.just(80), priority=st.integers(0, 2),
        weight=st.sampled_from([0, 1, 5]),
    ),
    unique_by=lambda one: one.id,
)  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(endpoints=SETS, size=st.integers(1, 8), seed=st.integers(0, 3))
def test_of_each_tier_it_takes_the_size_or_all(endpoints, size, seed):
    """Never smaller than min(size, n), each tier on its own, in the source's order."""
    taken = take(endpoints, size, seed)
    tiers, all_tiers = Counter(one.priority for one in taken), Counter(one.priority for one in endpoints)
    assert tiers == {tier: min(size, count) for tier, count in all_tiers.items()}
    assert list(taken) == [one for one in endpoints if one in taken]


@settings(derandomize=True, deadline=None)
@given(endpoints=SETS, size=st.integers(1, 8), order=st.randoms(use_true_random=False))
def test_the_order_of_the_source_does_not_matter(endpoints, size, order):
    """Only the seed and the addresses do: DNS shuffles its answers."""
    shuffled = list(endpoints)
    order.shuffle(shuffled)
    assert set(take(endpoints, size)) == set(take(shuffled, size))


@settings(derandomize=True, deadline=None)
@given(endpoints=SETS, size=st.integers(1, 8), data=st.data())
def test_who_leaves_or_joins_moves_at_most_one_place_of_its_tier(endpoints, size, data):
    """The others stay: connections to them stay open."""
    if not endpoints:
        return
    leaver = data.draw(st.sampled_from(endpoints))
    before = set(take(endpoints, size))
    after = set(take([one for one in endpoints if one is not leaver], size))
    if leaver in before:
        assert before - after == {leaver}
        assert len(after - before) <= 1
    else:
        assert before == after


@settings(derandomize=True, deadline=None)
@given(endpoints=SETS, size=st.integers(1, 8))
def test_a_larger_size_only_adds(endpoints, size):
    """Who is in a subset of 3 is in the one of 4."""
    assert set(take(endpoints, size)) <= set(take(endpoints, size + 1))


def test_weights_and_labels_do_not_move_anything():
    """Only the address counts, so a change of weights closes no connections."""
    plain = {one.id for one in take(some(50), 5)}
    heavy = {one.id for one in take(some(50, weight=7, zone="eu-1", metadata={"v": "2"}), 5)}
    assert plain == heavy


def test_an_endpoint_that_gets_nothing_takes_no_place():
    """A subset of drained endpoints would be an outage; they fill up what is free."""
    drained, working = some(20, weight=0), (Endpoint.parse("a:80"), Endpoint.parse("b:80"))
    taken = take((*drained, *working), 3)
    assert set(working) < set(taken)
    assert len(taken) == 3


def test_clients_take_different_parts_and_each_endpoint_has_its_share():
    """300 clients that take 20 of 100: each endpoint is taken by 60 of them, with the spread of a binomial count.

    The standard deviation is sqrt(300 * 0.2 * 0.8) = 6.9; among 100 counts 4.5 of it are exceeded once in 1,500 runs.
    The seeds are fixed, so this either holds or does not.
    """
    endpoints = some(100)
    counts = Counter(one for client in range(300) for one in take(endpoints, 20, client))
    assert sum(counts.values()) == 300 * 20
    assert all(60 - 4.5 * 6.93 <= counts[one] <= 60 + 4.5 * 6.93 for one in endpoints)


def test_a_seed_is_the_same_in_every_process():
    """Nothing depends on Python's own hashes, which are different in each process."""
    assert [one.id for one in take(some(20), 3, "host-1")] == SEEDED
    assert take(some(100), 10, 1) != take(some(100), 10, "1")


def test_without_a_seed_a_process_has_one_of_its_own(monkeypatch):
    """Stable over refreshes; a forked child has another one, so that workers do not all use the same endpoints."""
    endpoints = some(100)
    mine = take(endpoints, 10, None)
    assert take(endpoints, 10, None) == mine
    childs = os.getpid() + 1
    monkeypatch.setattr(subset.os, "getpid", lambda: childs)
    assert take(endpoints, 10, None) != mine


def test_what_is_not_known_stays_unknown_and_empty_stays_empty():
    """A subset invents nothing."""
    made = Subset("dns://orders.internal:80", 3)
    assert made.combine((Part(None, settled=True),)) is None
    assert made.combine((Part((), settled=True),)) == ()


def test_its_name_says_what_is_cut():
    """For statistics and logs; the seed is nobody's business there."""
    made = Subset("dns://orders.internal:80", 3, seed="host-1")
    assert str(made) == "subset(dns://orders.internal:80, 3)"
    assert repr(Subset(["a:80"], 3, seed="x")) == "Subset(Static('a:80'), 3, seed='x')"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a:80"], 0), "size must be a whole number of endpoints, at least 1, not 0"),
        ((["a:80"], 2.5), "size must be a whole number"),
        ((["a:80"], True), "size must be a whole number"),
        ((5, 3), "a discovery is a target"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """At construction."""
    with pytest.raises(ConfigError, match=message):
        Subset(*arguments)
    with pytest.raises(ConfigError, match="seed must be a text or a whole number"):
        Subset(["a:80"], 3, seed=1.5)
