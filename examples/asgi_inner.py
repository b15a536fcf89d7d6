"""`inner=`: another transport does the sending. Here an ASGI application per endpoint, with no network at all."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from lbkit import Cluster, Endpoint
from lbkit.httpx import AsyncBalancedTransport

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def application(name: str, status: int = 200) -> App:
    """Make a small ASGI application."""

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:  # noqa: ARG001
        host = dict(scope["headers"])[b"host"].decode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": f"{name} for {host}".encode()})

    return app


APPS = {"a:80": application("a"), "b:80": application("b"), "c:80": application("c", status=503)}


def inner(endpoint: Endpoint) -> httpx.ASGITransport:
    """Make the transport of one endpoint; called once for each."""
    return httpx.ASGITransport(app=APPS[endpoint.id])


async def main() -> None:
    orders = Cluster("orders", list(APPS), scheduler="round_robin")
    transport = AsyncBalancedTransport(orders, inner=inner)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
        answers = Counter([(await client.get("/v1/orders/42")).text for _ in range(60)])
    print("answers:", sorted(answers))
    print(orders.stats())


asyncio.run(main())
