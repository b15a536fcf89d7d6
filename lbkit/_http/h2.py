"""HTTP/2 on httpcore's connection, with two corrections, so that a server that leaves or refuses costs no request.

1. A server that leaves in good order says so by GOAWAY with the last stream that it will still answer (RFC 9113, 6.8).
   h2 takes that for the end, and refuses the answers that follow; httpcore fails every request that is under way. Here
   an orderly GOAWAY is read on the way in and hidden from h2: streams up to the last one get their answers, those above
   it were not processed and may go elsewhere, even a POST, and the connection takes nothing new.
2. A failed write is not the last word: what the server said before it closed the connection is still to be read, such
   as a GOAWAY or that the stream was refused (8.7). So writes fail silently, and the next read tells.

Two private methods of httpcore's connection are extended for that; they are alike in httpcore and httpcore2, sync and
async, and tests watch over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbkit._http.library import Library

REFUSED_STREAM = 7
GOAWAY, UNKNOWN = 7, 0xFE
"""Frame types: one that is not known is to be ignored (RFC 9113, 5.5)."""
_HEAD = 9
_GOAWAY_HEAD = 17
_STREAM = "lbkit.stream"


class Leaving:
    """Finds the orderly GOAWAYs in what a server sends, and makes unknown frames of them.

    Attributes:
        last: The last stream that the server will answer; None while it is not leaving.
    """

    __slots__ = ("_held", "_skip", "last")

    def __init__(self) -> None:
        self.last: int | None = None
        self._held = b""  # an unfinished head of a frame
        self._skip = 0  # bytes of the present frame that are yet to come

    def pass_on(self, data: bytes) -> bytes:
        """Return the bytes that h2 is to see now; maybe none, where a head is not complete."""
        if self._skip >= len(data) and not self._held:
            self._skip -= len(data)
            return data
        seen = bytearray(self._held + data)
        self._held = b""
        at, end = self._skip, len(seen)
        while at < end:
            kind = seen[at + 3] if end - at > 3 else None
            if kind is None or end - at < (_GOAWAY_HEAD if kind == GOAWAY else _HEAD):
                self._held = bytes(seen[at:])
                del seen[at:]
                break
            if kind == GOAWAY and not any(seen[at + 13 : at + 17]):
                last = int.from_bytes(seen[at + 9 : at + 13], "big") & 0x7FFFFFFF
                self.last = last if self.last is None else min(last, self.last)
                seen[at + 3] = UNKNOWN
            at += _HEAD + int.from_bytes(seen[at : at + 3], "big")
        self._skip = max(0, at - len(seen))
        return bytes(seen)


class Wire:
    """The stream under a sync connection."""

    def __init__(self, stream: Any, library: Library) -> None:
        self._stream = stream
        self._failed_write = library.core.WriteError
        self.leaving = Leaving()
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read something, or nothing at the end."""
        while data := self._stream.read(max_bytes, timeout):
            if seen := self.leaving.pass_on(data):
                return seen
        return b""

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Write; where that fails the next read tells why."""
        try:
            self._stream.write(data, timeout)
        except self._failed_write:
            return


class AsyncWire:
    """The stream under an async connection."""

    def __init__(self, stream: Any, library: Library) -> None:
        self._stream = stream
        self._failed_write = library.core.WriteError
        self.leaving = Leaving()
        self.aclose = stream.aclose
        self.get_extra_info = stream.get_extra_info

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read something, or nothing at the end."""
        while data := await self._stream.read(max_bytes, timeout):
            if seen := self.leaving.pass_on(data):
                return seen
        return b""

    async def write(self, data: bytes, timeout: float | None = None) -> None:
        """Write; where that fails the next read tells why."""
        try:
            await self._stream.write(data, timeout)
        except self._failed_write:
            return


def types(library: Library) -> tuple[Any, Any]:
    """Make the sync and the async connection of a library. Needs h2."""
    core = library.core
    says_it_all: tuple[type[Exception], ...] = (core.ProtocolError, core.NetworkError)

    class Common:
        """What both connections know of the server's intentions."""

        def __init__(self, origin: Any, wire: Any, expiry_s: float | None) -> None:
            super().__init__(origin, wire, expiry_s)  # type: ignore[call-arg]
            self.leaving: Leaving = wire.leaving
            self.refused: dict[int, Any] = {}

        def is_available(self) -> bool:
            """Whether it takes another request."""
            return self.leaving.last is None and super().is_available()  # type: ignore[misc]

        def is_idle(self) -> bool:
            """Whether it is to be kept, unused."""
            return self.leaving.last is None and super().is_idle()  # type: ignore[misc]

        def look(self, request: Any) -> None:
            """Raise if the server will not answer this request."""
            last = self.leaving.last
            if last is not None and request.extensions.get(_STREAM, 0) > last:
                raise core.ConnectionNotAvailable

        def begin(self, request: Any, stream_id: int) -> None:
            """Remember which stream is the request's, if one may still begin."""
            if self.leaving.last is not None:
                raise core.ConnectionNotAvailable
            request.extensions[_STREAM] = stream_id

        def note(self, events: Any) -> Any:
            """Remember refusals: httpcore may come to write before it comes to them."""
            for event in events:
                if getattr(event, "error_code", None) == REFUSED_STREAM and hasattr(event, "stream_id"):
                    self.refused[event.stream_id] = event
            return events

        def judge(self, error: Exception, request: Any) -> None:
            """Raise something that says that the request was not processed, if that is so."""
            if isinstance(error, says_it_all):
                frame = self.refused.get(request.extensions.get(_STREAM))
                if frame is not None:
                    raise core.RemoteProtocolError(frame) from error
                self.look(request)

        def blame(self, error: Exception) -> None:
            """After an error from making a head, raise something that says whose it is: the user's, or nobody's."""
            if type(error).__module__.partition(".")[0] == "h2":
                if super().is_available():  # type: ignore[misc]
                    raise core.LocalProtocolError(str(error)) from error
                raise core.ConnectionNotAvailable from error  # it was closed while this request waited for its turn

    class Connection(Common, core.HTTP2Connection):  # type: ignore[misc,name-defined]
        """The sync one."""

        def handle_request(self, request: Any) -> Any:
            try:
                return super().handle_request(request)
            except Exception as error:
                self.judge(error, request)
                raise
            finally:
                self.refused.pop(request.extensions.get(_STREAM), None)

        def _read_incoming_data(self, request: Any) -> Any:
            self.look(request)
            return self.note(super()._read_incoming_data(request))

        def _send_request_headers(self, request: Any, stream_id: int) -> None:
            self.begin(request, stream_id)
            try:
                super()._send_request_headers(request, stream_id)
            except Exception as error:
                self.blame(error)
                raise

    class AsyncConnection(Common, core.AsyncHTTP2Connection):  # type: ignore[misc,name-defined]
        """The async one."""

        async def handle_async_request(self, request: Any) -> Any:
            try:
                return await super().handle_async_request(request)
            except Exception as error:
                self.judge(error, request)
                raise
            finally:
                self.refused.pop(request.extensions.get(_STREAM), None)

        async def _read_incoming_data(self, request: Any) -> Any:
            self.look(request)
            return self.note(await super()._read_incoming_data(request))

        async def _send_request_headers(self, request: Any, stream_id: int) -> None:
            self.begin(request, stream_id)
            try:
                await super()._send_request_headers(request, stream_id)
            except Exception as error:
                self.blame(error)
                raise

    return Connection, AsyncConnection
