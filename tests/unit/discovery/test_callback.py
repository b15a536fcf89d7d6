"""The source that is a function of the user's: its options, what it may return, and when it is called."""

import functools
import math
from random import Random

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import Callback
from lbkit.discovery.callback import CallFunction, Pushed
from lbkit.discovery.keeper import Keeper
from lbkit.errors import ConfigError, DiscoveryError

A, B = Endpoint.parse("a:80", weight=2), Endpoint.parse("b:80")


def replicas():
    return []


def watch(**options):
    return Callback(replicas, **options).watch(Random(1))


@pytest.mark.parametrize(
    "returned", [[A, "b:80"], (A, B), iter([A, B]), {A: None}.keys() | {B}, (one for one in (A, "b:80"))]
)
def test_any_iterable_of_endpoints_and_targets_is_a_set(returned):
    """Lists, tuples, sets and iterators."""
    found = watch().answer(returned, 0.0)
    assert sorted(found.endpoints, key=str) == [A, B]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "the function returned None, not a list of endpoints"),
        ("a:80", "the function returned a value of type str, not a list"),
        (b"a:80", "the function returned a value of type bytes, not a list"),
        ({"a:80": 1}, "the function returned a value of type dict, not a list"),
        (5, "the function returned a value of type int, not a list"),
        (A, "the function returned a value of type Endpoint, not a list"),
        (
            ["a:80", ("b", 80)],
            'item 1 that the function returned is a value of type tuple, not an Endpoint or a target: write f"{host}:',
        ),
        (["a:80", None], "item 1 that the function returned is None"),
        (["a:80", "b:80", "c"], "item 2 that the function returned: endpoint 'c' has no port"),
        (["http://me:hunter2@a"], "item 0 that the function returned: an endpoint has no credentials"),
    ],
)
def test_what_is_no_set_is_refused_by_item(returned, message):
    """Returned or yielded; the text names the item and repeats no credentials."""
    for reply, did in ((returned, "returned"), (Pushed(returned), "yielded")):
        with pytest.raises(DiscoveryError) as caught:
            watch().answer(reply, 0.0)
        assert message.replace("returned", did) in str(caught.value)
        assert "hunter2" not in str(caught.value)


def sets():
    yield ["a:80"]
    yield ["a:80", "b:80"]


def test_a_function_that_yields_sets_and_is_not_async_is_told_how_it_is_written():
    """What it returns is taken for one set, as that of a function which yields endpoints is; async ones know already."""
    with pytest.raises(
        DiscoveryError, match="item 0 .* type list, .*: return one flat list; .* make the function async"
    ):
        watch().answer(sets(), 0.0)
    with pytest.raises(DiscoveryError, match="item 0 that the function yielded is .*, not an Endpoint or a target$"):
        watch().answer(Pushed(sets()), 0.0)


def test_a_function_that_returns_is_called_again_after_a_spread_pause():
    """30 s, give or take a tenth."""
    machine = watch()
    pauses = [machine.answer([A], 0.0).ask_again_s for _ in range(100)]
    assert 27.0 <= min(pauses) < 28.0
    assert 32.0 < max(pauses) <= 33.0
    assert 4.5 <= watch(every=5).answer([A], 0.0).ask_again_s <= 5.5


def test_a_function_that_yields_is_asked_for_the_next_item_at_once():
    """Each item is a complete set."""
    machine = watch()
    found = machine.answer(Pushed([A]), 0.0)
    assert (found.endpoints, found.ask_again_s) == ((A,), 0.0)


def test_a_function_is_called_anew_at_first_and_after_failures():
    """In between the next item of its iterator is waited for."""
    machine = watch(timeout=3)
    assert machine.query(0.0) == CallFunction(replicas, 3, anew=True)
    machine.answer(Pushed([A]), 0.0)
    assert machine.query(1.0) == CallFunction(replicas, 3, anew=False)
    machine.failed(1.0)
    assert machine.query(2.0).anew is True


def test_an_item_that_is_no_set_does_not_count_as_a_start():
    """The generator is begun again."""
    machine = watch()
    with pytest.raises(DiscoveryError):
        machine.answer(Pushed(None), 0.0)
    assert machine.query(1.0).anew is True


class Inventory:
    def __call__(self):
        return []


@pytest.mark.parametrize(
    ("function", "name", "text"),
    [
        (replicas, None, "callback:replicas"),
        (Inventory(), None, "callback:Inventory"),
        (functools.partial(replicas), None, "callback:partial"),
        (replicas, "inventory", "callback:inventory"),
    ],
)
def test_it_is_called_by_the_functions_name_or_by_one_that_is_given(function, name, text):
    """In statistics and messages."""
    assert str(Callback(function, name=name)) == text


def test_it_is_a_value():
    """Equal, hashable, and hurried at most once a second."""
    assert Callback(replicas) == Callback(replicas)
    assert hash(Callback(replicas)) == hash(Callback(replicas))
    assert Callback(replicas, empty_grace=5).upkeep.empty_grace == 5
    assert Callback(replicas).upkeep.hurry_s == 1.0


def wanting(service, zone, *more, limit=5, **others):
    return []


class Wanting:
    def __call__(self, service):
        return []


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(wanting, "orders", zone="eu"),
        functools.partial(Wanting().__call__, "orders"),
        lambda limit=5: [],
        lambda *more, **others: [],
        list,
        dict,
        Inventory,
    ],
)
def test_a_function_that_can_be_called_without_arguments_is_taken(function):
    """Partials, defaults, classes, and builtins of which nobody can say what they need."""
    assert Callback(function).function is function


def test_of_several_endpoints_with_one_address_the_first_counts():
    """Functions read tables, which may have a row twice."""
    keeper = Keeper(Callback(replicas), Random(1))
    keeper.answer([A, "b:80", "a:80"], 0.0)
    assert keeper.endpoints == (A, B)


async def once():
    return []


async def always():
    yield []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Callback("a:80"), "function must be a function without arguments"),
        (lambda: Callback(once()), "give the function itself, without calling it, not its coroutine"),
        (lambda: Callback(always()), "give the function itself, without calling it, not its async_generator"),
        (lambda: Callback(wanting), "Callback: function takes no argument, and wanting needs service, zone: give"),
        (lambda: Callback(functools.partial(wanting, "orders")), "and partial needs zone"),
        (lambda: Callback(Wanting()), "and Wanting needs service"),
        (lambda: Callback(replicas, every=0), "every must be above 0 seconds"),
        (lambda: Callback(replicas, every=math.inf), "every must be above 0 seconds and finite"),
        (lambda: Callback(replicas, timeout=0), "timeout must be above 0 seconds"),
        (lambda: Callback(replicas, empty_grace=-1), "empty_grace must be at least 0"),
        (lambda: Callback(replicas, name=""), "name must be a text"),
    ],
)
def test_wrong_options_are_refused_at_construction(make, message):
    """The message says what to write."""
    with pytest.raises(ConfigError, match=message):
        make()
