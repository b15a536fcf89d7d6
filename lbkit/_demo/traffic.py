"""The two clients that are compared, the steady traffic through both, and the arithmetic of their scores.

One is an application with lbkit's transport. The other is the same application behind DNS round robin: bare httpx,
which takes the next address for each request, has the same patience, and knows neither health nor retries. Requests go
out at their time whether earlier ones have been answered or not (an open loop), turn and turn about, so that both
clients get the same load at the same moments.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from lbkit.httpx import AsyncBalancedTransport
from lbkit.runtime.cluster import Cluster

LARGEST_BURST_S = 0.25
"""What was missed for longer than this, because the machine stood still, is left out instead of sent all at once."""


@dataclass(slots=True)
class Tally:
    """What one client's application saw.

    Attributes:
        waits_s: Seconds that the application waited for each request, failed ones included.
        failures: How many requests failed, by what the application got.
        notes: The first failures in full.
    """

    name: str
    waits_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Requests that have ended."""
        return len(self.waits_s)

    @property
    def failed(self) -> int:
        """Requests that the application saw fail."""
        return self.failures.total()

    def fail(self, cause: str, note: str) -> None:
        """Count a failure."""
        self.failures[cause] += 1
        if len(self.notes) < 3:
            self.notes.append(note)


def percentile(values: Sequence[float], ratio: float) -> float | None:
    """Return the least value that at least that part of all values does not exceed (nearest rank); None without any."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(ratio * len(values)) - 1)]


class App:
    """An application that sends GET requests, and keeps a tally of what became of them.

    Args:
        client: Its client. The app closes it.
        targets: URLs, used in turn.
    """

    def __init__(self, name: str, client: httpx.AsyncClient, targets: Sequence[str]) -> None:
        self.tally = Tally(name)
        self.client = client
        self._targets = itertools.cycle(targets)

    async def ask(self) -> None:
        """Send one request and count what comes of it."""
        begun = time.monotonic()
        try:
            response = await self.client.get(next(self._targets))
        except Exception as error:  # noqa: BLE001 - whatever it is, the application got it
            more = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            self.tally.fail(type(error).__name__, f"{type(error).__name__}: {error}{more}")
        else:
            if response.is_error:
                self.tally.fail(str(response.status_code), f"status {response.status_code}")
        self.tally.waits_s.append(time.monotonic() - begun)


def lbkit_app(cluster: Cluster, timeout_s: float) -> App:
    """Make the application with lbkit."""
    client = httpx.AsyncClient(transport=AsyncBalancedTransport(cluster), timeout=timeout_s, trust_env=False)
    return App("lbkit", client, [f"http://{cluster.name}/"])


def dns_round_robin_app(addresses: Sequence[str], timeout_s: float) -> App:
    """Make the application behind DNS round robin: each request goes to the next address."""
    client = httpx.AsyncClient(timeout=timeout_s, trust_env=False)
    return App("DNS round robin", client, [f"http://{address}/" for address in addresses])


async def drive(apps: Sequence[App], rate: float, *, going: Callable[[], bool]) -> None:
    """Send `rate` requests per second through each app while `going()`, then wait for the answers.

    Cancelled, it cancels what is out; those requests are in no tally.
    """
    interval_s = 1 / rate / len(apps)
    async with asyncio.TaskGroup() as out:
        due = time.monotonic()
        for app in itertools.cycle(apps):
            due = max(due + interval_s, time.monotonic() - LARGEST_BURST_S)
            await asyncio.sleep(due - time.monotonic())
            if not going():
                return
            out.create_task(app.ask())
