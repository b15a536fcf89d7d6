"""What an exception or a status means for the endpoint, and whether another attempt could help.

The table follows what was seen of real faults: a refused or timed-out connection and a failed TLS handshake never
carried the request; a timeout, a reset or an end of file afterwards may come after the endpoint has acted. HTTP/2 can
say more: a refused stream and a GOAWAY below the stream were not processed (RFC 9113, 6.8 and 8.7).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Any

from lbkit._http.h2 import REFUSED_STREAM
from lbkit._http.library import Library
from lbkit.core.outcome import CANCELLED, OK, Outcome, Result
from lbkit.retry import RetryPolicy

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that may run twice (RFC 9110, 9.2.2)."""
NOT_A_FAILURE = frozenset({501, 505})
"""Server errors that say what the server does not do, not that it is unwell (HAProxy's observe layer7)."""
GATEWAY = frozenset({502, 503, 504})
"""What a gateway says when the server behind it does not answer."""

_RESULTS = {
    "ConnectError": Result.UNREACHABLE,
    "ConnectTimeout": Result.UNREACHABLE,
    "ReadError": Result.NO_ANSWER,
    "ReadTimeout": Result.NO_ANSWER,
    "WriteError": Result.NO_ANSWER,
    "WriteTimeout": Result.NO_ANSWER,
    "RemoteProtocolError": Result.NO_ANSWER,
    # Not the endpoint's fault, and nothing was sent: another endpoint may have a connection free.
    "PoolTimeout": Result.CANCELLED,
}

_GOAWAY = Outcome(Result.CANCELLED, retryable=True, cause="GOAWAY")
"""The endpoint is leaving in good order and has not processed the request: no fault, and safe to send elsewhere."""
_LOST = Outcome(Result.CANCELLED, retryable=True, cause="connection lost", maybe_sent=True)
_BROKEN = Outcome(Result.NO_ANSWER, retryable=True, cause="RemoteProtocolError")
"""What httpcore calls a local error, with h2's own inside: the peer's frames came after its GOAWAY."""
_REFUSED = Outcome(Result.UNREACHABLE, retryable=True, cause="REFUSED_STREAM")


class Classifier:
    """Outcomes of one library's exceptions and of responses under one policy."""

    def __init__(self, library: Library, policy: RetryPolicy) -> None:
        self._core = library.core
        self._statuses = frozenset(policy.statuses)
        self._errors: dict[type[BaseException], Outcome] = {}
        for name, result in _RESULTS.items():
            outcome = Outcome(result, retryable=True, cause=name, elsewhere=name == "PoolTimeout")
            self._errors[getattr(library.core, name)] = outcome
            self._errors[getattr(library.http, name)] = outcome
        self._errors[library.lost] = _LOST

    def error(self, error: BaseException) -> Outcome:
        """Classify an exception; one that is not the library's is the user's, and no verdict."""
        if isinstance(error, self._core.ConnectionNotAvailable):
            return _GOAWAY  # httpcore's word for a stream above the last one processed
        outcome = self._errors.get(type(error))
        if outcome is None:
            broken = isinstance(error, self._core.LocalProtocolError) and error.args
            if broken and isinstance(error.args[0], Exception):
                return _BROKEN
            return CANCELLED
        event = error.args[0] if error.args and outcome.cause == "RemoteProtocolError" else None
        if event is None or isinstance(event, str):
            return outcome
        if hasattr(event, "last_stream_id"):  # GOAWAY; 0 says that no stream was processed
            return _GOAWAY if event.last_stream_id == 0 else outcome
        return _REFUSED if getattr(event, "error_code", None) == REFUSED_STREAM else outcome

    def status(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Outcome:
        """Classify a response by its status and Retry-After. No 4xx counts against an endpoint."""
        if status < 500 and status != 429:
            return OK
        retryable = status in self._statuses
        retry_after_s = None
        if status in (429, 503):
            for name, value in headers:
                if name.lower() == b"retry-after":
                    retry_after_s = retry_after(value.decode("latin-1"))
        if status == 429 or retry_after_s is not None:
            return Outcome(Result.OVERLOADED, retryable, retry_after_s, str(status))
        if status in NOT_A_FAILURE:
            return OK
        return Outcome(Result.ERROR, retryable, cause=str(status), gateway=status in GATEWAY)


def is_stream_reset(error: BaseException) -> bool:
    """Whether the peer ended one HTTP/2 stream and kept the connection."""
    event = error.args[0] if error.args else None
    return hasattr(event, "stream_id") and not hasattr(event, "last_stream_id")


def retry_after(value: str) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date (RFC 9110, 10.2.3). None for anything else.

    A date in the past and a negative number are 0; a date without zone is taken as GMT, as HTTP dates are.
    """
    value = value.strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
        seconds = when.timestamp() - time.time() if when.tzinfo else _naive_gmt(when) - time.time()
    if math.isnan(seconds):
        return None
    return max(0.0, seconds)


def _naive_gmt(when: Any) -> float:
    from datetime import UTC  # noqa: PLC0415 - rare

    stamp: float = when.replace(tzinfo=UTC).timestamp()
    return stamp


def can_rewind(stream: Any, byte_stream: type) -> bool:
    """Whether a request's body can be produced again.

    Bytes can, and a multipart form of bytes and seekable files, which the library rewinds itself. An iterator cannot;
    and neither does a file that was given as plain content: the library reads it once and sends nothing the next time.
    """
    if isinstance(stream, byte_stream):
        return True
    fields = getattr(stream, "fields", None)
    if fields is None:
        return False
    for form_field in fields:
        file = getattr(form_field, "file", None)
        if file is not None and not isinstance(file, str | bytes) and not _seekable(file):
            return False
    return True


def _seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except AttributeError:
        return hasattr(file, "seek")
