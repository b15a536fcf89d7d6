"""Follows one target as an application would: with a cluster, its events and its statistics."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from lbkit._resolve.change import Change, change
from lbkit.balancer.events import Event, SourceChanged
from lbkit.balancer.stats import SourceStats
from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Combination, Discovery
from lbkit.discovery.static import Static
from lbkit.runtime.cluster import Cluster

LOOK_S = 0.05
"""How often the membership is compared. A change of weights alone is no event, so it has to be looked for."""


@dataclass(frozen=True, slots=True)
class View:
    """A target at one moment.

    Attributes:
        target: Its name, which holds no credentials.
        sources: Where its endpoints come from; empty where all of them are written down.
        endpoints: The membership, None while it is not known.
    """

    target: str
    sources: tuple[SourceStats, ...]
    endpoints: tuple[Endpoint, ...] | None

    @property
    def reason(self) -> str:
        """Why there are no endpoints; empty where there are some."""
        if self.endpoints:
            return ""
        said = [f"{one.source}: {_words(one)}" for one in self.sources if one.problem or one.state != "live"]
        start = "no membership is known" if self.endpoints is None else "the membership is empty"
        return ": ".join((start, "; ".join(said))) if said else start


def _words(source: SourceStats) -> str:
    return source.problem or ("no answer yet" if source.state == "starting" else source.state)


class Observer:
    """Follows a target while it is open, as a context manager."""

    def __init__(self, discovery: Discovery) -> None:
        self._name = str(discovery)
        self._waits_for = set(_asked(discovery))
        self._cluster = Cluster("resolve", discovery)
        self._events: queue.SimpleQueue[SourceChanged] = queue.SimpleQueue()
        self._cluster.subscribe(self._hear)
        self._shown: tuple[Endpoint, ...] = ()

    def __enter__(self) -> Self:
        self._cluster.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._cluster.close()

    def _hear(self, event: Event) -> None:
        if isinstance(event, SourceChanged):
            self._events.put(event)

    def settle(self, timeout: float) -> View:
        """Wait until every source has answered or failed, for at most `timeout` seconds, and say what is there."""
        end = time.monotonic() + timeout
        # By events and not by statistics, for an event comes after the membership that belongs to it.
        while self._waits_for and (left_s := end - time.monotonic()) > 0:
            try:
                self._waits_for.discard(self._events.get(timeout=left_s).source)
            except queue.Empty:
                break
        view = self.view()
        self._shown = view.endpoints or ()
        return view

    def news(self, seconds: float) -> Iterator[SourceChanged | Change]:
        """Yield what changes, for so many seconds or, with `inf`, for ever."""
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=min(left_s, LOOK_S))
            except queue.Empty:
                event = None
            endpoints = self._endpoints() or ()
            if found := change(self._shown, endpoints):
                yield found
            self._shown = endpoints
            if event is not None:
                yield event

    def view(self) -> View:
        """Return what is there now."""
        return View(self._name, self._cluster.stats().sources, self._endpoints())

    def _endpoints(self) -> tuple[Endpoint, ...] | None:
        snapshot = self._cluster.balancer.snapshot
        return None if snapshot is None else snapshot.endpoints


def _asked(discovery: Discovery) -> Iterator[str]:
    if isinstance(discovery, Combination):
        for one in discovery.sources:
            yield from _asked(one)
    elif not isinstance(discovery, Static):
        yield str(discovery)
