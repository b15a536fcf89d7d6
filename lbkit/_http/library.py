"""The two HTTP libraries, seen as one shape.

httpx and httpx2 (and httpcore and httpcore2 below them) have the same names and the same semantics, and types that do
not mix. Everything that differs is looked up here once per library, so that the rest of the package is written once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from lbkit._http import h2
from lbkit.errors import ClusterClosed, DeadlineExceeded, NoEndpointAvailable, NotReady

_SHARED_ERRORS = (
    "ConnectError", "ConnectTimeout", "LocalProtocolError", "NetworkError", "PoolTimeout", "ProtocolError",
    "ReadError", "ReadTimeout", "RemoteProtocolError", "TimeoutException", "UnsupportedProtocol", "WriteError",
    "WriteTimeout",
)  # fmt: skip


@dataclass(frozen=True, eq=False)  # one object per library: compared and hashed by identity
class Library:
    """One HTTP library and its core.

    Attributes:
        http: `httpx` or `httpx2`.
        core: `httpcore` or `httpcore2`.
        errors: The core's exceptions and what the library calls them.
        no_endpoint, not_ready, closed, deadline: lbkit's errors as the library's own kind, so that a user's
            `except httpx.TransportError` keeps working.
        plain: httpcore's own ways to send, sync and async, as they were when lbkit was imported: a test that mocks
            httpcore has put others in their place.
        lost: What is raised to a request whose shared connection was broken by the cancellation of another.
    """

    http: ModuleType
    core: ModuleType
    errors: dict[type[BaseException], type[Exception]] = field(init=False)
    no_endpoint: type[Exception] = field(init=False)
    not_ready: type[Exception] = field(init=False)
    closed: type[Exception] = field(init=False)
    deadline: type[Exception] = field(init=False)
    plain: tuple[Any, Any] = field(init=False)
    lost: type[Exception] = field(init=False)

    def __post_init__(self) -> None:
        values = {
            "errors": {getattr(self.core, name): getattr(self.http, name) for name in _SHARED_ERRORS},
            "no_endpoint": _hosted(NoEndpointAvailable, self.http.ConnectError),
            "not_ready": _hosted(NotReady, self.http.ConnectError),
            "lost": type("ConnectionLost", (self.core.RemoteProtocolError,), {}),
            "plain": (self.core.HTTPConnection.handle_request, self.core.AsyncHTTPConnection.handle_async_request),
            "closed": _hosted(ClusterClosed, self.http.ConnectError),
            "deadline": _hosted(DeadlineExceeded, self.http.ReadTimeout),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @functools.cached_property
    def http2(self) -> tuple[Any, Any]:
        """The sync and the async HTTP/2 connection. Needs h2."""
        return h2.types(self)

    @property
    def name(self) -> str:
        """The module's name."""
        return self.http.__name__

    def translate(self, error: BaseException) -> BaseException:
        """Return the library's exception for one of its core; any other exception as it is."""
        kind = type(error)
        target = self.errors.get(kind)
        if target is None:
            if isinstance(error, self.core.ConnectionNotAvailable):
                target = self.http.RemoteProtocolError
            elif not any(isinstance(error, core) for core in self.errors):
                return error
            else:
                target = next(self.errors[base] for base in kind.__mro__ if base in self.errors)
        translated = target(_words(error))
        translated.__cause__ = error
        return translated

    def host_error(self, error: Exception) -> Exception:
        """Return an error of lbkit's as one that is the library's too."""
        if isinstance(error, NoEndpointAvailable):
            kind = self.not_ready if isinstance(error, NotReady) else self.no_endpoint
            return kind(error.cluster, error.reasons, error.retry_after_s, error.waits_for)
        return (self.closed if isinstance(error, ClusterClosed) else self.deadline)(str(error))


_WORDLESS = {
    "ConnectionNotAvailable": "the endpoint closed the connection before it processed the request",
    "ConnectTimeout": "the endpoint did not accept the connection in time",
    "ReadTimeout": "the endpoint did not answer in time",
    "WriteTimeout": "the endpoint did not take the request in time",
}


def _words(error: BaseException) -> str:
    """Return an error's text, or that of what caused it: under trio httpcore's errors have none of their own."""
    reason: BaseException | None = error
    while reason is not None:
        if text := str(reason):
            return text
        reason = reason.__cause__ or reason.__context__
    return _WORDLESS.get(type(error).__name__, "")


_HOSTED: dict[tuple[type[Exception], type[Exception]], Any] = {}


def _hosted(ours: type[Exception], theirs: type[Exception]) -> Any:
    """Return the class that is both ours and the library's, with our constructor and the library's `request`.

    There is one for each pair, so that an error that was pickled is of the same class.
    """
    if (ours, theirs) in _HOSTED:
        return _HOSTED[ours, theirs]

    def init(self: Any, *args: Any) -> None:
        ours.__init__(self, *args)
        self._request = None  # what RequestError.__init__ sets; the client attaches the request

    def reduce(self: Any) -> tuple[Any, ...]:
        given = ours.__reduce__(self)[1]
        notes = getattr(self, "__notes__", None)
        return _hosted_again, (ours, theirs, given), {"__notes__": list(notes)} if notes else None

    members = {"__init__": init, "__reduce__": reduce, "__doc__": ours.__doc__, "__module__": ours.__module__}
    return _HOSTED.setdefault((ours, theirs), type(ours.__name__, (ours, theirs), members))


def _hosted_again(ours: type[Exception], theirs: type[Exception], given: tuple[Any, ...]) -> Exception:
    """Make an error that was pickled."""
    error: Exception = _hosted(ours, theirs)(*given)
    return error
