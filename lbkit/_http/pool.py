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
    """What made the connection, and can close it."""

    def close(self) -> None:
        """Close without waiting."""

    def is_dead(self) -> bool:
        """Whether the peer is known to have closed the connection."""

    def speaks_http2(self) -> bool:
        """Whether HTTP/2 was agreed on."""


class Channel:
    """One connection and its present use.

    Attributes:
        connection: httpcore's `HTTPConnection` or `AsyncHTTPConnection`.
        line: Bounds the waits of an exclusive connection.
        active: Requests on it now.
        shared: Whether several requests may use it at once (HTTP/2, async).
        retired: Whether it takes no more requests and closes after the last.
    """

    __slots__ = ("_dialer", "active", "connection", "line", "retire_at", "retired", "shared")

    def __init__(self, connection: Any, dialer: Dialer, line: Line, *, shared: bool, retire_at: float) -> None:
        self.connection = connection
        self.line = line
        self.active = 1
        self.shared = shared
        self.retired = False
        self.retire_at = retire_at
        self._dialer = dialer

    def close(self) -> None:
        """Close the socket at once. httpcore's own close would wait; nothing is lost, for nobody uses it any more."""
        self._dialer.close()

    def is_dead(self) -> bool:
        """Whether the peer is known to have closed it."""
        return self._dialer.is_dead()

    def speaks_http2(self) -> bool:
        """Whether HTTP/2 was agreed on in the handshake."""
        return self._dialer.speaks_http2()


class Waiter(Protocol):
    """Someone in the queue."""

    granted: bool
    channel: Channel | None

    def wake(self) -> None:
        """Let it go on: `granted` is set, with a channel to use or None for a free slot."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of one endpoint's pool.

    Attributes:
        connections: Most connections at a time, or None for no limit.
        idle: Most idle connections kept.
        max_age_s: Age in seconds after which a connection takes no more requests, or None.
        waiting: Most requests that wait for a connection.
    """

    connections: int | None
    idle: int
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

    __slots__ = ("_idle", "_limits", "_lock", "_open", "_rng", "_shared", "_waiters", "closed", "dropped")

    def __init__(self, limits: PoolLimits, rng: Random) -> None:
        self._limits = limits
        self._rng = rng
        self._lock = threading.Lock()
        self._idle: deque[Channel] = deque()
        self._shared: list[Channel] = []
        self._open = 0
        self._waiters: deque[Waiter] = deque()
        self.closed = False
        self.dropped: deque[Channel] = deque()

    def checkout(self, now: float) -> Channel | None:
        """Return a connection with one more request on it, or None where the caller is to reserve a slot."""
        while self.dropped:
            channel = self.dropped.popleft()
            channel.retired = True
            self.checkin(channel, now)
        if self._shared:
            with self._lock:
                for channel in self._shared:
                    if channel.active < MAX_STREAMS and not channel.retired and channel.connection.is_available():
                        if now < channel.retire_at and not channel.connection.has_expired() and not channel.is_dead():
                            channel.active += 1
                            return channel
                        channel.retired = True
                self._retire_shared()
        while self._idle:
            try:
                channel = self._idle.pop()
            except IndexError:  # another thread took the last
                break
            if now < channel.retire_at and not channel.connection.has_expired():
                channel.active = 1
                return channel
            self._forget(channel)
        return None

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
            if limits.connections is None or self._open < limits.connections:
                self._open += 1
                return Turn.SLOT
            if self._idle:  # given back since the caller looked
                return Turn.LOOK_AGAIN
            if len(self._waiters) >= limits.waiting:
                raise PoolFull
            self._waiters.append(waiter)
            return Turn.WAIT

    def leave(self, waiter: Waiter, now: float) -> None:
        """Take a waiter out of the queue that will not use what it was given, or may be given."""
        with self._lock:
            if not waiter.granted:
                self._waiters.remove(waiter)
                return
            channel = waiter.channel
            if channel is None and not self._pass_on(None):
                self._open -= 1
        if channel is not None:
            self.checkin(channel, now)

    def opened(self, channel: Channel) -> None:
        """A new connection fills the reserved slot."""
        if channel.shared:
            with self._lock:
                self._shared.append(channel)

    def retire_at(self, now: float) -> float:
        """Return when a connection made now takes no more requests."""
        age_s = self._limits.max_age_s
        return float("inf") if age_s is None else now + jittered(age_s, AGE_JITTER, self._rng)

    def unshare(self, channel: Channel) -> None:
        """Have the connection carry one request at a time: it turned out to speak HTTP/1.1."""
        with self._lock:
            if channel in self._shared:
                self._shared.remove(channel)
                channel.shared = False

    def checkin(self, channel: Channel, now: float) -> None:
        """End one request on a connection, and keep, hand on or close it."""
        connection = channel.connection
        with self._lock:
            channel.active -= 1
            if channel.active > 0:
                if self._waiters and not channel.retired and channel.connection.is_available():
                    channel.active += 1
                    self._pass_on(channel)
                return
            keep = not (channel.retired or self.closed) and now < channel.retire_at and connection.is_idle()
            if keep and self._waiters:
                channel.active = 1
                self._pass_on(channel)
                return
            if channel.shared:
                if keep:
                    return
                self._shared.remove(channel)
            elif keep:
                self._idle.append(channel)
                if len(self._idle) <= self._limits.idle:
                    oldest = self._idle[0]
                    if oldest is channel or not oldest.connection.has_expired():
                        return
                channel = self._idle.popleft()
        self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        channel.close()
        with self._lock:
            if not self._pass_on(None):
                self._open -= 1

    def _pass_on(self, channel: Channel | None) -> bool:
        if not self._waiters:
            return False
        waiter = self._waiters.popleft()
        waiter.granted = True
        waiter.channel = channel
        waiter.wake()
        return True

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
        for channel in (*self._idle, *self._shared):
            channel.close()
        self._idle.clear()
        self._shared.clear()

    def __repr__(self) -> str:
        return f"<Pool open={self._open} idle={len(self._idle)} waiting={len(self._waiters)}>"
