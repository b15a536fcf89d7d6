"""Steady traffic over a cluster while something happens to its discovery: what the application saw."""

import time
from collections import Counter
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpx

from lbkit.httpx import AsyncBalancedTransport


class Steady:
    """Requests at a fixed rate, each counted by its answer or by its error."""

    def __init__(self, cluster, *, rate=20.0):
        self.cluster = cluster
        self.rate = rate
        self.ends = Counter()
        self.worst_s = 0.0
        self.served = Counter()
        self._stop = False

    async def run(self):
        async with httpx.AsyncClient(
            transport=AsyncBalancedTransport(self.cluster), base_url="http://orders", timeout=5.0
        ) as client:
            async with anyio.create_task_group() as group:
                due = time.monotonic()
                while not self._stop:
                    group.start_soon(self._ask, client)
                    due += 1.0 / self.rate
                    await anyio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, client):
        began = time.monotonic()
        try:
            response = await client.get("/")
            self.ends[response.status_code] += 1
            self.served[response.extensions["lbkit"]["endpoint"]] += 1
        except Exception as error:
            self.ends[repr(error)] += 1
        self.worst_s = max(self.worst_s, time.monotonic() - began)

    def stop(self):
        self._stop = True


@asynccontextmanager
async def steady(*clusters, rate=20.0):
    """Have traffic over each of the clusters while the body runs; gives one `Steady` for each."""
    loads = [Steady(cluster, rate=rate) for cluster in clusters]
    async with anyio.create_task_group() as group:
        for load in loads:
            group.start_soon(load.run)
        try:
            yield loads
        finally:
            for load in loads:
                load.stop()


async def eventually(condition, timeout=15.0):
    """Wait until it holds; returns the seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not come to pass"
        await anyio.sleep(0.005)
    return time.monotonic() - began


def shown(cluster):
    """The addresses that a cluster has now."""
    return {one.endpoint for one in cluster.stats().endpoints}


async def watch_changes(cluster, publish, servers, *, times, apart_s):
    """Publish two and three servers in turn under traffic; returns how long each change took to be seen.

    No request may fail, and of the last three hundred each of the three servers must have had its share.
    """
    waits_s = []
    async with cluster, steady(cluster, rate=100.0) as [load]:
        await eventually(lambda: len(shown(cluster)) == 2)
        for number in range(times):
            present = servers[:2] if number % 2 else servers
            await anyio.sleep(apart_s)
            await anyio.to_thread.run_sync(publish, present)
            wanted = {one.address for one in present}
            waits_s.append(await eventually(lambda wanted=wanted: shown(cluster) == wanted))
        await anyio.to_thread.run_sync(publish, servers)
        await eventually(lambda: len(shown(cluster)) == 3)
        load.served.clear()
        await eventually(lambda: load.served.total() >= 300)
    assert set(load.ends) == {200}
    assert min(load.served.values()) >= 0.8 * load.served.total() / 3
    return waits_s
