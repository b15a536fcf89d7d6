"""Guards to try things with: their time stands still, and what they guard fails when it is told to."""

from contextlib import suppress
from random import Random

from lbkit import CircuitBreaker
from lbkit.testing import ManualClock


def guard(clock=None, *, name="payments", **options):
    """Return a guard whose circuit opens after two failures for exactly a second, and its clock."""
    clock = clock or ManualClock()
    fields = CircuitBreaker.__dataclass_fields__
    config = {"failures": 2, "jitter_ratio": 0, **{key: value for key, value in options.items() if key in fields}}
    rest = {key: value for key, value in options.items() if key not in fields}
    return CircuitBreaker(**config).guard(name, clock=clock, rng=Random(1), **rest), clock


def boom(error=ValueError):
    raise error("boom") if isinstance(error, type) else error


def swallow(made, error=ValueError, count=1):
    """Have calls fail, and say nothing of it."""
    for _ in range(count):
        with suppress(error if isinstance(error, type) else type(error)):
            made.call(boom, error)


def counts(made):
    """Return how many calls were good, bad, nothing and refused."""
    stats = made.stats()
    return stats.ok, stats.failed, stats.ignored, stats.refused
