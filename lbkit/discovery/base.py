"""What a source of endpoints is made of, for the sources here and for one of your own.

A source is a frozen config with one method, `watch`, which builds the machine that knows how to ask. The machine does
no input or output: it says what to ask (`query`), is handed what came back (`answer`) and returns the complete set.
The engine does the asking, all the time, in the background. What goes wrong on the way, the keeper (see `keeper`)
deals with: the last good set stays, and the source is asked again after a growing pause.

    class Zookeeper:                                  # a source of your own
        def watch(self, rng):
            return ZookeeperWatch()

        def __str__(self):                            # its name in statistics, events and messages
            return "zookeeper"

    class ZookeeperWatch:
        def query(self, now):
            return Run(read_from_zookeeper)           # any function, sync or async

        def answer(self, reply, now):
            return Found(tuple(Endpoint.parse(one) for one in reply), ask_again_s=5.0)

        def failed(self, now):
            pass
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, runtime_checkable

from lbkit.core.backoff import growing
from lbkit.core.endpoint import Endpoint
from lbkit.discovery.checks import check_limit, check_pause, is_number
from lbkit.errors import ConfigError

RETRY_FACTOR = 2.0
RETRY_JITTER_RATIO = 0.5
"""Up to this share of itself is added to a pause after a failure, at random."""


@dataclass(frozen=True, slots=True)
class Found:
    """The complete set that a source answered.

    Attributes:
        endpoints: All of them. A source without an order of its own sorts them, so that no change is no event.
        ask_again_s: Seconds until the source is asked again: 0 for a query that waits at the source, `inf` for never.
        problem: What is wrong with a usable answer, such as "2 of 5 instances have no port"; shown and told.
    """

    endpoints: tuple[Endpoint, ...]
    ask_again_s: float
    problem: str = ""

    def __post_init__(self) -> None:
        check_limit("Found: ask_again_s", self.ask_again_s)


@dataclass(frozen=True, slots=True)
class Run:
    """A query that runs a function and answers what it returns. A plain function runs in a worker thread.

    Attributes:
        function: Takes no argument.
        timeout: Seconds that it may take, or None for no limit.
    """

    function: Callable[[], Any]
    timeout: float | None = None


class Watch(Protocol):
    """Asks one source. A machine: no clock, no input or output; used by one thread at a time."""

    def query(self, now: float) -> Any:
        """Return what to ask now: `Run`, or a query of the sources here."""

    def answer(self, reply: Any, now: float) -> Found | None:
        """Read an answer. None says that it takes another query, at once, to know the set.

        Raises:
            DiscoveryError: The answer is of no use; the text says why. Any other exception counts as a failure too.
        """

    def failed(self, now: float) -> None:
        """Hear that the query, or the answer, failed: the next query begins anew."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How a source is kept: what becomes of the set when the source fails, says nothing, or may be out of date.

    Attributes:
        empty_grace: Seconds that the last good set is kept when the source answers that there is no endpoint, from its
            first such answer; `inf` (the default) for as long as it says so: an empty answer is more often a mistake
            at the source than the truth, and without endpoints every request fails. 0 believes it at once.
        retry_first_s, retry_max_s: Pause after a first failure and the longest pause, in seconds, with growth by two
            and up to half of it random. 0.5 s and 10 s by default: a failing source is asked at most twice a second,
            and one that is back is noticed in 10 s.
        hurry_s: After connections to endpoints failed the source is asked at once, but at most once in so many
            seconds; `inf` for sources that tell changes by themselves.

    Raises:
        ConfigError: A value is out of range.
    """

    empty_grace: float = math.inf
    retry_first_s: float = 0.5
    retry_max_s: float = 10.0
    hurry_s: float = math.inf

    def __post_init__(self) -> None:
        check_limit("Upkeep: empty_grace", self.empty_grace)
        check_pause("Upkeep: retry_first_s", self.retry_first_s)
        check_pause("Upkeep: retry_max_s", self.retry_max_s)
        if self.retry_first_s > self.retry_max_s:
            raise ConfigError(f"Upkeep: retry_max_s must be at least retry_first_s, which is {self.retry_first_s:g} s")
        if not (is_number(self.hurry_s) and self.hurry_s > 0):
            raise ConfigError(f"Upkeep: hurry_s must be above 0 seconds, or inf, not {self.hurry_s!r}")

    def retry_s(self, failures: int, rng: Random) -> float:
        """Return the pause, in seconds, after a failure that `failures` others in a row came before."""
        first_s, max_s = self.retry_first_s, self.retry_max_s
        # The longest pause has its random part too: many clients of a source that is back do not come together.
        limit_s = max(first_s, max_s / (1.0 + RETRY_JITTER_RATIO))
        pause_s = growing(first_s, RETRY_FACTOR, limit_s, failures)
        return min(max_s, pause_s * (1.0 + RETRY_JITTER_RATIO * rng.random()))


@runtime_checkable
class Source(Protocol):
    """A config that says where endpoints come from. `upkeep`, an `Upkeep`, may be an attribute of it."""

    def watch(self, rng: Random) -> Watch:
        """Build the machine that asks. `rng` is for jitter."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one of several sources has to say.

    Attributes:
        endpoints: Its set, or None while it has none.
        settled: Whether it has answered or failed at least once.
    """

    endpoints: tuple[Endpoint, ...] | None
    settled: bool


@runtime_checkable
class Combination(Protocol):
    """A config that makes one set of the sets of several sources, each a `Source` or a combination.

    Attributes:
        sources: What is combined.
    """

    sources: tuple[Any, ...]

    def combine(self, parts: tuple[Part, ...]) -> tuple[Endpoint, ...] | None:
        """Return the set that the parts, one for each source, make; None while it is not known yet."""


Discovery = Source | Combination
"""What a cluster accepts, besides target strings and lists of endpoints."""
