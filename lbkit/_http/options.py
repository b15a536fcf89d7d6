"""What a transport takes, and what one request may say through `extensions={"lbkit": {...}}`."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from lbkit._http.pool import PoolLimits
from lbkit.errors import ConfigError
from lbkit.retry.policy import check_timeout


class TransportOptions(TypedDict, total=False):
    """Options of `BalancedTransport` and `AsyncBalancedTransport`; all by keyword, all optional.

    Attributes:
        verify: True (the default), False, or an `ssl.SSLContext`. Certificates are checked against the host of the
            request's URL, or an endpoint's `server_name`.
        cert: A client certificate, as the HTTP library takes it.
        trust_env: Whether `SSL_CERT_FILE` and `SSL_CERT_DIR` count; True by default.
        http1, http2: Protocols to offer; True and False by default. HTTP/2 needs the extra `h2`.
        limits: The HTTP library's `Limits`, here for each endpoint (and origin): no limit on connections, at most 100
            idle ones, closed after 5 s idle, by default.
        max_waiting: Most requests that wait for a connection of one endpoint; 1,024 by default (Envoy's
            max_pending_requests).
        max_age_s: Age in seconds at which a connection takes no more requests, spread by 10 %; 300 by default. So
            connections to a name that moves are made anew. None keeps them for as long as they work.
        local_address: Local address to connect from.
        socket_options: Options for `setsockopt` on TCP connections.
        buffer_bytes: A body whose Content-Length is at most this is read before the response is handed over, so that
            a connection that breaks inside it is retried like any other failure; 65,536 by default, 0 turns it off.
            Bodies of unknown length, such as server-sent events, are never held back.
        inner: A transport of yours that sends instead of lbkit's own pool, or a function that makes one for an
            endpoint. It gets a copy of the request with the endpoint's address in the URL.
    """

    verify: bool | str | ssl.SSLContext
    cert: Any
    trust_env: bool
    http1: bool
    http2: bool
    limits: Any
    max_waiting: int
    max_age_s: float | None
    local_address: str | None
    socket_options: Iterable[Any] | None
    buffer_bytes: int
    inner: Any


DEFAULTS: TransportOptions = {
    "verify": True, "cert": None, "trust_env": True, "http1": True, "http2": False, "limits": None,
    "max_waiting": 1024, "max_age_s": 300.0, "local_address": None, "socket_options": None, "buffer_bytes": 65536,
    "inner": None,
}  # fmt: skip
DEFAULT_IDLE = 100
DEFAULT_IDLE_EXPIRY_S = 5.0


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check a transport's options and fill in the defaults.

    Raises:
        ConfigError: One is unknown or out of range.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"a transport has no option {unknown[0]!r}; it has {', '.join(DEFAULTS)}")
    full: dict[str, Any] = {**DEFAULTS, **options}
    if not (full["http1"] or full["http2"]):
        raise ConfigError("a transport needs http1 or http2")
    if full["max_waiting"] < 0 or full["buffer_bytes"] < 0:
        raise ConfigError("max_waiting and buffer_bytes must be at least 0")
    check_timeout("max_age_s", full["max_age_s"])
    return full


def pool_limits(options: Mapping[str, Any]) -> tuple[PoolLimits, float | None]:
    """Return a pool's limits and the seconds after which an idle connection is closed."""
    limits = options["limits"]
    connections = None if limits is None else limits.max_connections
    idle = DEFAULT_IDLE if limits is None else limits.max_keepalive_connections
    expiry = DEFAULT_IDLE_EXPIRY_S if limits is None else limits.keepalive_expiry
    if connections is not None and connections < 1:
        raise ConfigError("limits: max_connections must be at least 1, or None for no limit")
    idle_s = float("inf") if expiry is None else expiry
    most_idle = 2**31 if idle is None else idle
    return PoolLimits(connections, most_idle, idle_s, options["max_age_s"], options["max_waiting"]), expiry


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one request says for itself.

    Attributes:
        deadline: Seconds for the whole call, body included; None takes the policy's.
        replayable: Whether it may run twice; None decides by the method and an Idempotency-Key header.
        hash_key: For schedulers with affinity.
    """

    deadline: float | None = None
    replayable: bool | None = None
    hash_key: bytes | None = None


NO_OPTIONS = CallOptions()
_NAMES = frozenset(CallOptions.__slots__)


def call_options(extension: Any) -> CallOptions:
    """Read `extensions["lbkit"]` of a request.

    Raises:
        ConfigError: It is not a dict of known options, or one is out of range.
    """
    if not isinstance(extension, Mapping):
        raise ConfigError(f'extensions["lbkit"] is a dict with some of {", ".join(sorted(_NAMES))}')
    unknown = sorted(set(extension) - _NAMES)
    if unknown:
        raise ConfigError(f'extensions["lbkit"] has no {unknown[0]!r}; it may have {", ".join(sorted(_NAMES))}')
    options = CallOptions(**extension)
    check_timeout('extensions["lbkit"]: deadline', options.deadline)
    if options.replayable not in (None, True, False):
        raise ConfigError('extensions["lbkit"]: replayable is True, False or None')
    key = options.hash_key
    if isinstance(key, str):
        return CallOptions(options.deadline, options.replayable, key.encode())
    if key is not None and not isinstance(key, bytes):
        raise ConfigError('extensions["lbkit"]: hash_key is text or bytes')
    return options
