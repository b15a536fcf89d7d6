"""Where a transport's connections live: per event loop (or for all threads), endpoint and origin.

A connection belongs to the event loop in which it was made, so an async transport that is used in several loops has
connections in each; what belongs to a loop that has ended is forgotten. Endpoints that have left the cluster have their
idle connections closed at the next request, and the others as their responses end.
"""

from __future__ import annotations

import functools
import ssl
import weakref
from typing import Any

from lbkit._http.face import Face
from lbkit._http.h1 import H1Connection
from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit._http.options import pool_limits
from lbkit._http.pool import Channel, Pool
from lbkit.core.endpoint import Endpoint
from lbkit.errors import ConfigError
from lbkit.runtime import fork
from lbkit.runtime.cluster import Cluster

PoolKey = tuple[str, str, bytes, int | None]


@functools.lru_cache(maxsize=64)
def shared_context(library: Library, verify: bool | str, cert: Any, trust_env: bool, http2: bool) -> ssl.SSLContext:  # noqa: ARG001
    """Return the TLS context for these options: making one takes tens of milliseconds, so it is made once.

    `http2` is part of the key because the protocols to offer are set on the context itself.
    """
    context: ssl.SSLContext = library.http.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
    return context


class Homes:
    """The pools of one transport, and its user's inner transports."""

    def __init__(self, library: Library, cluster: Cluster, face: Face, options: dict[str, Any]) -> None:
        self._library = library
        self._cluster = cluster
        self._face = face
        self._options = options
        self._limits, self._expiry_s = pool_limits(options)
        self._http2 = options["http2"]
        self._alpn = ["h2"] * options["http2"] + ["http/1.1"] * options["http1"]
        self._more = {
            "keepalive_expiry": self._expiry_s, "http1": options["http1"], "http2": options["http2"],
            "local_address": options["local_address"], "socket_options": options["socket_options"],
        }  # fmt: skip
        self._pools: dict[int, tuple[Any, dict[PoolKey, Pool]]] = {}
        self._version = -1
        self._inner: dict[str, Any] = {}
        self.inner = options["inner"]
        self.closed = False
        fork.register(self)

    def pool(self, endpoint: Endpoint, url: Any) -> Pool:
        """Return the pool for an endpoint and the origin of a URL."""
        if self._version != self._cluster.balancer.version:
            self._prune()
        home = self._face.home()
        try:
            owner, pools = self._pools[id(home)]
            if owner() is not home:
                raise KeyError  # noqa: TRY301 - another loop had this address before
        except KeyError:
            self._forget_ended_homes()
            pools = {}
            self._pools[id(home)] = (_reference(home), pools)
        key = (endpoint.id, url.scheme, url.raw_host, url.port)
        pool = pools.get(key)
        if pool is None:
            self._check(url)
            pool = pools.setdefault(key, Pool(self._limits, self._cluster.balancer.rng, sharing=self._sharing(url)))
            pool.closed = self.closed
        return pool

    def _sharing(self, url: Any) -> bool:
        return self._face.multiplexes and self._http2 and (url.scheme == "https" or not self._more["http1"])

    def open(self, endpoint: Endpoint, retire_at: float) -> Channel:
        """Make a connection that is yet to be dialled."""
        line = Line(self._cluster.balancer.clock)
        return Channel(self._face.dialer(endpoint, line), line, retire_at)

    async def dial(self, channel: Channel, endpoint: Endpoint, request: Any, timeout: float | None) -> None:
        """Connect, and find out what the connection speaks."""
        url = request.url
        name = request.extensions.get("sni_hostname") or endpoint.server_name or url.raw_host.decode("ascii")
        context = self._context() if url.scheme == "https" else None
        if context is not None:
            context.set_alpn_protocols(self._alpn)
        stream = await channel.dialer.dial(context, name, timeout, self._more)
        tls = stream.get_extra_info("ssl_object")
        spoken = tls.selected_alpn_protocol() if tls is not None else None
        if spoken == "h2" or not self._more["http1"]:
            channel.connection = self._face.http2(stream, self.origin(url), self._expiry_s)
            channel.shared = self._face.multiplexes
        else:
            clock = self._cluster.balancer.clock
            channel.connection = H1Connection(self._library.core, stream, self._expiry_s, clock, self._face.run)

    def detour(self, channel: Channel, url: Any) -> None:
        """Put httpcore's own connection on a channel: it dials by itself, and is used once."""
        self._check(url)
        context = self._context() if url.scheme == "https" else None
        channel.connection = self._face.httpcore_connection(channel.dialer, self.origin(url), context, self._more)
        channel.retired = True

    def _check(self, url: Any) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise self._library.http.UnsupportedProtocol(f"the request needs a URL with http:// or https://, not {url}")

    def origin(self, url: Any) -> Any:
        """Return httpcore's origin of a URL."""
        port = url.port or (443 if url.scheme == "https" else 80)
        return self._library.core.Origin(url.raw_scheme, url.raw_host, port)

    def _context(self) -> ssl.SSLContext:
        verify = self._options["verify"]
        if isinstance(verify, ssl.SSLContext):
            return verify
        cert = self._options["cert"]
        key = tuple(cert) if isinstance(cert, list) else cert
        return shared_context(self._library, verify, key, self._options["trust_env"], self._http2)

    def _prune(self) -> None:
        self._version = self._cluster.balancer.version
        present = self._cluster.balancer.endpoints()
        for _, pools in list(self._pools.values()):
            for key in [key for key in list(pools) if key[0] not in present]:
                pools.pop(key).close()

    def _forget_ended_homes(self) -> None:
        for number, (owner, _) in list(self._pools.items()):
            home = owner()
            if home is None or (hasattr(home, "is_closed") and home.is_closed()):
                del self._pools[number]

    def close(self) -> None:
        """Close what is idle; what is in use closes as its response ends."""
        self.closed = True
        for _, pools in list(self._pools.values()):
            for pool in list(pools.values()):
                pool.close()

    def before_fork(self) -> None:
        """Nothing to hold: the child forgets the pools whatever their state."""

    def after_fork(self, *, child: bool) -> None:
        """In the child, let go of the parent's connections."""
        if child:
            for _, pools in self._pools.values():
                for pool in pools.values():
                    pool.abandon()
            self._pools.clear()

    # -- transports of the user's own

    def inner_for(self, endpoint: Endpoint) -> Any:
        """Return the user's transport for an endpoint."""
        if hasattr(self.inner, "handle_request") or hasattr(self.inner, "handle_async_request"):
            return self.inner
        transport = self._inner.get(endpoint.id)
        if transport is None:
            transport = self._inner.setdefault(endpoint.id, self.inner(endpoint))
            wanted = "handle_async_request" if self._face.multiplexes else "handle_request"
            if not hasattr(transport, wanted):
                raise ConfigError(f"inner: the transport for {endpoint.id} has no {wanted}; sync and async do not mix")
        return transport

    def inner_transports(self) -> list[Any]:
        """Return the user's transports, to be closed, and forget them."""
        made = list(self._inner.values())
        self._inner.clear()
        return made if callable(self.inner) and not hasattr(self.inner, "close") else [self.inner]

    def rewritten(self, request: Any, body: Any, endpoint: Endpoint, limit: float | None) -> Any:
        """Return a copy of the request that goes to the endpoint's address and still names the logical host."""
        url = request.url
        extensions = dict(request.extensions)
        extensions.pop("lbkit", None)
        if endpoint.host:
            extensions.setdefault("sni_hostname", endpoint.server_name or url.raw_host.decode("ascii"))
            url = url.copy_with(host=endpoint.host, port=endpoint.port)
        if limit is not None:
            given = extensions.get("timeout", {})
            names = ("connect", "read", "write", "pool")
            extensions["timeout"] = {
                name: limit if given.get(name) is None else min(limit, given[name]) for name in names
            }
        stream = request.stream if body is None else body
        copy = self._library.http.Request(
            request.method, url, headers=request.headers, stream=stream, extensions=extensions
        )
        if isinstance(stream, self._library.http.ByteStream):
            copy.read()  # so that mock transports and adapters find `request.content`
        return copy


def _reference(home: Any) -> Any:
    try:
        return weakref.ref(home)
    except TypeError:
        return lambda: home
