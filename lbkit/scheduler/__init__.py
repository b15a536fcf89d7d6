"""Ways of choosing: one file per idea. Configs are frozen and may be shared; each balancer builds its own picker."""

from __future__ import annotations

from lbkit.errors import ConfigError
from lbkit.scheduler.base import Node, Picker, Scheduler
from lbkit.scheduler.expected_delay import ShortestExpectedDelay
from lbkit.scheduler.first import First
from lbkit.scheduler.least_connections import LeastConnections
from lbkit.scheduler.least_request import LeastRequest
from lbkit.scheduler.peak_ewma import PeakEwma
from lbkit.scheduler.random_choice import Random
from lbkit.scheduler.round_robin import RoundRobin

__all__ = [
    "First",
    "LeastConnections",
    "LeastRequest",
    "Node",
    "PeakEwma",
    "Picker",
    "Random",
    "RoundRobin",
    "Scheduler",
    "ShortestExpectedDelay",
    "by_name",
]

_NAMED: dict[str, type[Scheduler]] = {
    "first": First,
    "least_connections": LeastConnections,
    "least_request": LeastRequest,
    "peak_ewma": PeakEwma,
    "random": Random,
    "round_robin": RoundRobin,
    "shortest_expected_delay": ShortestExpectedDelay,
}


def by_name(scheduler: str | Scheduler) -> Scheduler:
    """Return the scheduler of that name with its defaults, or the given one as it is.

    Raises:
        ConfigError: There is no such name, or the object has no `build`.
    """
    if isinstance(scheduler, str):
        if scheduler not in _NAMED:
            raise ConfigError(f"no scheduler is called {scheduler!r}; there are {', '.join(sorted(_NAMED))}")
        return _NAMED[scheduler]()
    if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
        raise ConfigError(f"a scheduler is a name or a config with a build method, not {scheduler!r}")
    return scheduler
