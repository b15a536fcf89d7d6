"""Several sources as one: the union, and the first that has something."""

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import Callback, Dns, Fallback, File, Merged, Static
from lbkit.discovery.base import Combination, Part
from lbkit.errors import ConfigError

A, B, C = (Endpoint.parse(f"{name}:80") for name in "abc")
HEAVY_A = Endpoint.parse("a:80", weight=5)
WAITING, FAILED, EMPTY = Part(None, settled=False), Part(None, settled=True), Part((), settled=True)


def has(*endpoints):
    return Part(endpoints, settled=True)


MERGED = Merged("a:80", "b:80", "c:80")
FALLBACK = Fallback("a:80", "b:80", "c:80")


@pytest.mark.parametrize(
    ("parts", "union"),
    [
        ((WAITING, WAITING, WAITING), None),
        ((has(A), has(B), WAITING), None),
        ((FAILED, FAILED, FAILED), None),
        ((has(A), FAILED, FAILED), (A,)),
        ((has(A, B), EMPTY, has(C)), (A, B, C)),
        ((EMPTY, FAILED, EMPTY), ()),
        ((has(B, A), has(C, B), has(A)), (B, A, C)),
    ],
)
def test_the_union_is_known_when_all_have_been_heard(parts, union):
    """Then a source that failed does not hold up the others; where none knows anything, nothing is known."""
    assert MERGED.combine(parts) == union


def test_an_address_that_several_give_is_the_first_ones():
    """With its weight; order of sources, not of answers."""
    (first, _) = MERGED.combine((has(HEAVY_A), has(A, B), EMPTY))
    assert first.weight == 5
    (first, _) = MERGED.combine((has(A, B), has(HEAVY_A), EMPTY))
    assert first.weight == 1


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ((has(A), has(B), has(C)), (A,)),
        ((has(A), WAITING, WAITING), (A,)),
        ((WAITING, has(B), has(C)), None),
        ((FAILED, has(B), has(C)), (B,)),
        ((EMPTY, has(B), WAITING), (B,)),
        ((EMPTY, WAITING, has(C)), None),
        ((FAILED, EMPTY, has(C)), (C,)),
        ((FAILED, EMPTY, FAILED), ()),
        ((EMPTY, EMPTY, EMPTY), ()),
        ((FAILED, FAILED, FAILED), None),
        ((FAILED, FAILED, WAITING), None),
    ],
)
def test_the_first_that_has_endpoints_is_used(parts, chosen):
    """A later one only while all before it have been heard and have none."""
    assert FALLBACK.combine(parts) == chosen


@pytest.mark.parametrize("combination", [Merged, Fallback])
def test_everything_that_says_where_endpoints_come_from_can_be_combined(combination, tmp_path):
    """Sources, combinations, target strings, endpoints and lists of them."""
    path = tmp_path / "orders.json"
    made = combination(
        Dns("orders.internal", 80), Merged("a:80"), "dns://orders.internal:80", f"file://{path}", ["a:80", B], C,
        Callback(list),
    )  # fmt: skip
    kinds = [type(one) for one in made.sources]
    assert kinds == [Dns, Merged, Dns, File, Static, Static, Callback]
    assert isinstance(made, Combination)


@pytest.mark.parametrize("combination", [Merged, Fallback])
@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ((), "needs at least one source"),
        ((5,), "a discovery is a target such as"),
        (("dns://orders",), "a name and a port"),
        (([],), "at least one endpoint"),
        ((Dns,), "such as Dns"),
    ],
)
def test_what_is_no_source_is_refused_at_construction(combination, sources, message):
    """The message says what to write."""
    with pytest.raises(ConfigError, match=message):
        combination(*sources)


def test_their_names_say_what_is_combined():
    """For statistics and logs."""
    both = Fallback("dns://orders.internal:80", Merged("a:80", "b:80"))
    assert str(both) == "fallback(dns://orders.internal:80, merged(static, static))"
    assert repr(Merged("a:80", "b:80")) == "Merged(Static('a:80'), Static('b:80'))"
