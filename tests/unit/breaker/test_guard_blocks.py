"""Guarded blocks where a block is more than one line after another: in generators, and in other contexts."""

import asyncio
import contextvars
import gc

import pytest

from lbkit import CircuitOpen, ConfigError
from tests.unit.breaker.guards import counts, guard, swallow


def test_a_block_in_a_generator_ends_with_the_generator():
    """A reader that stops early proves nothing; one that reads to the end is a success."""
    made, _ = guard()

    def lines():
        with made:
            yield from "abc"

    assert next(lines()) == "a"
    gc.collect()
    assert list(lines()) == ["a", "b", "c"]
    assert counts(made) == (1, 0, 1, 0)


def test_blocks_of_interleaved_generators_all_end():
    """In whatever order they do."""
    made, _ = guard()
    other, _ = guard(name="other")

    def reader(which):
        with which:
            yield

    readers = [reader(made), reader(other), reader(made), reader(other)]
    for one in readers:
        next(one)
    for one in readers:
        one.close()
    assert counts(made) == counts(other) == (0, 0, 2, 0)
    with made:
        pass
    assert counts(made) == (1, 0, 2, 0)


def test_a_block_of_its_own_ends_in_whatever_context_its_generator_is_ended():
    """As asyncio ends an abandoned async generator: a trial that ends so is given out again at once."""
    made, clock = guard()
    swallow(made, count=2)
    clock.advance(1.0)

    async def lines():
        async with made.block():
            yield 1

    async def main():
        left = lines()
        await anext(left)
        with pytest.raises(CircuitOpen):
            contextvars.Context().run(made.call, len, "")
        await asyncio.create_task(left.aclose(), context=contextvars.Context())

    asyncio.run(main())
    assert made.call(len, "") == 0
    assert counts(made) == (1, 2, 1, 1)


def test_a_block_runs_once():
    """It knows one beginning."""
    made, _ = guard()
    block = made.block()
    with block:
        pass
    with pytest.raises(ConfigError, match="a block runs once"), block:
        pass
    assert counts(made) == (1, 0, 0, 0)


def test_a_block_may_say_itself_how_it_went():
    """For what is no exception."""
    made, _ = guard(failures=9)
    for say in ("fail", "ignore"):
        with made as block:
            getattr(block, say)()
    assert counts(made) == (0, 1, 1, 0)
