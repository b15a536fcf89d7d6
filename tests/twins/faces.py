"""Six faces of one integration, seen as one shape, so that a scenario is written once.

A scenario is a coroutine function that takes a `Face`. Under asyncio and trio it runs in an event loop; under the
blocking face nothing in it suspends, because the adapters below call the blocking client, so it is run to its end with
one `send`. What runs at the same time goes through `Face.together`: threads, or tasks.
"""

import asyncio
import contextlib
import importlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

import anyio
import trio


@dataclass(frozen=True)
class Face:
    """One HTTP library under one way of running code."""

    library: str
    kind: str
    """sync, asyncio or trio."""

    def __str__(self) -> str:
        return f"{self.library}-{self.kind}"

    @property
    def http(self) -> Any:
        """The HTTP library."""
        return importlib.import_module(self.library)

    @property
    def core(self) -> Any:
        """What the HTTP library is built on."""
        return importlib.import_module(self.library.replace("httpx", "httpcore"))

    @property
    def sync(self) -> bool:
        """Whether it is the blocking face."""
        return self.kind == "sync"

    def run(self, scenario: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        """Run a scenario to its end."""
        if self.kind == "asyncio":
            return asyncio.run(scenario(*args))
        if self.kind == "trio":
            return trio.run(scenario, *args)
        coroutine = scenario(*args)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("a scenario suspended under the blocking face")

    def transport(self, cluster: Any, **options: Any) -> Any:
        """The balanced transport."""
        module = importlib.import_module(f"lbkit.{self.library}")
        return (module.BalancedTransport if self.sync else module.AsyncBalancedTransport)(cluster, **options)

    def client(self, transport: Any, **options: Any) -> "Client":
        """A client on a transport; `async with` it."""
        options = {"base_url": "http://orders", "timeout": 5.0, "trust_env": False} | options
        kind = self.http.Client if self.sync else self.http.AsyncClient
        return Client(self, kind(transport=transport, **options))

    def balanced(self, cluster: Any, *, client: dict[str, Any] | None = None, **options: Any) -> "Client":
        """A client on a balanced transport with these options."""
        return self.client(self.transport(cluster, **options), **(client or {}))

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        if self.sync:
            time.sleep(seconds)
        else:
            await anyio.sleep(seconds)

    async def together(self, *works: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run all at the same time; the results, exceptions among them, in order."""
        results: list[Any] = [None] * len(works)

        async def one(at: int) -> None:
            try:
                results[at] = await works[at]()
            except Exception as error:
                results[at] = error

        if self.sync:
            threads = [
                threading.Thread(target=self.run, args=(one, at), name=f"together-{at}") for at in range(len(works))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            async with anyio.create_task_group() as group:
                for at in range(len(works)):
                    group.start_soon(one, at)
        return results

    async def eventually(self, predicate: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until something is true."""
        end = time.monotonic() + timeout
        while not predicate():
            assert time.monotonic() < end, f"not true within {timeout} s"
            await self.sleep(0.005)


class Client:
    """A client of either kind with one interface."""

    def __init__(self, face: Face, raw: Any) -> None:
        self.face = face
        self.raw = raw

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request and read its response."""
        if self.face.sync:
            return self.raw.request(method, url, **options)
        return await self.raw.request(method, url, **options)

    async def get(self, url: str = "/", **options: Any) -> Any:
        """GET."""
        return await self.request("GET", url, **options)

    async def post(self, url: str = "/", **options: Any) -> Any:
        """POST."""
        return await self.request("POST", url, **options)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request that was made by hand."""
        return self.raw.send(request, **options) if self.face.sync else await self.raw.send(request, **options)

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator["Streaming"]:
        """Send a request and leave its response open."""
        if self.face.sync:
            with self.raw.stream(method, url, **options) as response:
                yield Streaming(self.face, response)
        else:
            async with self.raw.stream(method, url, **options) as response:
                streaming = Streaming(self.face, response)
                try:
                    yield streaming
                finally:
                    await streaming.close_parts()

    async def close(self) -> None:
        """Close the client and its transport."""
        if self.face.sync:
            self.raw.close()
        else:
            await self.raw.aclose()

    async def __aenter__(self) -> Self:
        if self.face.sync:
            self.raw.__enter__()
        else:
            await self.raw.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.face.sync:
            self.raw.__exit__(*error)
        else:
            await self.raw.__aexit__(*error)


class Streaming:
    """An open response of either kind."""

    def __init__(self, face: Face, raw: Any) -> None:
        self.face = face
        self.raw = raw
        self._open: Any = None

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes; to be read to its end."""
        if self.face.sync:
            for part in self.raw.iter_raw():
                yield part
        else:
            async for part in self.raw.aiter_raw():
                yield part

    async def first_part(self) -> bytes:
        """The first part of the body; the response stays open."""
        self._open = iter(self.raw.stream) if self.face.sync else aiter(self.raw.stream)
        return next(self._open) if self.face.sync else await anext(self._open)

    async def rest(self) -> bytes:
        """What comes after the first part."""
        return b"".join(self._open) if self.face.sync else b"".join([part async for part in self._open])

    async def close_parts(self) -> None:
        """Close the iterator of `first_part`: trio warns of generators that are left to the collector."""
        if hasattr(self._open, "aclose"):
            await self._open.aclose()

    async def read(self) -> bytes:
        """The whole body."""
        return self.raw.read() if self.face.sync else await self.raw.aread()

    async def close(self) -> None:
        """Close it early."""
        if self.face.sync:
            self.raw.close()
        else:
            await self.raw.aclose()


LIBRARIES = ("httpx", "httpx2")
KINDS = ("sync", "asyncio", "trio")
FACES = tuple(Face(library, kind) for library in LIBRARIES for kind in KINDS)


def in_flight(cluster: Any) -> int:
    """Requests under way in the whole cluster, as it sees it."""
    return sum(endpoint.in_flight for endpoint in cluster.stats().endpoints)


def attempts(cluster: Any) -> int:
    """Attempts sent so far."""
    return cluster.stats().attempts
