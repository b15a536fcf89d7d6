"""Time limits of one request on a connection that other requests use too (HTTP/2 under async code).

httpcore's own timeouts do not fit there: one that passes ends the connection for all its streams, and one that should
pass does not while other streams keep the connection busy. So a shared connection gets none of them, and each request
is bounded by a cancel scope of its own, with the same meaning as on an exclusive connection: `write` for each part of
the request's body, `read` for the head of the response and then for each part of its body, and an end for everything.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio

from lbkit._http.library import Library


class Limits:
    """The limits of one request, in seconds, on the cluster's clock.

    Attributes:
        end: No wait goes beyond this: the end of the attempt, and of the call once the head is there.
    """

    __slots__ = ("_clock", "_read", "_write", "end")

    def __init__(self, timeouts: Mapping[str, float | None], clock: Callable[[], float], end: float) -> None:
        self._read = timeouts.get("read")
        self._write = timeouts.get("write")
        self._clock = clock
        self.end = end

    def read(self) -> float:
        """Return the seconds for the next wait for the response, `inf` for no limit."""
        return self._least(self._read)

    def write(self) -> float:
        """Return the seconds for the next part of the request's body, `inf` for no limit."""
        return self._least(self._write)

    def left(self) -> float:
        """Return the seconds until the end, `inf` for no limit."""
        return self._least(None)

    def _least(self, timeout: float | None) -> float:
        left = math.inf if self.end == math.inf else max(0.0, self.end - self._clock())
        return left if timeout is None or left < timeout else timeout


class Upload:
    """A request's body that moves the deadline of a scope as it is sent."""

    def __init__(self, stream: Any, limits: Limits, scope: anyio.CancelScope) -> None:
        self._stream = stream
        self._limits = limits
        self._scope = scope
        self._parts: Any = None
        self.sending = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        limits, scope = self._limits, self._scope
        self.sending = False
        scope.deadline = anyio.current_time() + limits.left()  # until the user's code has made the next part
        try:
            part: bytes = await anext(self._parts)
        except StopAsyncIteration:
            scope.deadline = anyio.current_time() + limits.read()
            raise
        self.sending = True
        scope.deadline = anyio.current_time() + limits.write()
        return part

    async def aclose(self) -> None:
        """Close the user's generator, if it is one: it is not left to the collector."""
        if hasattr(self._parts, "aclose"):
            await self._parts.aclose()


async def ask(connection: Any, request: Any, limits: Limits, library: Library) -> Any:
    """Send a request of httpcore's on its HTTP/2 connection, and return the head of the response."""
    upload: Upload | None = None
    with anyio.CancelScope(deadline=anyio.current_time() + limits.read()) as scope:
        if _has_body(request.headers):
            upload = request.stream = Upload(request.stream, limits, scope)
        try:
            return await connection.handle_async_request(request)
        except Exception as error:
            lost = error if upload is not None else own(error, library)  # a body may raise anything of the user's
            if lost is error:
                raise
            raise lost from error
        finally:
            if upload is not None:
                await upload.aclose()
    if upload is not None and upload.sending:
        raise library.core.WriteTimeout("the endpoint did not take the request in time")
    raise library.core.ReadTimeout("the endpoint did not answer in time")


async def close(stream: Any) -> None:
    """Close the body of a response.

    httpcore's count of streams may be wrong after other requests on the connection were cancelled, and it notices only
    here. What was read is good all the same; the connection is never idle again, so it is not used again.
    """
    with contextlib.suppress(ValueError):
        await stream.aclose()


def own(error: Exception, library: Library) -> Exception:
    """Return an exception from within httpcore as one of its own kinds.

    When a request is cancelled while an HTTP/2 connection is set up, httpcore's state is wrong for the others on it:
    they meet h2's errors, before they were sent, or a count that does not fit, at any time. Neither is the endpoint's.
    """
    core = library.core
    known: tuple[type[Exception], ...] = (
        core.TimeoutException, core.NetworkError, core.ProtocolError, core.ConnectionNotAvailable
    )  # fmt: skip
    if isinstance(error, known):
        return error
    if type(error).__module__.partition(".")[0] == "h2":
        unsent: Exception = core.ConnectionNotAvailable(str(error))
        return unsent
    lost: Exception = library.lost(f"the connection was lost: {error!r}")
    return lost


def _has_body(headers: Any) -> bool:
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
