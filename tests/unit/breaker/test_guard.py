"""The guard: every way to put it around a call, and what counts as what."""

import asyncio
import gc
import weakref

import pytest

import lbkit
from lbkit import CircuitBreaker, CircuitOpen, ConfigError, Guard
from lbkit.breaker import State
from tests.unit.breaker.guards import boom, counts, guard, swallow


def run_block(made, function, *args):
    with made:
        return function(*args)


def run_async_block(made, function, *args):
    async def block():
        async with made:
            return function(*args)

    return asyncio.run(block())


def run_awaited(made, function, *args):
    @made
    async def awaited():
        await asyncio.sleep(0)
        return function(*args)

    return asyncio.run(awaited())


def run_call_of_coroutine(made, function, *args):
    async def inner():
        return function(*args)

    async def outer():
        return await made.call(inner)

    return asyncio.run(outer())


def run_own_block(made, function, *args):
    with made.block():
        return function(*args)


def run_own_async_block(made, function, *args):
    async def block():
        async with made.block():
            return function(*args)

    return asyncio.run(block())


WAYS = {
    "call": lambda made, function, *args: made.call(function, *args),
    "decorator": lambda made, function, *args: made(function)(*args),
    "with": run_block,
    "async with": run_async_block,
    "with block": run_own_block,
    "async with block": run_own_async_block,
    "async decorator": run_awaited,
    "call of a coroutine function": run_call_of_coroutine,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_counts_refuses_and_comes_back(way):
    """Two failures open it, nothing is called while it is open, one success after a second closes it."""
    made, clock = guard()
    run = WAYS[way]
    assert run(made, len, "four") == 4
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(made, divmod, 1, 0)
    called = []
    with pytest.raises(CircuitOpen) as caught:
        run(made, called.append, 1)
    assert not called
    error = caught.value
    assert (error.name, error.state, error.cause, error.retry_after_s) == (
        "payments",
        "open",
        "2 failures in a row",
        1.0,
    )
    assert counts(made) == (1, 2, 0, 1)
    clock.advance(1.0)
    assert run(made, len, "four") == 4
    assert made.stats().state is State.CLOSED


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_a_trial_back_that_says_nothing(way):
    """Cancelled while half-open: still half-open, and the next one is let in."""
    made, clock = guard()
    swallow(made, count=2)
    clock.advance(1.0)
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            WAYS[way](made, boom, asyncio.CancelledError)
        assert made.stats().state is State.HALF_OPEN
    WAYS[way](made, len, "")
    assert made.stats().state is State.CLOSED


def test_a_decorated_function_keeps_its_name_and_its_kind():
    """So frameworks that look at functions see what they saw, and methods are methods."""
    made, _ = guard()

    class Client:
        @made
        def get(self, number, *, more=0):
            """Get it."""
            return number + more

        @made
        async def fetch(self):
            return 7

    assert (Client.get.__name__, Client.get.__doc__) == ("get", "Get it.")
    assert Client().get(1, more=2) == 3
    assert asyncio.iscoroutinefunction(Client.fetch) and not asyncio.iscoroutinefunction(Client.get)
    assert asyncio.run(Client().fetch()) == 7


def generator():
    yield


async def async_generator():
    yield


@pytest.mark.parametrize("wrong", [generator, async_generator])
def test_a_generator_function_is_not_decorated(wrong):
    """It would count as a success before it has begun."""
    with pytest.raises(ConfigError, match="put `with guard.block.*` into a generator function"):
        guard()[0](wrong)


@pytest.mark.parametrize("wrong", [5, None, int, "pay"])
def test_what_is_no_function_is_not_decorated(wrong):
    """A class neither: its instances would not be guarded."""
    with pytest.raises(ConfigError, match="a guard decorates a function, not"):
        guard()[0](wrong)


def test_values_can_be_failures_or_nothing():
    """They are returned all the same."""
    made, _ = guard(failure_result=lambda status: status >= 500, ignore_result=lambda status: status == 404)

    async def awaited(status):
        return status

    for status in (200, 404, 500):
        assert made.call(int, status) == status
        assert asyncio.run(made.call(awaited, status)) == status
        assert asyncio.run(made(awaited)(status)) == status if status != 500 else True
    assert counts(made) == (3, 2, 3, 0)
    assert made.stats().state is State.OPEN


@pytest.mark.parametrize("option", ["failure", "success", "ignore", "failure_result", "ignore_result"])
def test_a_function_that_judges_and_fails_harms_no_call(option, caplog):
    """The call's own end reaches the caller, it counts as nothing, and the log says why."""

    def broken(what):
        raise RuntimeError("a bug")

    made, _ = guard(**{option: broken})
    if option.endswith("result"):
        assert made.call(int, 5) == 5
    else:
        with pytest.raises(ValueError, match="boom"):
            made.call(boom)
    assert counts(made) == (0, 0, 1, 0)
    assert "a function that judges calls failed" in caplog.text and "a bug" in caplog.text


def test_slow_calls_open_it():
    """Measured by the guard's clock, sync and async, with a block and without."""
    made, clock = guard(failures=None, slow_rate=1.0, slow_s=2.0, window_calls=6)

    async def awaited():
        clock.advance(2.0)

    async def block():
        async with made:
            clock.advance(2.0)

    for _ in range(2):
        made.call(clock.advance, 2.0)
        asyncio.run(made(awaited)())
        asyncio.run(block())
    stats = made.stats()
    assert (stats.state, stats.cause, stats.ok) == (State.OPEN, "6 of 6 calls were slow", 6)


def test_a_function_that_calls_another_one_with_the_same_guard_passes_its_trial():
    """The inner call is part of the trial; if it were refused, the circuit would never close."""
    made, clock = guard()
    swallow(made, count=2)
    clock.advance(1.0)

    @made
    def inner():
        return 1

    @made
    def outer():
        assert inner() == 1
        assert made.stats().state is State.HALF_OPEN
        with made:
            return 2

    assert outer() == 2
    assert made.stats().state is State.CLOSED


def test_an_inner_refusal_by_the_same_guard_says_nothing():
    """By another one it is a failure like others."""
    made, _ = guard()
    other, _ = guard(name="other")
    other.force_open()

    def nested():
        made.force_open()
        made.call(len, "")

    with pytest.raises(CircuitOpen):
        made.call(nested)
    made.enable()
    with pytest.raises(CircuitOpen):
        made.call(other.call, len, "")
    assert counts(made) == (0, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "a guard's name is text"),
        ((5,), "a guard's name is text"),
        ((len,), "a guard's name is text"),
        (("payments", 5), r"Guard\('payments', ...\): expected a CircuitBreaker, not 5"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """At construction."""
    with pytest.raises(ConfigError, match=message):
        Guard(*arguments)


def test_guards_of_one_config_know_nothing_of_each_other():
    """A config is a value."""
    config = CircuitBreaker(failures=1)
    one, other = config.guard("one"), Guard("other", config)
    swallow(one)
    assert (one.stats().state, other.stats().state) == (State.OPEN, State.CLOSED)
    assert Guard("default").name == "default"
    assert lbkit.Guard is lbkit.breaker.Guard is Guard


def test_a_guard_that_is_dropped_is_gone():
    """No registry and no context keeps it, not even in the middle of a trial."""
    made, clock = guard()
    swallow(made, count=2)
    clock.advance(1.0)
    made._keeper.admit()
    gone = weakref.ref(made._keeper)
    del made
    gc.collect()
    assert gone() is None
