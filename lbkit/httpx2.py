"""Transports for `httpx2`: hand one to a client, and its requests are balanced over a cluster.

    client = httpx2.Client(transport=BalancedTransport(cluster), base_url="http://orders")
    client = httpx2.AsyncClient(transport=AsyncBalancedTransport(cluster), base_url="http://orders")

The host in the URL is the logical name of the service: it is what Host, cookies, redirects and certificates go by.
Which endpoint a request goes to is the cluster's choice. The options of both are those of `TransportOptions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Unpack

try:
    import httpcore2
    import httpx2
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "lbkit.httpx2 needs httpx2: pip install 'lbkit-client[httpx2]'", name=error.name
    ) from error

from lbkit._http.library import Library
from lbkit._http.options import TransportOptions
from lbkit._http.transport import async_core, run, sync_core

if TYPE_CHECKING:
    from lbkit.runtime.cluster import Cluster

__all__ = ["AsyncBalancedTransport", "BalancedTransport", "TransportOptions"]

_LIBRARY = Library(httpx2, httpcore2)


class BalancedTransport(httpx2.BaseTransport):
    """A transport for `httpx2.Client`. Thread-safe.

    Args:
        cluster: Whose endpoints to use. The transport does not close it.
        options: See `TransportOptions`.

    Raises:
        ConfigError: An option is unknown or out of range.
    """

    def __init__(self, cluster: Cluster, **options: Unpack[TransportOptions]) -> None:
        self._core = sync_core(_LIBRARY, cluster, dict(options))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; called by the client."""
        self._core.check(request)
        response: httpx2.Response = run(self._core.exchange.send(request))
        return response

    def close(self) -> None:
        """Close idle connections now and the others as their responses end; called by the client."""
        self._core.homes.close()
        for transport in self._core.homes.inner_transports():
            if transport is not None:
                transport.close()

    async def handle_async_request(self, request: Any) -> NoReturn:  # noqa: ARG002
        """Refuse an async client in words."""
        raise TypeError("BalancedTransport is for httpx2.Client: give AsyncBalancedTransport to httpx2.AsyncClient")

    async def __aenter__(self) -> NoReturn:
        raise TypeError("BalancedTransport is for httpx2.Client: give AsyncBalancedTransport to httpx2.AsyncClient")

    async def __aexit__(self, *error: object) -> None:
        """Part of the refusal."""


class AsyncBalancedTransport(httpx2.AsyncBaseTransport):
    """A transport for `httpx2.AsyncClient`, under asyncio or trio.

    Args:
        cluster: Whose endpoints to use. The transport does not close it.
        options: See `TransportOptions`.

    Raises:
        ConfigError: An option is unknown or out of range.
    """

    def __init__(self, cluster: Cluster, **options: Unpack[TransportOptions]) -> None:
        self._core = async_core(_LIBRARY, cluster, dict(options))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; called by the client."""
        self._core.check(request)
        response: httpx2.Response = await self._core.exchange.send(request)
        return response

    async def aclose(self) -> None:
        """Close idle connections now and the others as their responses end; called by the client."""
        self._core.homes.close()
        for transport in self._core.homes.inner_transports():
            if transport is not None:
                await transport.aclose()

    def handle_request(self, request: Any) -> NoReturn:  # noqa: ARG002
        """Refuse a blocking client in words."""
        raise TypeError("AsyncBalancedTransport is for httpx2.AsyncClient: give BalancedTransport to httpx2.Client")

    def __enter__(self) -> NoReturn:
        raise TypeError("AsyncBalancedTransport is for httpx2.AsyncClient: give BalancedTransport to httpx2.Client")

    def __exit__(self, *error: object) -> None:
        """Part of the refusal."""
