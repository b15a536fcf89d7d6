"""HTTP/1.1 on one connection, on h11.

httpcore's HTTP/1.1 connection spends half of its time around h11 (a lock and five trace points a request, two context
managers a read): with it the blocking transport cost 0.93 of a bare httpx client's CPU per request, with this 0.79. h11
does the protocol; here is only the order of sending and receiving. Requests that are traced, and tests that patch
httpcore, still go through httpcore's own (see `Face.detours`). The usual exchange needs not even h11: see `usual`.

Written once for both faces: under the blocking face `read` and `write` never suspend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol

import h11

from lbkit._http.usual import RequestHead, usual_answer

READ_BYTES = 65536
MOST_HEADER_BYTES = 100 * 1024
"""A head larger than this is refused (httpcore's figure)."""

_END = h11.EndOfMessage()
Timeouts = Mapping[str, "float | None"]


class Stream(Protocol):
    """Bytes, with timeouts and httpcore's errors."""

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return some bytes, `b""` at the end."""

    async def send(self, data: bytes, timeout: float | None) -> None:
        """Send all of the bytes."""

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""


class Answer:
    """The head of a response, and its body to come; the names are those of httpcore's `Response`.

    Attributes:
        content: The whole body where it came with the head, else None.
    """

    __slots__ = ("content", "extensions", "headers", "status", "stream")

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        stream: H1Body,
        extensions: dict[str, Any],
        content: bytes | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.stream = stream
        self.extensions = extensions
        self.content = content


class H1Connection:
    """One connection; carries one request at a time."""

    def __init__(
        self, core: ModuleType, stream: Stream, expiry_s: float | None, clock: Callable[[], float], run: Any
    ) -> None:
        self._core = core
        self._stream = stream
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEADER_BYTES)
        self._expiry_s = expiry_s
        self._clock = clock
        self._expires_at = float("inf")
        self._idle = True
        self._head = RequestHead([])
        self._left = -1  # bytes of a usual answer's body that have not come; -1 where h11 has the exchange
        self._spoiled = False
        self._came = b""  # and those that have come and were not read
        self.run = run
        """Runs a coroutine to its end under the blocking face; None under the async one."""

    async def exchange(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: Any, timeouts: Timeouts
    ) -> Answer:
        """Send a request and return the head of its response. After any error the connection is to be closed."""
        self._idle = False
        self._left = -1
        if body is None or type(body) is bytes:
            if headers != self._head.raw:
                self._head = RequestHead(headers)
            data = self._head.write(method, target, body or b"")
            if data is not None:
                return await self._exchange_usual(data, method, target, body, timeouts)
        await self._send(method, target, headers, body, timeouts.get("write"))
        self._received(await self._stream.receive(READ_BYTES, timeouts.get("read")))
        return await self._answer(method, timeouts.get("read"))

    async def _exchange_usual(
        self, data: bytes, method: str, target: bytes, body: bytes | None, timeouts: Timeouts
    ) -> Answer:
        try:
            await self._stream.send(data, timeouts.get("write"))
        except self._core.WriteError:
            self._spoiled = True  # a server may refuse a body half-way and still have answered: what it said counts
        timeout = timeouts.get("read")
        data = await self._stream.receive(READ_BYTES, timeout)
        answer = usual_answer(data)
        if answer is not None:
            status, reason, headers, content, self._left = answer
            self._came = content
            extensions = {"http_version": b"HTTP/1.1", "reason_phrase": reason, "network_stream": self._stream}
            stream = H1Body(self, timeout)
            return Answer(status, headers, stream, extensions, None if self._left else content)
        state = self._state  # which has not heard of the request yet
        state.send(h11.Request(method=method, target=target, headers=self._head.raw))
        if body:
            state.send(h11.Data(data=body))
        state.send(_END)
        self._received(data)
        return await self._answer(method, timeout)

    async def _send(self, method: str, target: bytes, headers: Any, body: Any, timeout: float | None) -> None:
        state = self._state
        try:
            head = state.send(h11.Request(method=method, target=target, headers=headers)) or b""
            if body is None:
                await self._stream.send(head + (state.send(_END) or b""), timeout)
            elif isinstance(body, bytes):  # with the head: one system call, and one packet if it is small
                content = state.send(h11.Data(data=body)) or b""
                await self._stream.send(head + content + (state.send(_END) or b""), timeout)
            else:
                await self._send_parts(head, body, timeout)
        except h11.LocalProtocolError as error:
            raise self._core.LocalProtocolError(str(error)) from error
        except self._core.WriteError:
            self._spoiled = True  # as in _exchange_usual

    async def _answer(self, method: str, timeout: float | None) -> Answer:
        event = await self._next_event(timeout)
        while type(event) is h11.InformationalResponse and event.status_code != 101:
            event = await self._next_event(timeout)
        status: int = event.status_code
        extensions: dict[str, Any] = {
            "http_version": b"HTTP/" + event.http_version,
            "reason_phrase": bytes(event.reason),
            "network_stream": self._stream,
        }
        if status == 101 or (method == "CONNECT" and 200 <= status < 300):
            extensions["network_stream"] = _upgraded(self._stream, bytes(self._state.trailing_data[0]))
        return Answer(status, event.headers.raw_items(), H1Body(self, timeout), extensions)

    async def _send_parts(self, head: bytes, body: Any, timeout: float | None) -> None:
        state, send = self._state, self._stream.send
        await send(head, timeout)
        if self.run is None:
            parts = aiter(body)
            try:
                async for part in parts:
                    await send(state.send(h11.Data(data=part)) or b"", timeout)
            finally:
                if hasattr(parts, "aclose"):
                    await parts.aclose()  # a generator is not left to the collector
        else:
            for part in body:
                await send(state.send(h11.Data(data=part)) or b"", timeout)
        await send(state.send(_END) or b"", timeout)

    def _received(self, data: bytes) -> None:
        if not data and self._state.their_state is h11.SEND_RESPONSE:
            raise self._core.RemoteProtocolError("the endpoint closed the connection without an answer")
        self._state.receive_data(data)

    async def _next_event(self, timeout: float | None) -> Any:
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                self._received(await self._stream.receive(READ_BYTES, timeout))
        except h11.RemoteProtocolError as error:
            raise self._core.RemoteProtocolError(str(error)) from error
        return event

    async def read_all(self, timeout: float | None) -> bytes:
        """Return the whole body."""
        parts: list[bytes] = []
        while (part := await self.next_part(timeout)) is not None:
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def next_part(self, timeout: float | None) -> bytes | None:
        """Return the next part of the body, None at its end."""
        if self._left < 0:
            event = await self._next_event(timeout)
            return bytes(event.data) if type(event) is h11.Data else None
        part, self._came = self._came, b""
        if part or not self._left:
            return part or None
        part = await self._stream.receive(READ_BYTES, timeout)
        if not part:
            raise self._core.RemoteProtocolError(
                f"peer closed connection without sending complete message body ({self._left} bytes are missing)"
            )
        if len(part) > self._left:  # bytes nobody asked for spoil the next answer
            part, self._spoiled = part[: self._left], True
        self._left -= len(part)
        return part

    def finish(self) -> None:
        """End the exchange: the connection is idle if both sides have said all, and of no more use otherwise."""
        if self._idle or self._left > 0 or self._spoiled:
            return
        if self._left < 0:
            state = self._state
            if state.our_state is not h11.DONE or state.their_state is not h11.DONE or state.trailing_data[0]:
                return  # trailing data are bytes nobody asked for, and spoil the next answer
            state.start_next_cycle()
        self._idle = True
        if self._expiry_s is not None:
            self._expires_at = self._clock() + self._expiry_s

    def is_idle(self) -> bool:
        """Whether another request may be sent."""
        return self._idle

    def has_expired(self) -> bool:
        """Whether it was idle for too long, or the server is done with it: then an idle connection is readable."""
        return self._clock() > self._expires_at or bool(self._stream.get_extra_info("is_readable"))

    def is_available(self) -> bool:
        """Part of the interface of shared connections; this is not one."""
        return False


class H1Body:
    """The body of a response, for whichever face."""

    __slots__ = ("_connection", "_timeout")

    def __init__(self, connection: H1Connection, timeout: float | None) -> None:
        self._connection = connection
        self._timeout = timeout

    async def read_all(self) -> bytes:
        """Read to the end."""
        return await self._connection.read_all(self._timeout)

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        while (part := connection.run(connection.next_part(self._timeout))) is not None:
            yield part

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await self._connection.next_part(self._timeout)
        if part is None:
            raise StopAsyncIteration
        return part

    def close(self) -> None:
        """End the exchange."""
        self._connection.finish()

    async def aclose(self) -> None:
        """End the exchange."""
        self._connection.finish()


def _upgraded(stream: Any, leading: bytes) -> Any:
    """Return the raw stream after an upgrade; what came behind the head is read first."""
    if leading:
        stream.push_back(leading)
    return stream
