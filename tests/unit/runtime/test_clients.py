"""The clients that run functions: sync, async and pushed; what they raise, how they end, and what they never repeat."""

import asyncio
import threading

import anyio
import pytest

from lbkit.discovery.base import Run
from lbkit.discovery.callback import CallFunction, Pushed
from lbkit.discovery.file.file import ReadFile
from lbkit.errors import DiscoveryError
from lbkit.runtime.clients import RunClient, make_client
from lbkit.runtime.engine import ENGINE


async def coroutine():
    return ["a:80", threading.current_thread()]


def plain():
    return ["a:80", threading.current_thread()]


def generator():
    yield "a:80"
    yield threading.current_thread()


def returns_a_coroutine():
    return coroutine()


@pytest.mark.parametrize(
    ("function", "in_loop"), [(coroutine, True), (plain, False), (generator, False), (returns_a_coroutine, True)]
)
def test_async_functions_run_in_the_loop_and_others_in_a_worker_thread(function, in_loop):
    """A generator is read to its end in the worker thread, for it may block as well."""

    async def main():
        for client, query in ((RunClient(), Run(function, 5.0)), (make_client(CALL), call(function))):
            target, thread = await client.ask(query)
            assert target == "a:80"
            assert (thread is threading.current_thread()) == in_loop

    anyio.run(main)


def call(function, *, anew=True, timeout=5.0):
    return CallFunction(function, timeout, anew)


CALL = call(plain)


def raises():
    raise ValueError("password=hunter2")


async def raises_later():
    raise ValueError("password=hunter2")


def raises_a_timeout():
    raise TimeoutError("of its own")


async def yields_and_raises():
    yield ["a:80"]
    raise ValueError("password=hunter2")


async def exits():
    raise SystemExit(1)


def exits_in_its_thread():
    raise SystemExit(1)


async def waits_for_what_is_cancelled():
    task = asyncio.ensure_future(anyio.sleep_forever())
    task.cancel()
    await task


FAULTS = [raises, raises_later, raises_a_timeout, exits, exits_in_its_thread, waits_for_what_is_cancelled]


@pytest.mark.parametrize("function", FAULTS)
def test_what_a_function_raises_is_named_and_not_repeated(function):
    """The text may hold secrets; the exception is the cause. Its timeouts, exits and cancellations are not ours."""

    async def main():
        for client, query in ((RunClient(), Run(function, 5.0)), (make_client(CALL), call(function))):
            with pytest.raises(DiscoveryError) as caught:
                await client.ask(query)
            error = caught.value
            assert str(error) == f"the function raised {type(error.__cause__).__name__}"

    anyio.run(main)


def test_a_discovery_error_of_the_functions_own_passes():
    """That is how a function has its text shown."""

    def refuse():
        raise DiscoveryError("the inventory is locked")

    with pytest.raises(DiscoveryError, match="^the inventory is locked$"):
        anyio.run(RunClient().ask, Run(refuse))


def test_an_async_function_ends_in_time():
    """It is cancelled."""
    with pytest.raises(DiscoveryError, match=r"no answer in 0\.01 s"):
        anyio.run(RunClient().ask, Run(anyio.sleep_forever, 0.01))


def test_a_function_that_hangs_holds_one_thread():
    """The next queries say so and start no thread beside it; when it comes back, it is called again."""
    release, ended, calls = threading.Event(), threading.Event(), []

    def hang():
        calls.append(1)
        if len(calls) == 1:
            release.wait(30)
            ended.set()
        return ["a:80"]

    async def main():
        client = RunClient()
        try:
            with pytest.raises(DiscoveryError, match=r"no answer in 0\.02 s"):
                await client.ask(Run(hang, 0.02))
            for _ in range(3):
                with pytest.raises(DiscoveryError, match="the last call still hangs"):
                    await client.ask(Run(hang, 0.02))
        finally:
            release.set()
        while True:
            try:
                return await client.ask(Run(hang, 5.0))
            except DiscoveryError:
                await anyio.sleep(0.001)

    assert anyio.run(main) == ["a:80"]
    assert len(calls) == 2


class Pushes:
    """An async generator function that tells what becomes of its generators."""

    def __init__(self, *items):
        self.items = items
        self.begun = self.closed = 0
        self.tasks = set()

    async def __call__(self):
        self.begun += 1
        try:
            for item in self.items:
                self.tasks.add(threading.current_thread())
                yield item
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    "wrap", [lambda pushes: pushes.__call__, lambda pushes: pushes, lambda pushes: lambda: pushes()]
)
def test_a_generator_answers_one_item_at_a_time(wrap):
    """Whether the function is an async generator function or returns an async iterator."""
    pushes = Pushes(["a:80"], ["b:80"])

    async def main():
        client = make_client(CALL)
        function = wrap(pushes)
        assert await client.ask(call(function)) == Pushed(["a:80"])
        assert await client.ask(call(function, anew=False)) == Pushed(["b:80"])
        with pytest.raises(DiscoveryError, match="the function has ended; it is called again"):
            await client.ask(call(function, anew=False))
        assert (pushes.begun, pushes.closed) == (1, 1)
        assert await client.ask(call(function)) == Pushed(["a:80"])
        await client.aclose()
        assert (pushes.begun, pushes.closed) == (2, 2)
        assert pushes.tasks == {threading.current_thread()}

    anyio.run(main)


def test_a_generator_that_raises_is_named_and_begun_again():
    """As any function that raises."""

    async def main():
        client = make_client(CALL)
        assert await client.ask(call(yields_and_raises)) == Pushed(["a:80"])
        with pytest.raises(DiscoveryError, match="^the function raised ValueError$"):
            await client.ask(call(yields_and_raises, anew=False))
        assert await client.ask(call(yields_and_raises)) == Pushed(["a:80"])
        await client.aclose()

    anyio.run(main)


def test_a_generator_that_is_cancelled_from_within_is_begun_again():
    """Whoever follows the source must not take that for the end of its own work."""

    async def yields_and_is_cancelled():
        yield ["a:80"]
        await waits_for_what_is_cancelled()

    async def main():
        client = make_client(CALL)
        await client.ask(call(yields_and_is_cancelled))
        with pytest.raises(DiscoveryError, match="^the function raised CancelledError$"):
            await client.ask(call(yields_and_is_cancelled, anew=False))
        assert await client.ask(call(yields_and_is_cancelled)) == Pushed(["a:80"])
        await client.aclose()

    anyio.run(main)


@pytest.mark.parametrize("function", [anyio.sleep_forever, threading.Event().wait])
def test_our_own_cancellation_ends_the_query(function):
    """When the cluster is closed, nothing waits for the function."""

    async def main():
        with anyio.move_on_after(0.01) as scope:
            await RunClient().ask(Run(function if function is anyio.sleep_forever else lambda: function(0.1)))
        assert scope.cancelled_caught

    anyio.run(main)


def test_an_old_generator_is_closed_before_a_new_one_begins():
    """Never two at a time."""
    pushes = Pushes(["a:80"], ["b:80"])

    async def main():
        client = make_client(CALL)
        for number in range(3):
            assert await client.ask(call(pushes.__call__)) == Pushed(["a:80"])
            assert (pushes.begun, pushes.closed) == (number + 1, number)
        await client.aclose()

    anyio.run(main)


def test_an_item_may_take_longer_than_the_timeout_and_waiting_can_be_cancelled():
    """A source that pushes says nothing while nothing changes; the cluster may be closed meanwhile."""
    closed = []

    async def slow():
        try:
            await anyio.sleep(0.02)
            yield ["a:80"]
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async def main():
        client = make_client(CALL)
        assert await client.ask(call(slow, timeout=0.001)) == Pushed(["a:80"])
        with anyio.move_on_after(0.01) as scope:
            await client.ask(call(slow, anew=False))
        assert scope.cancelled_caught
        await client.aclose()
        assert closed == [True]

    anyio.run(main)


def test_a_generator_that_will_not_end_does_not_hold_up_the_closing(monkeypatch):
    """Closing waits for a bounded time, and swallows what the generator raises while it is closed."""
    monkeypatch.setattr("lbkit.runtime.callback_client.CLOSE_S", 0.01)

    async def stubborn():
        try:
            yield ["a:80"]
        finally:
            await anyio.sleep_forever()

    async def angry():
        try:
            yield ["a:80"]
        finally:
            raise ValueError("never mind")

    async def main():
        for function in (stubborn, angry):
            client = make_client(CALL)
            await client.ask(call(function))
            await client.aclose()

    anyio.run(main)


def test_nobody_forks_while_a_client_is_imported(monkeypatch):
    """Whoever asks for it, a source or a registration: a child could never end an import that was cut in half."""
    held = []
    monkeypatch.setattr("lbkit.runtime.file_client.FileClient", lambda: held.append(ENGINE.hold_off_forks().locked()))
    make_client(ReadFile("a.json", "json", None))
    assert held == [True]
    assert not ENGINE.hold_off_forks().locked()


def test_a_query_that_nobody_knows_is_refused_in_words():
    """The mistake of a watch of a user's own."""
    with pytest.raises(DiscoveryError, match=r"asked for str, which nobody carries out: return Run\(function\)"):
        make_client("read it")
