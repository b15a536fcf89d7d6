"""lbkit's transport against bare httpx, httpx2, httpx over aiohttp, HAProxy and nginx. Run by hand; takes minutes.

    python tests/benchmarks/bench_http.py [--quick] [--only bare aiohttp httpx2 proxies] [--json FILE]

Four replicas, which one nginx plays on loopback with a small answer. CPU is user and system time of this process, per
request. The bare clients go to one of the replicas; lbkit's go to all four, so they do more.
"""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.clients import (
    PATH,
    AiohttpTransport,
    Proxied,
    async_block,
    cluster,
    sync_block,
    thread_block,
)
from tests.benchmarks.pairing import Block, Report, arguments, interleave
from tests.rigs.proxies import haproxy_proxy, nginx_proxy, nginx_replicas

MANY = 64
LOGICAL = f"http://orders{PATH}"


class Bench:
    """One run: the replicas, the loop that all async clients share, the length of a block and the number of rounds."""

    def __init__(self, report: Report, addresses: Sequence[str], *, quick: bool) -> None:
        self.report = report
        self.addresses = addresses
        self.rounds = 5 if quick else 17
        self.block_s = 0.1 if quick else 0.3
        self.many_block_s = 0.4 if quick else 0.7
        self._runner = asyncio.Runner()
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close_clients()
        self._runner.close()

    def close_clients(self) -> None:
        """Close what the last group opened."""
        self._ends.close()

    def client(self, library: Any, transport: Any = None, **options: Any) -> Any:
        """Make a blocking client."""
        return self._ends.enter_context(library.Client(transport=transport, trust_env=False, **options))

    def aclient(self, library: Any, transport: Any = None, **options: Any) -> Any:
        """Make an async client."""
        client = library.AsyncClient(transport=transport, trust_env=False, **options)
        self._ends.callback(lambda: self._runner.run(client.aclose()))
        return client

    def one(self, client: Any, url: str, proxy: Any = None) -> Callable[[], Block]:
        """A block of a blocking client, one request at a time."""
        return partial(sync_block, partial(client.get, url), self.block_s, Proxied(proxy))

    def threads(self, client: Any, url: str) -> Callable[[], Block]:
        """A block of a blocking client in many threads."""
        return partial(thread_block, partial(client.get, url), self.many_block_s, MANY)

    def tasks(self, client: Any, url: str, tasks: int, proxy: Any = None) -> Callable[[], Block]:
        """A block of an async client."""
        seconds = self.block_s if tasks == 1 else self.many_block_s
        return lambda: self._runner.run(async_block(partial(client.get, url), seconds, tasks, Proxied(proxy)))

    def run(self, alternatives: dict[str, Callable[[], Block]]) -> dict[str, list[Block]]:
        """Run the alternatives in pairs."""
        return interleave(alternatives, self.rounds)

    def bare(self, name: str) -> None:
        """Against a bare client of `name`, httpx or httpx2, that goes to one host."""
        library, ours = importlib.import_module(name), importlib.import_module(f"lbkit.{name}")
        report, host = self.report, f"http://{self.addresses[0]}{PATH}"
        aimed = name == "httpx"  # for httpx2 it is said as it is
        report.head(f"bare {name} to one host; lbkit.{name} over {len(self.addresses)} replicas: ratio lbkit / bare")

        def balanced() -> Any:
            return self.client(library, ours.BalancedTransport(cluster(self.addresses)))

        def abalanced(**options: Any) -> Any:
            return self.aclient(library, ours.AsyncBalancedTransport(cluster(self.addresses), **options))

        def tell(what: str, alternatives: dict[str, Callable[[], Block]], cpu: str, rate: str) -> None:
            runs = self.run(alternatives)
            one, other = list(alternatives)
            report.ratio(f"{name}, {what}: CPU per request", runs, one, other, "cpu_us", bound=cpu if aimed else "")
            report.ratio(f"{name}, {what}: throughput", runs, one, other, "throughput", bound=rate if aimed else "")
            report.absolute(runs)

        pair = {"lbkit": self.one(balanced(), LOGICAL), "bare": self.one(self.client(library), host)}
        tell("sync, 1 at a time", pair, "<= 0.75", "")
        pair = {"lbkit": self.tasks(abalanced(), LOGICAL, 1), "bare": self.tasks(self.aclient(library), host, 1)}
        tell("async, 1 at a time", pair, "<= 0.75", "")
        pair = {"lbkit": self.tasks(abalanced(), LOGICAL, MANY), "bare": self.tasks(self.aclient(library), host, MANY)}
        tell(f"async, {MANY} at a time, default limits", pair, "<= 1", ">= 3")
        unlimited = library.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=5.0)
        pair = {
            "lbkit": self.tasks(abalanced(limits=unlimited), LOGICAL, MANY),
            "bare": self.tasks(self.aclient(library, limits=unlimited), host, MANY),
        }
        tell(f"async, {MANY} at a time, no limits", pair, "<= 1", ">= 3")
        pair = {"lbkit": self.threads(balanced(), LOGICAL), "bare": self.threads(self.client(library), host)}
        tell(f"sync, {MANY} threads", pair, "", "")

    def aiohttp(self) -> None:
        """Against httpx over aiohttp."""
        httpx, ours = importlib.import_module("httpx"), importlib.import_module("lbkit.httpx")
        report, host = self.report, f"http://{self.addresses[0]}{PATH}"
        report.head("httpx over aiohttp to one host, no limits; lbkit over four replicas: ratio lbkit / aiohttp")
        for tasks, rate in ((MANY, ">= 1"), (1, "")):
            runs = self.run({
                "lbkit": self.tasks(
                    self.aclient(httpx, ours.AsyncBalancedTransport(cluster(self.addresses))), LOGICAL, tasks
                ),
                "over aiohttp": self.tasks(self.aclient(httpx, AiohttpTransport()), host, tasks),
            })  # fmt: skip
            what = f"httpx over aiohttp, {tasks} at a time"
            report.ratio(f"{what}: throughput", runs, "lbkit", "over aiohttp", "throughput", bound=rate)
            report.ratio(f"{what}: CPU per request", runs, "lbkit", "over aiohttp", "cpu_us")
            report.absolute(runs)

    def proxies(self) -> None:
        """Against the same client through a proxy in front of the same replicas."""
        httpx, ours = importlib.import_module("httpx"), importlib.import_module("lbkit.httpx")
        report = self.report
        report.head(
            "bare httpx through a proxy; lbkit without one: ratio lbkit / proxy, CPU of client and proxy together"
        )
        with haproxy_proxy(self.addresses) as haproxy, nginx_proxy(self.addresses) as nginx:
            hops = {"HAProxy": haproxy, "nginx": nginx}

            def tell(what: str, ways: dict[str, Callable[[], Block]]) -> None:
                runs = self.run(ways)
                for way in list(ways)[1:]:
                    bound = "" if "lbkit" in way else "< 1"
                    report.ratio(f"{way}, {what}: total CPU", runs, "lbkit", way, "total_cpu_us", bound=bound)
                    report.ratio(f"{way}, {what}: p50 latency", runs, "lbkit", way, "p50_ms", bound=bound)
                report.absolute(runs)

            def through(proxy: Any) -> str:
                return f"http://{proxy.address}{PATH}"

            ways = {
                "lbkit": self.one(self.client(httpx, ours.BalancedTransport(cluster(self.addresses))), LOGICAL),
                **{name: self.one(self.client(httpx), through(hop), hop) for name, hop in hops.items()},
            }  # fmt: skip
            tell("sync, 1 at a time", ways)
            for tasks in (1, MANY):
                ways = {
                    "lbkit": self.tasks(
                        self.aclient(httpx, ours.AsyncBalancedTransport(cluster(self.addresses))), LOGICAL, tasks
                    ),
                    **{
                        name: self.tasks(self.aclient(httpx), through(hop), tasks, hop) for name, hop in hops.items()
                    },
                    # What the hop alone costs, with httpx's pool out of the comparison.
                    **{
                        f"{name} behind lbkit's transport": self.tasks(
                            self.aclient(httpx, ours.AsyncBalancedTransport(cluster([hop.address]))),
                            LOGICAL, tasks, hop,
                        )
                        for name, hop in hops.items()
                    },
                }  # fmt: skip
                tell(f"async, {tasks} at a time", ways)


@contextlib.contextmanager
def bench(report: Report, *, quick: bool) -> Iterator[Bench]:
    """Start the replicas, and end everything afterwards."""
    with nginx_replicas(4) as replicas, Bench(report, replicas.addresses, quick=quick) as run:
        yield run


def main() -> None:
    """Run the groups that were asked for."""
    groups: dict[str, Callable[[Bench], None]] = {
        "bare": lambda run: run.bare("httpx"),
        "aiohttp": Bench.aiohttp,
        "httpx2": lambda run: run.bare("httpx2"),
        "proxies": Bench.proxies,
    }
    options = arguments(__doc__.partition("\n")[0], groups=list(groups))
    report = Report("bench_http")
    with bench(report, quick=options.quick) as run:
        for name in options.only:
            groups[name](run)
            run.close_clients()
    report.end(options.json)


if __name__ == "__main__":
    main()
