"""The tree: sources and combinations of combinations, as one set."""

from dataclasses import dataclass
from random import Random

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import Fallback, Merged, Static, Subset
from lbkit.discovery.base import Found
from lbkit.discovery.tree import Tree
from lbkit.errors import DiscoveryError

A, B, C = (Endpoint.parse(f"{name}:80") for name in "abc")


@dataclass(frozen=True)
class Source:
    """A source that the test answers for."""

    name: str

    def watch(self, rng):
        return self

    def query(self, now):
        return None

    def answer(self, reply, now):
        return Found(reply, 1.0)

    def failed(self, now):
        pass

    def __str__(self):
        return self.name


def tree(discovery):
    grown = Tree(discovery, Random(1))
    return grown, *grown.keepers


def test_one_source_is_the_set():
    """None before it is known, then what its keeper keeps."""
    grown, keeper = tree(Source("one"))
    assert grown.endpoints() is None
    keeper.answer((A, B), 0.0)
    assert grown.endpoints() == (A, B)
    keeper.failed(DiscoveryError("down"), 1.0)
    assert grown.endpoints() == (A, B)


def test_the_keepers_stand_in_the_order_of_the_sources():
    """However they are combined; a source that is written twice is asked twice."""
    twice = Source("second")
    grown = Tree(Merged(Source("first"), Fallback(Subset(twice, 2), Source("third")), twice), Random(1))
    assert [keeper.report.source for keeper in grown.keepers] == ["first", "second", "third", "second"]


def test_combinations_of_combinations_are_followed():
    """The set is always what the present parts make."""
    grown, first, second, third = tree(Merged(Source("1"), Fallback(Source("2"), Source("3"))))
    first.answer((A,), 0.0)
    third.answer((C,), 0.0)
    assert grown.endpoints() is None, "the second may still have endpoints"
    second.failed(DiscoveryError("down"), 0.0)
    assert grown.endpoints() == (A, C)
    second.answer((B,), 1.0)
    assert grown.endpoints() == (A, B)


def test_a_combination_that_knows_its_set_is_settled():
    """Nobody waits for the standby of a fallback whose first source has answered."""
    grown, first, standby, other = tree(Merged(Fallback(Source("1"), Source("standby")), Source("2")))
    first.answer((A,), 0.0)
    other.answer((B,), 0.0)
    assert standby.endpoints is None
    assert grown.endpoints() == (A, B)


def test_a_combination_of_failures_is_settled_and_unknown():
    """So that a fallback behind it comes into use."""
    grown, first, second, last = tree(Fallback(Merged(Source("1"), Source("2")), Source("last")))
    last.answer((C,), 0.0)
    first.failed(DiscoveryError("down"), 0.0)
    assert grown.endpoints() is None
    second.failed(DiscoveryError("down"), 0.0)
    assert grown.endpoints() == (C,)


@pytest.mark.parametrize("discovery", [Static("a:80", "b:80"), Subset(["a:80", "b:80"], 5), Merged("a:80", "b:80")])
def test_what_is_written_down_needs_no_question(discovery):
    """Static sources answer whatever comes."""
    grown = Tree(discovery, Random(1))
    for keeper in grown.keepers:
        assert keeper.is_static
        keeper.answer(None, 0.0)
    assert grown.endpoints() == (A, B)


def test_what_did_not_change_is_not_combined_again():
    """It is looked at after every answer of every source."""
    combined = []

    class Counted(Merged):
        def combine(self, parts):
            combined.append(parts)
            return super().combine(parts)

    grown, first, second = tree(Counted(Source("1"), Source("2")))
    first.answer((A,), 0.0)
    second.answer((B,), 0.0)
    assert grown.endpoints() == (A, B)
    for now in (1.0, 2.0):
        first.answer((A,), now)
        assert grown.endpoints() == (A, B)
    assert len(combined) == 1
    first.answer((C,), 3.0)
    assert grown.endpoints() == (C, B)
    assert len(combined) == 2


def test_a_combination_that_raises_is_asked_again():
    """It may be a user's own; what it made before is not taken for the answer."""
    moods = [ValueError()]

    class Moody(Merged):
        def combine(self, parts):
            if moods:
                raise moods.pop()
            return super().combine(parts)

    grown, first = tree(Moody(Source("1")))
    first.answer((A,), 0.0)
    with pytest.raises(ValueError):
        grown.endpoints()
    assert grown.endpoints() == (A,)
