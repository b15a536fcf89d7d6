"""The connection pool of one endpoint: O(1) checkout of single httpcore connections.

httpcore's own pool scans every connection and every waiter for each request; with 64 concurrent requests that scan is
most of the work. Here idle connections are a stack (last in, first out, so that what is not needed grows old and is
closed), waiters are a queue in order, and a slot is a number.

The pool decides and does no input or output. Closing is immediate and does not wait (see `Channel.close`), so giving a
connection back can neither be cancelled half-way nor lose a slot: whatever happened to the request, `checkin` in a
`finally` settles it. A response that is dropped unread hands its channel to `dropped`, without the lock.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from lbkit._http.line import Line
from lbkit.core.backoff import jittered

MAX_STREAMS = 100
"""Concurrent requests on one HTTP/2 connection: httpcore's own setting."""
AGE_JITTER = 0.1
"""Spread of the maximum age, so that connections made together do not end together."""


class Dialer(Protocol):
    """What makes the connection, and can close it."""

    def close(self) -> None:
        """Close without waiting."""

    def disown(self) -> None:
        """Close this process's copy of the socket alone: the connection is the parent's."""

    def is_dead(self) -> bool:
        """Whether the peer is known to have closed the connection."""

    async def dial(self, context: Any, server_hostname: str, timeout: float | None, more: dict[str, Any]) -> Any:
        """Connect and return the stream."""


class Channel:
    """One connection and its present use.

    Attributes:
        connection: What carries requests, `H1Connection` or one of httpcore's; None until it is dialled.
        dialer: Makes it and closes it.
        line: Bounds the waits of an exclusive connection.
        active: Requests on it now.
        http2: Whether it speaks HTTP/2.
        shared: Whether several requests may use it at once (HTTP/2, async).
        retire_at: When it takes no more requests.
        retired: Whether it takes no more requests and closes after the last.
        stale_at: When it has been idle for too long.
    """

    __slots__ = ("active", "connection", "dialer", "http2", "line", "retire_at", "retired", "shared", "stale_at")

    def __init__(self, dialer: Dialer, line: Line, retire_at: float) -> None:
        self.connection: Any = None
        self.dialer = dialer
        self.line = line
        self.active = 1
        self.http2 = False
        self.shared = False
        self.retire_at = retire_at
        self.retired = False
        self.stale_at = float("inf")

    def close(self) -> None:
        """Close the socket at once. httpcore's own close would wait; nothing is lost, for nobody uses it any more."""
        self.dialer.close()

    def usable(self, now: float) -> bool:
        """Whether an idle connection may carry another request."""
        if now >= self.retire_at or self.retired or self.connection.has_expired():
            return False
        return not (self.http2 and self.dialer.is_dead())  # httpcore's HTTP/2 connection does not look


class Waiter(Protocol):
    """Someone in the queue: `turn` says what it may do, once it is granted something."""

    turn: Turn | None
    channel: Channel | None

    def wake(self) -> None:
        """Let it go on."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of one endpoint's pool.

    Attributes:
        connections: Most connections at a time, or None for no limit.
        idle: Most idle connections kept.
        idle_s: Seconds after which an idle connection is closed, `inf` for never.
        max_age_s: Age in seconds after which a connection takes no more requests, or None.
        waiting: Most requests that wait for a connection.
    """

    connections: int | None
    idle: int
    idle_s: float
    max_age_s: float | None
    waiting: int


class Turn(enum.Enum):
    """What a request that found no connection is to do."""

    SLOT = "open a connection"
    WAIT = "wait to be granted"
    LOOK_AGAIN = "look for an idle connection again"


class PoolFull(Exception):  # noqa: N818 - says the state
    """The queue for a connection is full."""


class Pool:
    """Connections of one endpoint for one origin (and, async, of one event loop).

    Attributes:
        closed: Whether connections are closed instead of kept: the endpoint is gone, or the transport closed.
        dropped: Channels of responses that were dropped unread; appended without the lock.
    """

    __slots__ = (
        "_busy", "_dialling", "_idle", "_limits", "_lock", "_open", "_rng", "_shared", "_sharing", "_waiters", "closed",
        "dropped",
    )  # fmt: skip

    def __init__(self, limits: PoolLimits, rng: Random, *, sharing: bool) -> None:
        self._limits = limits
        self._rng = rng
        self._sharing = sharing  # whether a connection may turn out to be shared: then only one is dialled at a time
        self._dialling = False
        self._lock = threading.Lock()
        self._busy: set[Channel] = set()  # keeps a connection whole while a response that was dropped is collected
        self._idle: deque[Channel] = deque()
        self._shared: list[Channel] = []
        self._open = 0
        self._waiters: deque[Waiter] = deque()
        self.closed = False
        self.dropped: deque[Channel] = deque()

    def checkout(self, now: float) -> Channel | None:
        """Return a connection with one more request on it, or None where the caller is to reserve a slot."""
        if self.dropped:
            self.settle_dropped(now)
        if self._shared:
            with self._lock:
                for channel in self._shared:
                    if channel.active < MAX_STREAMS and channel.connection.is_available():
                        if channel.usable(now):
                            channel.active += 1
                            return channel
                        channel.retired = True
                self._retire_shared()
        while self._idle:
            with self._lock:
                if not self._idle:  # another thread took the last
                    break
                channel = self._idle.pop()
            if channel.usable(now):  # asks the socket: done by the one who holds the channel, outside the lock
                channel.active = 1
                self._busy.add(channel)
                return channel
            self._forget(channel)
        return None

    def settle_dropped(self, now: float) -> None:
        """Take back what responses held that were dropped unread."""
        while self.dropped:
            try:
                channel = self.dropped.popleft()
            except IndexError:  # another thread took the last
                return
            channel.retired = True
            self.checkin(channel, now)

    def _retire_shared(self) -> None:
        for channel in [channel for channel in self._shared if channel.retired and not channel.active]:
            self._shared.remove(channel)
            channel.close()
            self._open -= 1

    def reserve(self, waiter: Waiter) -> Turn:
        """Take a slot for a new connection, or a place in the queue for the next that is free.

        Raises:
            PoolFull: So many wait that another would not be served.
        """
        limits = self._limits
        with self._lock:
            room = limits.connections is None or self._open < limits.connections
            if room and not (self._sharing and self._dialling):
                self._open += 1
                self._dialling = True
                return Turn.SLOT
            if self._idle:  # given back since the caller looked
                return Turn.LOOK_AGAIN
            if len(self._waiters) >= limits.waiting:
                raise PoolFull
            self._waiters.append(waiter)
            return Turn.WAIT

    def leave(self, waiter: Waiter, now: float) -> None:
        """Take a waiter out of the queue, with what it may have been given meanwhile."""
        with self._lock:
            if waiter.turn is None:
                self._waiters.remove(waiter)
                return
            channel = waiter.channel
            if channel is None and waiter.turn is Turn.SLOT:
                self._dialling = False
        if channel is not None:
            self.checkin(channel, now)
        elif waiter.turn is Turn.SLOT:
            self._free_slot()

    def dialled(self, channel: Channel) -> None:
        """A connection was made in the reserved slot; whether it is shared is known now."""
        with self._lock:
            self._dialling = False
            self._sharing = channel.shared
            if channel.shared:
                self._shared.append(channel)
                while self._waiters and channel.active < MAX_STREAMS:
                    channel.active += 1
                    self._grant(Turn.SLOT, channel)
                return
            self._busy.add(channel)
            most = self._limits.connections
            while self._waiters and (most is None or self._open < most):  # those who waited for this dial
                self._open += 1
                self._grant(Turn.SLOT, None)

    def retire_at(self, now: float) -> float:
        """Return when a connection made now takes no more requests."""
        age_s = self._limits.max_age_s
        return float("inf") if age_s is None else now + jittered(age_s, AGE_JITTER, self._rng)

    def checkin(self, channel: Channel, now: float) -> None:
        """End one request on a connection, and keep, hand on or close it."""
        connection = channel.connection
        with self._lock:
            channel.active -= 1
            if channel.active > 0:
                if self._waiters and not channel.retired and connection.is_available():
                    channel.active += 1
                    self._grant(Turn.SLOT, channel)
                return
            keep = (
                connection is not None
                and not (channel.retired or self.closed)
                and now < channel.retire_at
                and connection.is_idle()
            )
            if keep and self._waiters:
                channel.active = 1
                self._grant(Turn.SLOT, channel)
                return
            self._busy.discard(channel)
            if channel.shared:
                if keep:
                    return
                if channel in self._shared:
                    self._shared.remove(channel)
            elif keep:
                channel.stale_at = now + self._limits.idle_s
                self._idle.append(channel)
                surplus = self._surplus(now)
            elif connection is None:
                self._dialling = False
            if not keep:
                surplus = [channel]
        for unused in surplus:
            self._forget(unused)

    def _surplus(self, now: float) -> list[Channel]:
        surplus = []
        while self._idle and (len(self._idle) > self._limits.idle or self._idle[0].stale_at <= now):
            surplus.append(self._idle.popleft())
        return surplus

    def _forget(self, channel: Channel) -> None:
        channel.close()
        self._free_slot()

    def _free_slot(self) -> None:
        with self._lock:
            if self._waiters and not (self._sharing and self._dialling):
                self._dialling = True
                self._grant(Turn.SLOT, None)
            else:
                self._open -= 1

    def _grant(self, turn: Turn, channel: Channel | None) -> None:
        waiter = self._waiters.popleft()
        waiter.turn = turn
        waiter.channel = channel
        waiter.wake()

    def close(self) -> None:
        """Close what is idle now and the rest as it comes back. Waiters go on, and open connections of their own."""
        with self._lock:
            self.closed = True
            idle = [*self._idle, *(channel for channel in self._shared if not channel.active)]
            self._shared = [channel for channel in self._shared if channel.active]
            self._idle.clear()
        for channel in idle:
            self._forget(channel)

    def abandon(self) -> None:
        """Forget everything without a lock: in the child of a fork the connections are the parent's."""
        self._lock = threading.Lock()
        self.closed = True
        for channel in (*self._idle, *self._shared, *self._busy):
            channel.dialer.disown()
        self._idle.clear()
        self._shared.clear()
        self._busy.clear()

    def __repr__(self) -> str:
        return f"<Pool open={self._open} idle={len(self._idle)} waiting={len(self._waiters)}>"
