"""Follows a cluster's sources: the loop that asks, and hands each new membership to the balancer.

Each source has a task of its own in the engine, so that one that hangs delays no other, and never two queries at a
time. What the sources say together is applied when it differs from what was applied last.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.events import SourceChanged
from lbkit.balancer.log import logger
from lbkit.balancer.stats import SourceStats
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.discovery.base import Discovery
from lbkit.discovery.keeper import Keeper, Report, SourceState
from lbkit.discovery.tree import Tree
from lbkit.runtime.clients import Client, make_client
from lbkit.runtime.engine import ENGINE, Job

HURRY_S = 0.05
"""How often failed connections may make the engine look whether a source is to be asked at once, in seconds."""
_MISHAPS = (Exception, SystemExit)
"""What code of the user's may raise; SystemExit would end the engine's thread, and with it all following."""
PATIENCE_S = 2.0
"""How long sources that are combined wait for the first answer of one of them, in seconds: less than first calls do."""
AT_ONCE_S = 0.01
"""A source that never waits keeps neither the others waiting nor a core busy: it is asked so many seconds apart."""


@dataclass(slots=True)
class Leaf:
    """One source and what asks it.

    Attributes:
        told: The report that listeners know.
        wake: Set to end the pause before the next query.
        asking: Whether a query is under way.
        clients: By kind of query.
    """

    keeper: Keeper
    told: Report
    wake: anyio.Event | None = None
    asking: bool = False
    clients: dict[type, Client] = field(default_factory=dict)


class Following:
    """Keeps one balancer's membership as its discovery says."""

    def __init__(self, name: str, discovery: Discovery, balancer: Balancer, rng: Random) -> None:
        self._name = name
        self._discovery = discovery
        self._balancer = balancer
        self._tree = Tree(discovery, rng)
        self._leaves = [Leaf(keeper, keeper.report) for keeper in self._tree.keepers]
        self._applied: tuple[Endpoint, ...] | None = None
        self._version = 0
        self._hurried_at = -math.inf
        self._job: Job | None = None

    def start(self) -> None:
        """Take what is known without asking, and ask for the rest in the background, if there is a rest."""
        for leaf in self._leaves:
            if leaf.keeper.is_static:
                self._settle(leaf.keeper, None)
                leaf.told = leaf.keeper.report  # nobody wants to hear of it
        self._publish()
        if any(leaf.keeper.due < math.inf for leaf in self._leaves):
            self._balancer.on_unreachable = self._hurry
            self._job = ENGINE.start(f"lbkit: discovery of {self._name}", self._follow_all)

    @property
    def job(self) -> Job | None:
        """What goes on in the background, None where nothing has to."""
        return self._job

    def stats(self) -> tuple[SourceStats, ...]:
        """Return what is known of each source; nothing where all of it is written down."""
        if self._job is None:
            return ()
        now = time.monotonic()
        return tuple(_describe(leaf, now) for leaf in self._leaves)

    def _hurry(self) -> None:
        # Called with each failed connection, in any thread: nearly always only this comparison.
        now = time.monotonic()
        if now >= self._hurried_at + HURRY_S and self._job is not None:
            self._hurried_at = now
            self._job.soon(self._hurry_all)

    def _hurry_all(self) -> None:
        now = time.monotonic()
        for leaf in self._leaves:
            if not leaf.asking and leaf.keeper.hurry(now) and leaf.wake is not None:
                leaf.wake.set()

    async def _follow_all(self) -> None:
        async with anyio.create_task_group() as group:
            for leaf in self._leaves:
                group.start_soon(self._follow, leaf)
            await anyio.sleep(PATIENCE_S)
            for leaf in self._leaves:
                leaf.keeper.late(PATIENCE_S)
            self._publish_and_tell()

    async def _follow(self, leaf: Leaf) -> None:
        keeper = leaf.keeper
        try:
            while keeper.due < math.inf:
                delay_s = keeper.due - time.monotonic()
                if delay_s > 0:
                    leaf.wake = anyio.Event()
                    with anyio.move_on_after(delay_s):
                        await leaf.wake.wait()
                    leaf.wake = None
                    continue
                began = time.monotonic()
                await self._ask(leaf)
                self._publish_and_tell()
                if keeper.due <= time.monotonic() < began + AT_ONCE_S:
                    await anyio.sleep(AT_ONCE_S)  # who answers without waiting, and wants to be asked again at once
        finally:
            with anyio.CancelScope(shield=True):
                for client in leaf.clients.values():
                    await _let_go(client)

    async def _ask(self, leaf: Leaf) -> None:
        keeper = leaf.keeper
        leaf.asking = True
        try:
            query = keeper.query(time.monotonic())
            client = leaf.clients.get(type(query))
            if client is None:
                client = leaf.clients[type(query)] = make_client(query)
            reply = await client.ask(query)
        except _MISHAPS as error:  # whatever it was: the last good set stays, and it is asked again
            self._fail(keeper, error)
        else:
            self._settle(keeper, reply)
        finally:
            leaf.asking = False

    def _settle(self, keeper: Keeper, reply: Any) -> None:
        try:
            keeper.answer(reply, time.monotonic())
        except _MISHAPS as error:  # a reply that its watch cannot read is a failure of the source
            self._fail(keeper, error)

    def _fail(self, keeper: Keeper, error: Exception | SystemExit) -> None:
        logger.debug("%s: %s failed", self._name, keeper.report.source, exc_info=error)
        try:
            keeper.failed(error, time.monotonic())
        except _MISHAPS:
            logger.exception("%s: the watch of %s is broken", self._name, keeper.report.source)

    def _publish_and_tell(self) -> None:
        try:
            self._publish()
        except _MISHAPS:  # of a combination or a picker of the user's own
            logger.exception("%s: a new membership could not be taken; the one before stays", self._name)
        self._tell()

    def _publish(self) -> None:
        news = []
        for leaf in self._leaves:
            before, after = leaf.told, leaf.keeper.report
            if (before.state, before.problem) != (after.state, after.problem):
                leaf.told = after
                states = before.state, after.state
                news.append(SourceChanged(self._name, after.source, *states, after.problem, after.endpoints))
        try:
            self._apply()
        finally:  # after the membership that belongs to it
            self._balancer.post(*news)

    def _apply(self) -> None:
        endpoints = self._tree.endpoints()
        if not endpoints:
            waiting = [leaf.told for leaf in self._leaves if leaf.told.state is not SourceState.LIVE]
            self._balancer.waits_for = "; ".join(f"{one.source}: {one.problem or 'no answer yet'}" for one in waiting)
        if endpoints is not None and endpoints != self._applied:
            self._version += 1
            snapshot = Snapshot.of(endpoints, source=str(self._discovery), version=self._version)
            self._balancer.apply(snapshot, tell=False)
            self._applied = endpoints  # not before: what could not be applied is tried again with the next answer

    def _tell(self) -> None:
        try:
            self._balancer.tell()
        except SystemExit:
            logger.exception("%s: a listener failed; the following goes on", self._name)


def _describe(leaf: Leaf, now: float) -> SourceStats:
    report, due = leaf.keeper.report, leaf.keeper.due
    age_s = None if report.answered_at is None else max(0.0, now - report.answered_at)
    next_s = None if due == math.inf else max(0.0, due - now) if due > -math.inf and not leaf.asking else 0.0
    return SourceStats(report.source, report.state.value, report.problem, report.endpoints, age_s, next_s)


async def _let_go(client: Client) -> None:
    with contextlib.suppress(Exception):
        await client.aclose()
