"""What the HTTP benchmark pairs: bare clients, balanced clients, httpx over aiohttp; and how a block of each is run.

Every client is one object for the whole run, so that its connections are warm, as in a service. A block lasts a fixed
time. The clients differ in their transport alone: all of httpx above it is the same, and costs the same.
"""

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from yarl import URL

from lbkit import Cluster
from tests.benchmarks.pairing import Block

PATH = "/v1/orders/42"


class Proxied:
    """CPU time of proxy processes, in nanosecond steps where the kernel tells them, in its ticks elsewhere."""

    def __init__(self, proxy: Any = None) -> None:
        self._proxy = proxy

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far."""
        if self._proxy is None:
            return 0.0
        try:
            return sum(
                int((task / "schedstat").read_text().split()[0]) / 1e9
                for pid in self._proxy.pids
                for task in Path(f"/proc/{pid}/task").iterdir()
            )
        except OSError:
            return float(self._proxy.cpu_s())


NO_PROXY = Proxied()


def sync_block(get: Callable[[], Any], seconds: float, proxy: Proxied = NO_PROXY) -> Block:
    """Send one request after the other."""
    for _ in range(3):
        get()
    times = []
    more, cpu, start = proxy.cpu_s(), time.process_time(), time.perf_counter()
    end, before = start + seconds, start
    while before < end:
        get()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    cpu, wall = time.process_time() - cpu, before - start
    return Block(len(times), wall, cpu, proxy.cpu_s() - more, statistics.median(times))


def thread_block(get: Callable[[], Any], seconds: float, threads: int) -> Block:
    """Send from so many threads at once; requests that fail are counted."""
    times: list[float] = []
    errors: list[Exception] = []

    def work(end: float) -> None:
        before = time.perf_counter()
        while before < end:
            try:
                get()
            except Exception as error:  # a thread that ended would leave its share to the others
                errors.append(error)
            now = time.perf_counter()
            times.append(now - before)
            before = now

    def run(duration: float) -> float:
        start = time.perf_counter()
        workers = [threading.Thread(target=work, args=(start + duration,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    run(0.05)
    times.clear()
    cpu = time.process_time()
    wall = run(seconds)
    cpu = time.process_time() - cpu
    return Block(len(times), wall, cpu, p50_s=statistics.median(times), errors=len(errors))


async def async_block(
    get: Callable[[], Awaitable[Any]], seconds: float, tasks: int, proxy: Proxied = NO_PROXY
) -> Block:
    """Send from so many tasks at once, each one request after the other."""
    times: list[float] = []

    async def work(end: float) -> None:
        before = time.perf_counter()
        while before < end:
            await get()
            now = time.perf_counter()
            times.append(now - before)
            before = now

    async def run(duration: float) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(work(start + duration) for _ in range(tasks)))
        return time.perf_counter() - start

    await run(0.02)
    times.clear()
    more, cpu = proxy.cpu_s(), time.process_time()
    wall = await run(seconds)
    cpu = time.process_time() - cpu
    return Block(len(times), wall, cpu, proxy.cpu_s() - more, statistics.median(times))


def cluster(addresses: Sequence[str]) -> Cluster:
    """Make a cluster with every default."""
    return Cluster("orders", list(addresses))


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx over aiohttp: what one can do today against httpx's pool. Bodies are read whole, as lbkit's small ones."""

    def __init__(self, connections: int = 0) -> None:
        self._connections = connections  # 0: no limit
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send through aiohttp; what httpx does above a transport, aiohttp is told to leave."""
        session = self._session
        if session is None:
            session = self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=5),  # httpx's own figures
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        async with session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=request.headers.multi_items(),
            data=await request.aread() or None,
            allow_redirects=False,
        ) as response:
            content = await response.read()
            return httpx.Response(response.status, headers=response.raw_headers, stream=httpx.ByteStream(content))

    async def aclose(self) -> None:
        """Close aiohttp's session."""
        if self._session is not None:
            await self._session.close()
