"""Response bodies: a lease and a connection live until the body is closed.

A body ends once, whichever comes first: it was read to its end, it broke, it was closed early, its task was cancelled,
or it was dropped unread. A body that breaks counts once against its endpoint; the head's success is not counted again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio

from lbkit._http import shared
from lbkit._http.classify import Classifier
from lbkit._http.library import Library
from lbkit._http.pool import Channel, Pool
from lbkit._http.shared import Limits
from lbkit.balancer.lease import Lease
from lbkit.core.outcome import Outcome, Result


class Use:
    """One request's hold on a lease and, with lbkit's own pool, on a channel. `end` gives both back, once.

    Attributes:
        whole: Whether the answer was read to its end.
    """

    __slots__ = ("_channel", "_clock", "_pool", "lease", "whole")

    def __init__(self, lease: Lease, pool: Pool | None, channel: Channel | None, clock: Callable[[], float]) -> None:
        self.lease: Lease | None = lease
        self._pool = pool
        self._channel = channel
        self._clock = clock
        self.whole = False

    def end_channel(self) -> None:
        """Give the connection back."""
        channel = self._channel
        if channel is not None:
            self._channel = None
            give_back(self._pool, channel, self._clock(), whole=self.whole)

    def end(self, outcome: Outcome | None = None) -> None:
        """Give the connection and the lease back."""
        self.end_channel()
        lease = self.lease
        if lease is not None:
            self.lease = None
            lease.release(outcome)

    def __del__(self) -> None:
        # No lock here: the collector may run while the pool's is held. The lease has a finalizer of its own.
        if self._channel is not None and self._pool is not None:
            self._pool.dropped.append(self._channel)


def give_back(pool: Pool | None, channel: Channel, now: float, *, whole: bool) -> None:
    """Give a connection back to its pool; without one, or with an unfinished answer on it, it is closed.

    That goes for HTTP/2 too: httpcore neither resets an unfinished stream nor returns its flow-control window, so the
    connection takes no more requests and closes after the last.
    """
    if pool is None:
        channel.close()
        return
    if not whole:
        channel.retired = True
    pool.checkin(channel, now)


class Body:
    """What the sync and the async stream share."""

    def __init__(self, stream: Any, use: Use, library: Library, classifier: Classifier, limits: Limits | None) -> None:
        self._stream = stream
        self._use = use
        self._library = library
        self._classifier = classifier
        self._limits = limits
        self._closed = False

    def broke(self, error: BaseException) -> BaseException:
        """End the use after an error, and return the error as the library's."""
        outcome = self._classifier.error(error)
        self._use.end(outcome if outcome.result is not Result.CANCELLED else None)
        return self._library.translate(error)


class SyncBody(Body):
    """A body that is iterated by blocking code."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:  # noqa: BLE001 - whatever it was, the body is over
            raise self.broke(error) from error.__cause__
        self._use.whole = True

    def close(self) -> None:
        if not self._closed:  # the first time: afterwards the connection may be somebody else's
            self._closed = True
            try:
                self._stream.close()
            finally:
                self._use.end()


class AsyncBody(Body):
    """A body that is iterated by async code. An iterator and not a generator: one that is dropped needs no loop."""

    _parts: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = self._stream.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            raise StopAsyncIteration
        limits = self._limits
        try:
            if limits is None:
                return await self._parts.__anext__()
            with anyio.move_on_after(limits.read()):
                return await self._parts.__anext__()
            raise self._library.http.ReadTimeout("the endpoint did not send the body in time")  # noqa: TRY301
        except StopAsyncIteration:
            self._parts = None
            self._use.whole = True
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the body is over
            self._parts = None
            if limits is not None and not isinstance(error, self._library.http.HTTPError):
                error = shared.own(error, self._library)
            raise self.broke(error) from error.__cause__

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            parts, self._parts = self._parts, None
            try:
                if parts is not None and parts is not self._stream and hasattr(parts, "aclose"):
                    await parts.aclose()  # httpcore's generator: not left to the collector
                await (self._stream.aclose() if self._limits is None else shared.close(self._stream))
            finally:
                self._use.end()


class OneShot:
    """A request body that can be produced only once: knows whether that has begun."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.begun = False

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        return iter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        parts: AsyncIterator[bytes] = self._stream.__aiter__()
        return parts


class StreamTypes:
    """The stream classes as `library` accepts them: its clients and transports ask for their own bases."""

    def __init__(self, library: Library) -> None:
        sync, both = library.http.SyncByteStream, library.http.AsyncByteStream
        self.sync_body: type[SyncBody] = type("BalancedStream", (SyncBody, sync), {})
        self.async_body: type[AsyncBody] = type("AsyncBalancedStream", (AsyncBody, both), {})
        self.one_shot: type[OneShot] = type("OneShotStream", (OneShot, sync, both), {})
        self.bytes: type = library.http.ByteStream
