"""The balancer: which endpoint, and what became of it. One plain lock, no input or output, never a wait.

Under the lock there is no callback, no logging and no await: what listeners are to hear is collected and told after
unlock. Time is read once per event and passed down.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from lbkit.balancer.audience import Audience
from lbkit.balancer.comparison import Comparison
from lbkit.balancer.empty import FailOpen, OnEmpty
from lbkit.balancer.events import Event, LeasesDropped, Listener
from lbkit.balancer.lease import HELD, RELEASED, REPORTED, Lease
from lbkit.balancer.log import log_changes
from lbkit.balancer.node import LATENCY_WEIGHT, Node
from lbkit.balancer.roster import Roster
from lbkit.balancer.stats import ClusterStats, Counts, describe
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Snapshot
from lbkit.core.outcome import CANCELLED, FAILURES, Outcome, Result
from lbkit.core.pick import FIRST_TRY, PickInfo
from lbkit.errors import NoEndpointAvailable, NotReady
from lbkit.health import OutlierDetection
from lbkit.retry import Budget, RetryBudget, RetryPolicy
from lbkit.scheduler import Scheduler, ShortestExpectedDelay
from lbkit.scheduler.base import Indexes, Learns, untried


class Balancer:
    """Chooses among the endpoints of one cluster and learns from what becomes of its choices. Thread-safe."""

    def __init__(
        self,
        name: str,
        *,
        scheduler: Scheduler | None = None,
        breaker: CircuitBreaker | None = None,
        budget: RetryBudget | None = None,
        on_empty: OnEmpty | None = None,
        outliers: OutlierDetection | None = None,
        start_timeout: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self.name = name
        self.start_timeout = start_timeout
        """Seconds that a call waits for the first membership."""
        self.waits_for = ""
        """What the sources say, in words, while there are no endpoints."""
        self.on_unreachable: Callable[[], None] | None = None
        """Called, outside the lock, when an endpoint could not be reached: the membership may be out of date."""
        self.clock = clock
        self.on_empty: OnEmpty = on_empty or FailOpen()
        self.rng = rng or Random()
        self.abandoned: deque[tuple[Node, int, bool, float]] = deque()
        """Leases that were dropped: appended by finalizers without the lock, settled by the next acquire."""
        self._own_rng = rng is None
        self._forked_at = -math.inf
        self._applying = threading.Lock()  # one change of membership at a time; taken before the other lock
        self._lock = threading.Lock()
        picker = (scheduler or ShortestExpectedDelay()).build(self.rng)
        self._picker = picker
        self._observe = picker.observe if isinstance(picker, Learns) else None
        self._released = picker.released if isinstance(picker, Indexes) else None
        self._comparison = Comparison(outliers, self.rng) if outliers is not None else None
        self._roster = Roster(name, picker, breaker or CircuitBreaker(), self.rng, self._comparison)
        self._news = self._roster.news
        self._budget = Budget(budget or RetryBudget())
        self._counts = Counts()
        self._audience: Audience[Event] = Audience(name, self._news, warn_of_dropped, log_changes)
        self._tell = self._audience.tell

    @property
    def version(self) -> int:
        """Grows with every change of the set of endpoints; read without the lock."""
        return self._roster.version

    @property
    def is_ready(self) -> bool:
        """Whether a membership is known; read without the lock."""
        return self._roster.snapshot is not None

    @property
    def snapshot(self) -> Snapshot | None:
        """The present membership as it was taken, None while none is known; read without the lock."""
        return self._roster.snapshot

    def endpoints(self) -> frozenset[str]:
        """Return the ids of the present membership; read without the lock."""
        return frozenset(self._roster.nodes)  # a membership is replaced as a whole, never changed in place

    # -- the request path

    def acquire(self, info: PickInfo = FIRST_TRY, *, first: bool = True) -> Lease:
        """Choose an endpoint. `first` says that a call begins, which the retry budget counts.

        Raises:
            NoEndpointAvailable: None may be used now.
            NotReady: No membership is known yet.
        """
        now = self.clock()
        roster = self._roster
        with self._lock:
            if self.abandoned:
                self._settle_abandoned(now)
            if now >= roster.next_due:
                roster.advance(now)
            if first:
                self._counts.calls += 1
                self._budget.deposit(now)
            ready = roster.ready
            trial = roster.take_trial(info, now) if roster.probing and (info.may_probe or not ready) else None
            node: Node | None
            if trial is not None:
                node = trial[0]
            elif ready:
                node = self._choose(info, now)
            else:
                node = self._choose_kept_out(info)
            if node is not None:
                node.in_flight += 1
                node.picks += 1
                self._counts.attempts += 1
                ticket = node.health.circuit.generation if trial is None else trial[1]
                lease = Lease(self, node, now, ticket, trial is not None)
            else:
                error = self._nothing(now)
        if self._news:
            self._tell()
        if node is None:
            raise error
        return lease

    def settle(self, lease: Lease, outcome: Outcome | None, *, end: bool) -> None:
        """Take a lease's outcome, its end, or both. The lease's own methods call this."""
        now = self.clock()
        with self._lock:
            if lease.state == RELEASED:  # another thread was faster
                return
            node = lease.node
            if outcome is not None:
                latency_s = (lease.head_at or now) - lease.started
                if lease.state == REPORTED:  # news from the body: never a second success
                    if outcome.result is not Result.OK:
                        self._record(node, lease.ticket, outcome, latency_s, now, probe=False)
                elif outcome.result is Result.OK and not lease.probe and not node.health.circuit.hears_ok:
                    self._good(node, outcome, latency_s, now)
                else:
                    self._record(node, lease.ticket, outcome, latency_s, now, probe=lease.probe)
                if self._comparison is not None and (lease.state == HELD or outcome.result is not Result.OK):
                    self._comparison.record(node, lease.ticket, outcome, lease.started, latency_s, now)
                    if self._comparison.detector.changed:
                        self._roster.stand_compared(now)
                lease.state = REPORTED
            if end:
                lease.state = RELEASED
                self._free(node)
        if self._news:
            self._tell()
        if outcome is not None and outcome.result is Result.UNREACHABLE and self.on_unreachable is not None:
            self.on_unreachable()

    def grant_retry(self, *, free: bool = False) -> bool:
        """Take one retry from the cluster's budget; False where it is used up. A free one is only counted."""
        with self._lock:
            granted = free or self._budget.withdraw(self.clock())
            self._counts.retries += granted
            self._counts.retries_refused += not granted
            return granted

    def has_untried(self, tried: Sequence[str]) -> bool:
        """Whether `acquire` would find an endpoint for a call that has used those in `tried`, but not one of them."""
        with self._lock:
            roster = self._roster
            usable = [*roster.ready, *roster.probing]
            if not roster.ready and isinstance(self.on_empty, FailOpen):
                usable = [node for node in roster.nodes.values() if node.standing.last_resort]
            return any(node.endpoint.id not in tried for node in usable) or roster.standby(tried) is not None

    def _choose(self, info: PickInfo, now: float) -> Node:
        node: Node = self._picker.pick(info, now)  # type: ignore[assignment]
        if info.tried and node.endpoint.id in info.tried:
            # Draw, then scan: a picker that only draws again would still fail a few per cent when many nodes are bad.
            left: Sequence[Node] = untried(self._roster.ready, info)  # type: ignore[assignment]
            if left is self._roster.ready:  # all were tried: a retry does not wait for the tier to be given up
                return self._roster.standby(info.tried) or node
            node = min(left, key=lambda node: (node.in_flight + 1) / node.weight)
        return node

    def _choose_kept_out(self, info: PickInfo) -> Node | None:
        if not isinstance(self.on_empty, FailOpen):
            return None
        node = self._roster.last_resort(info)
        self._counts.failed_open += node is not None
        return node

    def _nothing(self, now: float) -> NoEndpointAvailable:
        roster = self._roster
        if roster.snapshot is None:
            return NotReady(self.name, {}, None, self.waits_for)
        self._counts.refused += 1
        wait_s = max(0.0, roster.first_return() - now)
        return NoEndpointAvailable(
            self.name, roster.reasons(), wait_s if wait_s < math.inf else None, "" if roster.nodes else self.waits_for
        )

    # -- outcomes, under the lock

    def _good(self, node: Node, outcome: Outcome, latency_s: float, now: float) -> None:
        node.latency_s += (latency_s - node.latency_s) * (LATENCY_WEIGHT if node.latency_s else 1.0)
        if node.listed and self._observe is not None:
            self._observe(node, outcome, latency_s, now)

    def _record(self, node: Node, ticket: int, outcome: Outcome, latency_s: float, now: float, *, probe: bool) -> None:
        result = outcome.result
        if result is Result.OK:
            self._good(node, outcome, latency_s, now)
        elif result is not Result.CANCELLED:
            if node.listed and self._observe is not None:
                self._observe(node, outcome, latency_s, now)
            if result in FAILURES:
                node.failures += 1
                self._counts.failures += 1
        health = node.health
        changed = health.circuit.record(result, ticket, now=now, took_s=latency_s)
        if outcome.retry_after_s and result is Result.OVERLOADED:
            changed |= health.pause.extend(now + min(outcome.retry_after_s, RetryPolicy.CAP_S))
        if changed:
            self._roster.stand((node,), outcome.cause, now)
        elif probe:
            self._roster.return_trial(node)

    def _free(self, node: Node) -> None:
        node.in_flight -= 1
        if node.listed and self._released is not None:
            self._released(node)

    def _settle_abandoned(self, now: float) -> None:
        dropped = 0
        while self.abandoned:
            node, ticket, probe, started = self.abandoned.popleft()
            if started <= self._forked_at and self._roster.nodes.get(node.endpoint.id) is not node:
                continue  # the copy of a lease that the parent process holds
            self._record(node, ticket, CANCELLED, 0.0, now, probe=probe)
            self._free(node)
            dropped += 1
        if dropped:
            self._counts.abandoned += dropped
            self._news.append(LeasesDropped(self.name, dropped))

    # -- membership, control, observation

    def apply(self, snapshot: Snapshot, *, tell: bool = True) -> None:
        """Take a new membership. Known addresses keep what was learned; what is gone gets nothing new.

        `tell=False` leaves the telling to the caller, who holds a lock of its own: call `tell` after it.
        """
        with self._applying:
            plan = self._roster.plan(snapshot, self.clock())
            now = self.clock()
            with self._lock:
                self._roster.apply(plan, now)
        if tell:
            self._tell()

    def drain(self, identity: str, *, draining: bool = True) -> None:
        """Take an endpoint out of use, or put it back with `draining=False`. What is in flight is not touched.

        Raises:
            ConfigError: There is no endpoint of that id.
        """
        now = self.clock()
        with self._lock:
            self._roster.drain(identity, draining=draining, now=now)
        self._tell()

    def stats(self) -> ClusterStats:
        """Return what the balancer knows, as values that no longer change."""
        now = self.clock()
        with self._lock:
            if self.abandoned:
                self._settle_abandoned(now)
            tallies = self._comparison.detector.tallies if self._comparison is not None else {}
            stats = describe(self.name, self._roster.nodes.values(), self._counts, tallies, now)
        self._tell()
        return stats

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event, outside the lock; returns a function that ends it."""
        return self._audience.subscribe(listener)

    def post(self, *events: Event) -> None:
        """Have the listeners told, with the next telling."""
        self._news.extend(events)

    def tell(self, *events: Event) -> None:
        """Tell the listeners what was decided outside the lock, and what has not been told yet."""
        self.post(*events)
        self._tell()

    def before_fork(self) -> None:
        """Hold the locks over a fork, so that the child finds a whole state."""
        self._applying.acquire()
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Let go after a fork; in the child drop what the parent has in flight and draw other random numbers."""
        if child:
            if self._own_rng:
                self.rng.seed()
            now = self._forked_at = self.clock()
            self.abandoned.clear()
            self._roster.succeed(now)
        self._lock.release()
        self._applying.release()


def warn_of_dropped(event: Event) -> None:
    """Warn of dropped leases as Python warns of files that nobody closed."""
    if isinstance(event, LeasesDropped):
        _Dropped(f"{event.cluster}: {event.count} leases were dropped without release: close what they are for")


class _Dropped:
    # Warns from a finalizer, as files and sockets do: where warnings are errors, one dropped lease must not fail the
    # calls of others, for each failure would drop another.
    def __init__(self, text: str) -> None:
        self._text = text

    def __del__(self) -> None:
        warnings.warn(self._text, ResourceWarning, stacklevel=5)
