"""The two faces: what differs between blocking and async code, and nothing else.

The flow of a request is written once, as a coroutine over a face. The blocking face's methods never suspend, so the
sync transport runs the same coroutine to its end with one `send`; the async transport awaits it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import anyio

from lbkit._http import shared
from lbkit._http.dial_async import AsyncDialer
from lbkit._http.dial_sync import SyncDialer
from lbkit._http.h1 import H1Body
from lbkit._http.h2 import AsyncWire, Wire
from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit._http.pool import Channel, Turn
from lbkit._http.shared import Limits, ask
from lbkit.core.endpoint import Endpoint

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends: the blocking face's way through the shared flow."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("the blocking transport suspended: it was given an async stream or transport")


class SyncWaiter:
    """A thread in the queue for a connection."""

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.channel: Channel | None = None
        self._event = threading.Event()

    def wake(self) -> None:
        """Let the thread go on."""
        self._event.set()

    async def wait(self, timeout: float | None) -> None:
        """Wait until granted, `timeout` seconds at the most."""
        self._event.wait(timeout)


class AsyncWaiter:
    """A task in the queue for a connection."""

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.channel: Channel | None = None
        self._event = anyio.Event()

    def wake(self) -> None:
        """Let the task go on."""
        self._event.set()

    async def wait(self, timeout: float | None) -> None:
        """Wait until granted, `timeout` seconds at the most."""
        with anyio.move_on_after(timeout):
            await self._event.wait()


class Face(Protocol):
    """What the shared flow needs from one of the two worlds."""

    multiplexes: bool
    run: Any

    def home(self) -> object:
        """Return what connections belong to: the event loop, or one object for all threads."""

    def in_home(self, home: Any, action: Callable[[], None]) -> None:
        """Run `action` in the event loop `home`: now if that is the present one, soon otherwise, never if it ended."""

    def waiter(self) -> Any:
        """Make a place in a queue."""

    def detours(self, request: Any) -> bool:
        """Whether httpcore's own connection must carry the request: it is traced, or a test has patched httpcore."""

    def dialer(self, endpoint: Endpoint, line: Line) -> Any:
        """Make what will connect to the endpoint."""

    def http2(self, stream: Any, origin: Any, expiry_s: float | None) -> Any:
        """Make httpcore's HTTP/2 connection on a stream."""

    def httpcore_connection(self, dialer: Any, origin: Any, context: ssl.SSLContext | None, more: Any) -> Any:
        """Make httpcore's own connection, which dials by itself."""

    async def sleep(self, seconds: float) -> None:
        """Sleep."""

    async def send(self, connection: Any, request: Any, limits: Limits | None) -> Any:
        """Send on httpcore's connection and return the response's head; `limits` are those of a shared connection."""

    async def send_inner(self, transport: Any, request: Any, limit: float | None) -> Any:
        """Send a request through a transport of the user's."""

    async def read(self, stream: Any, limits: Limits | None) -> bytes:
        """Read a body to its end and close it."""

    async def close(self, stream: Any) -> None:
        """Close a body."""


class SyncFace:
    """Threads and blocking calls."""

    multiplexes = False
    run = staticmethod(run)

    def __init__(self, library: Library) -> None:
        self._library = library
        self._plain, _ = library.plain
        self._home = object()

    def home(self) -> object:
        """All threads share their connections."""
        return self._home

    def in_home(self, home: Any, action: Callable[[], None]) -> None:  # noqa: ARG002
        """Run it."""
        action()

    waiter = SyncWaiter

    def detours(self, request: Any) -> bool:
        """Whether the request is traced, or a test has patched httpcore."""
        return self._library.core.HTTPConnection.handle_request is not self._plain or "trace" in request.extensions

    def dialer(self, endpoint: Endpoint, line: Line) -> SyncDialer:
        """Make what will connect to the endpoint."""
        return SyncDialer(self._library, endpoint, line)

    def http2(self, stream: Any, origin: Any, expiry_s: float | None) -> Any:
        """Make httpcore's HTTP/2 connection on a stream."""
        return self._library.http2[0](origin, Wire(stream, self._library), expiry_s)

    def httpcore_connection(self, dialer: Any, origin: Any, context: ssl.SSLContext | None, more: Any) -> Any:
        """Make httpcore's own connection, which dials by itself."""
        return self._library.core.HTTPConnection(origin, context, network_backend=dialer, **more)

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)  # noqa: ASYNC251 - the blocking face blocks

    async def send(self, connection: Any, request: Any, limits: Limits | None) -> Any:  # noqa: ARG002 - never shared
        """Send and wait for the head."""
        return connection.handle_request(request)

    async def send_inner(self, transport: Any, request: Any, limit: float | None) -> Any:  # noqa: ARG002
        """Send through the user's transport, bounded by the timeouts in the request."""
        return transport.handle_request(request)

    async def read(self, stream: Any, limits: Limits | None) -> bytes:  # noqa: ARG002
        """Read to the end."""
        try:
            return await stream.read_all() if type(stream) is H1Body else b"".join(stream)
        finally:
            stream.close()

    async def close(self, stream: Any) -> None:
        """Close."""
        if hasattr(stream, "close"):
            stream.close()


class AsyncFace:
    """Tasks under asyncio or trio."""

    multiplexes = True
    run = None

    def __init__(self, library: Library) -> None:
        self._library = library
        _, self._plain = library.plain

    def home(self) -> object:
        """Connections belong to the event loop in which they were made."""
        if _in_trio():
            return sys.modules["trio"].lowlevel.current_trio_token()
        return asyncio.get_running_loop()

    def in_home(self, home: Any, action: Callable[[], None]) -> None:
        """Run it here, or in another thread's loop."""
        if _in_trio():
            here: object = sys.modules["trio"].lowlevel.current_trio_token()
        else:
            here = asyncio._get_running_loop()  # noqa: SLF001 - public but for its name, and unlike the other never raises
        if home is here:
            action()
        elif home is not None:
            with contextlib.suppress(RuntimeError):  # it has ended, and its connections with it
                (home.run_sync_soon if hasattr(home, "run_sync_soon") else home.call_soon_threadsafe)(action)

    waiter = AsyncWaiter

    def detours(self, request: Any) -> bool:
        """Whether the request is traced, or a test has patched httpcore."""
        plain = self._library.core.AsyncHTTPConnection.handle_async_request is self._plain
        return not plain or "trace" in request.extensions

    def dialer(self, endpoint: Endpoint, line: Line) -> AsyncDialer:
        """Make what will connect to the endpoint."""
        return AsyncDialer(self._library, endpoint, line, trio=_in_trio())

    def http2(self, stream: Any, origin: Any, expiry_s: float | None) -> Any:
        """Make httpcore's HTTP/2 connection on a stream."""
        return self._library.http2[1](origin, AsyncWire(stream, self._library), expiry_s)

    def httpcore_connection(self, dialer: Any, origin: Any, context: ssl.SSLContext | None, more: Any) -> Any:
        """Make httpcore's own connection, which dials by itself."""
        return self._library.core.AsyncHTTPConnection(origin, context, network_backend=dialer, **more)

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run meanwhile."""
        await anyio.sleep(seconds)

    async def send(self, connection: Any, request: Any, limits: Limits | None) -> Any:
        """Send and wait for the head."""
        if limits is None:
            return await connection.handle_async_request(request)
        return await ask(connection, request, limits, self._library)

    async def send_inner(self, transport: Any, request: Any, limit: float | None) -> Any:
        """Send through the user's transport."""
        if limit is None:
            return await transport.handle_async_request(request)
        with anyio.move_on_after(limit):
            return await transport.handle_async_request(request)
        raise self._library.http.ReadTimeout("the endpoint did not answer in time")

    async def read(self, stream: Any, limits: Limits | None) -> bytes:
        """Read to the end."""
        if limits is None:
            try:
                return await stream.read_all() if type(stream) is H1Body else b"".join([part async for part in stream])
            finally:
                await stream.aclose()
        try:
            parts = []
            with anyio.CancelScope(deadline=anyio.current_time() + limits.read()) as scope:
                async for part in stream:
                    parts.append(part)
                    scope.deadline = anyio.current_time() + limits.read()
                return b"".join(parts)
            raise self._library.core.ReadTimeout("the body did not end in time")  # noqa: TRY301 - passes `own` as it is
        except Exception as error:
            lost = shared.own(error, self._library)
            if lost is error:
                raise
            raise lost from error
        finally:
            await shared.close(stream)

    async def close(self, stream: Any) -> None:
        """Close."""
        if hasattr(stream, "aclose"):
            await stream.aclose()


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_run()
