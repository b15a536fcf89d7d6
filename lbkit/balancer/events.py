"""What a cluster tells its listeners: frozen values that name endpoints and reasons, nothing that passed through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lbkit.discovery.keeper import SourceState
from lbkit.health import Standing


@dataclass(frozen=True, slots=True)
class EndpointAdded:
    """An endpoint has joined the cluster."""

    cluster: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class EndpointRemoved:
    """An endpoint has left the cluster. What it still answers is delivered."""

    cluster: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class StandingChanged:
    """An endpoint is kept out, or is back.

    Attributes:
        before, after: Where it stood and where it stands.
        cause: What the last attempt ended with, such as "ConnectError", or who asked.
        for_s: Seconds until that may change by itself; `inf` where only an event can change it.
    """

    cluster: str
    endpoint: str
    before: Standing
    after: Standing
    cause: str
    for_s: float


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """An attempt failed and the call goes on, after `delay_s` seconds."""

    cluster: str
    endpoint: str
    cause: str
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class RetryRefused:
    """An attempt failed, another would have been allowed to the call, and the cluster's budget had none left."""

    cluster: str
    endpoint: str
    cause: str


@dataclass(frozen=True, slots=True)
class FailedOpen:
    """No endpoint was ready, so one that is kept out was used. Told once per change of membership or standing."""

    cluster: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class LeasesDropped:
    """Leases were dropped without release: some response or socket was not closed. Their slots are free again."""

    cluster: str
    count: int


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """A source of endpoints has come to another state, or has another problem.

    Attributes:
        source: Its name, such as "dns://orders.internal:8080".
        before, after: Its states; see `lbkit.discovery.SourceState`.
        problem: What is wrong now; empty where all is well.
        endpoints: How many endpoints it gives now.
    """

    cluster: str
    source: str
    before: SourceState
    after: SourceState
    problem: str
    endpoints: int


Event = (
    EndpointAdded
    | EndpointRemoved
    | StandingChanged
    | SourceChanged
    | RetryScheduled
    | RetryRefused
    | FailedOpen
    | LeasesDropped
)
Listener = Callable[[Event], None]
