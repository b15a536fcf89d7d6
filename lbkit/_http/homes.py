"""Where a transport's connections live: per event loop (or for all threads), endpoint and origin.

A connection belongs to the event loop in which it was made, and only code in that loop may touch it. So an async
transport that is used in several loops has connections in each, which are closed when their loop ends, whether or not
the transport was closed. Endpoints that have left the cluster have their idle connections closed at the next request,
and the others as their responses end.
"""

from __future__ import annotations

import functools
import ssl
import threading
import weakref
from collections.abc import AsyncIterator
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

PoolKey = tuple[str, str, bytes, int | None, str | None]
_PARENTS: list[object] = []
"""In the child of a fork: what belongs to the parent's event loops. Collecting it would act on those loops."""


class Home:
    """The pools of one event loop, or of all threads.

    Attributes:
        owner: Returns the event loop, or None once it is gone.
        pools: By endpoint and origin.
        version: Of the membership that the pools fit.
        farewell: The generator by which the loop's end is noticed.
    """

    __slots__ = ("farewell", "owner", "pools", "version")

    def __init__(self, owner: object) -> None:
        try:
            self.owner: Any = weakref.ref(owner)
        except TypeError:
            self.owner = lambda: owner
        self.pools: dict[PoolKey, Pool] = {}
        self.version = -1
        self.farewell: Any = None

    def close(self) -> None:
        """Close idle connections now and the others as their responses end. Only for code in the event loop."""
        for pool in list(self.pools.values()):
            pool.close()
        farewell, self.farewell = self.farewell, None
        if farewell is not None:
            until_done(farewell.aclose())

    async def until_the_loop_ends(self) -> AsyncIterator[None]:
        """Close when this generator is closed: event loops end with closing the generators that are left."""
        try:
            yield
        finally:
            self.farewell = None
            self.close()


@functools.lru_cache(maxsize=64)
def shared_context(
    library: Library, verify: bool | str, cert: Any, trust_env: bool, alpn: tuple[str, ...]
) -> ssl.SSLContext:
    """Return the TLS context for these options: making one takes tens of milliseconds, so it is made once.

    The protocols to offer are part of the key, for they are set on the context itself.
    """
    context: ssl.SSLContext = library.http.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
    context.set_alpn_protocols(list(alpn))
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
        self._alpn = ("h2",) * options["http2"] + ("http/1.1",) * options["http1"]
        self._more = {
            "keepalive_expiry": self._expiry_s, "http1": options["http1"], "http2": options["http2"],
            "local_address": options["local_address"], "socket_options": options["socket_options"],
        }  # fmt: skip
        self._homes: dict[int, Home] = {}
        self._lock = threading.Lock()
        if not face.multiplexes:
            weakref.finalize(self, _close_all, self._homes)  # also when the interpreter ends with the transport open
        self._inner: dict[str, Any] = {}
        self.inner = options["inner"]
        if _is_transport(self.inner):
            self._check_kind(self.inner)
        self.closed = False
        fork.register(self)

    def pool(self, endpoint: Endpoint, url: Any) -> Pool:
        """Return the pool for an endpoint and the origin of a URL."""
        owner = self._face.home()
        home = self._homes.get(id(owner))
        if home is None or home.owner() is not owner:
            home = self._settle(owner)
        if home.version != self._cluster.balancer.version:
            self._prune(home)
        key = (endpoint.id, url.scheme, url.raw_host, url.port, endpoint.server_name)
        pool = home.pools.get(key)
        if pool is None:
            self._check(url)
            rng = self._cluster.balancer.rng
            pool = home.pools.setdefault(key, Pool(self._limits, rng, sharing=self._sharing(url)))
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
        stream = await channel.dialer.dial(context, name, timeout, self._more)
        tls = stream.get_extra_info("ssl_object")
        spoken = tls.selected_alpn_protocol() if tls is not None else None
        if spoken == "h2" or not self._more["http1"]:
            channel.connection = self._face.http2(stream, self.origin(url), self._expiry_s)
            channel.http2 = True
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
            raise self._library.http.UnsupportedProtocol(
                f"the request needs a URL with http:// or https:// and a host; it has {url.scheme!r} and {url.host!r}"
            )

    def origin(self, url: Any) -> Any:
        """Return httpcore's origin of a URL."""
        port = url.port or (443 if url.scheme == "https" else 80)
        return self._library.core.Origin(url.raw_scheme, url.raw_host, port)

    def _context(self) -> ssl.SSLContext:
        verify = self._options["verify"]
        if isinstance(verify, ssl.SSLContext):
            verify.set_alpn_protocols(list(self._alpn))  # a context of the user's own: shared by whom, we do not know
            return verify
        cert = self._options["cert"]
        key = tuple(cert) if isinstance(cert, list) else cert
        return shared_context(self._library, verify, key, self._options["trust_env"], self._alpn)

    def _settle(self, owner: object) -> Home:
        with self._lock:
            home = self._homes.get(id(owner))
            if home is None or home.owner() is not owner:  # or another loop had this address before
                for number in [number for number, other in self._homes.items() if _has_ended(other.owner())]:
                    del self._homes[number]
                home = self._homes[id(owner)] = Home(owner)
                if self._face.multiplexes:
                    home.farewell = home.until_the_loop_ends()
                    until_done(home.farewell.__anext__())
            return home

    def _prune(self, home: Home) -> None:
        home.version = self._cluster.balancer.version
        present = self._cluster.balancer.endpoints()
        for key in [key for key in list(home.pools) if key[0] not in present]:
            pool = home.pools.pop(key, None)
            if pool is not None:
                pool.close()

    def pools(self) -> list[Pool]:
        """Return all pools."""
        return [pool for home in list(self._homes.values()) for pool in list(home.pools.values())]

    def close(self) -> None:
        """Close what is idle; what is in use closes as its response ends. Safe in any thread; again does nothing."""
        self.closed = True
        with self._lock:
            homes = list(self._homes.values())
            self._homes.clear()
        for home in homes:
            self._face.in_home(home.owner(), home.close)

    def before_fork(self) -> None:
        """Nothing to hold: the child forgets the pools whatever their state."""

    def after_fork(self, *, child: bool) -> None:
        """In the child, let go of the parent's connections."""
        if child:
            self._lock = threading.Lock()
            for pool in self.pools():
                pool.abandon()
            _PARENTS.extend(self._inner.values())
            self._inner.clear()
            if self._face.multiplexes:
                _PARENTS.extend(self._homes.values())
            self._homes.clear()

    # -- transports of the user's own

    def inner_for(self, endpoint: Endpoint) -> Any:
        """Return the user's transport for an endpoint."""
        if _is_transport(self.inner):
            return self.inner
        transport = self._inner.get(endpoint.id)
        if transport is None:
            transport = self.inner(endpoint)
            self._check_kind(transport, f" for {endpoint.id}")
            transport = self._inner.setdefault(endpoint.id, transport)
        return transport

    def _check_kind(self, transport: Any, where: str = "") -> None:
        wanted = "handle_async_request" if self._face.multiplexes else "handle_request"
        if not hasattr(transport, wanted):
            raise ConfigError(f"inner: the transport{where} has no {wanted}; sync and async do not mix")

    def inner_transports(self) -> list[Any]:
        """Return the user's transports, to be closed, and forget them."""
        made = list(self._inner.values())
        self._inner.clear()
        return [self.inner] if _is_transport(self.inner) else made

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


def _is_transport(inner: Any) -> bool:
    return hasattr(inner, "handle_request") or hasattr(inner, "handle_async_request")


def _has_ended(loop: Any) -> bool:
    return loop is None or (hasattr(loop, "is_closed") and loop.is_closed())


def _close_all(homes: dict[int, Home]) -> None:
    for home in homes.values():
        home.close()


def until_done(awaitable: Any) -> None:
    """Run something that never suspends."""
    try:
        awaitable.send(None)
    except StopIteration:
        return
    raise RuntimeError("it suspended")
