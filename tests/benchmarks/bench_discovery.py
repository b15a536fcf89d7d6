"""What following sources costs while nothing changes: 100 clusters of 100 endpoints in one process. Run by hand.

    python tests/benchmarks/bench_discovery.py [--quick] [--json FILE]

With a real Knot DNS (SRV records with a TTL of 30 s) and a real Consul (blocking queries of 60 s). The figure is the CPU
time of this process over the wall time; the servers are processes of their own.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from lbkit import Cluster
from lbkit.discovery import Consul, DnsSrv
from tests.benchmarks.pairing import Report, arguments
from tests.rigs.consul import Consul as Agent
from tests.rigs.knot import Knot

CLUSTERS = 100
ENDPOINTS = 100
TTL = 30
QUICK_S, FULL_S = 10.0, 65.0
"""How long each is watched; the full time has two refreshes of every DNS name and one wait of every Consul query."""


def by_dns(knot: Knot) -> Sequence[Cluster]:
    """Publish the names, and return the clusters that follow them."""
    addresses = {f"h{number}": [f"127.0.1.{number}"] for number in range(ENDPOINTS)}
    for number in range(CLUSTERS):
        records = [f"10 10 8080 h{host}" for host in range(ENDPOINTS)]
        knot.replace(f"_s{number}._tcp", "SRV", records, addresses=addresses if not number else None, ttl=TTL)
    return [
        Cluster(f"s{number}", DnsSrv(f"_s{number}._tcp.test.lb", nameservers=(knot.nameserver,)))
        for number in range(CLUSTERS)
    ]


def by_consul(agent: Agent) -> Sequence[Cluster]:
    """Register the instances, and return the clusters that follow them."""

    def register(number: int) -> None:
        service, host = divmod(number, ENDPOINTS)
        agent.register(f"i{number}", 8080, service=f"s{service}", address=f"127.0.1.{host}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(register, range(CLUSTERS * ENDPOINTS)))
    return [Cluster(f"s{number}", Consul(f"s{number}", agent=agent.url)) for number in range(CLUSTERS)]


def measure(report: Report, what: str, clusters: Sequence[Cluster], seconds: float) -> None:
    """Follow, wait until all is there, and measure."""
    before = threading.active_count()
    began_cpu_s, began_s = time.process_time(), time.monotonic()
    for cluster in clusters:
        cluster.open()
    for cluster in clusters:
        cluster.wait_ready(60.0)
    start_cpu_s, start_s = time.process_time() - began_cpu_s, time.monotonic() - began_s
    known = {len(cluster.stats().endpoints) for cluster in clusters}
    if known != {ENDPOINTS}:
        raise RuntimeError(f"expected {ENDPOINTS} endpoints in each cluster, not {known}")
    time.sleep(2.0)
    cpu_s, wall_s = time.process_time(), time.monotonic()
    time.sleep(seconds)
    share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    threads = threading.active_count() - before
    report.head(f"{CLUSTERS} clusters of {ENDPOINTS} endpoints by {what}, nothing changes for {seconds:g} s")
    report.add("CPU of a core", [100 * share], unit="%", bound="< 2")
    report.add("threads", [threads], unit="", bound="<= 1")
    report.add("CPU for the first answers of all", [start_cpu_s], unit="s")
    report.add("time until all are known", [start_s], unit="s")
    for cluster in clusters:
        cluster.close()


def main() -> None:
    """Measure both."""
    options = arguments(__doc__)
    seconds = QUICK_S if options.quick else FULL_S
    report = Report("bench_discovery")
    kinds: tuple[tuple[str, Callable[[], object], Callable[..., Sequence[Cluster]]], ...] = (
        ("DNS", Knot, by_dns),
        ("Consul", Agent, by_consul),
    )
    for what, server, clusters in kinds:
        with server() as running:  # type: ignore[attr-defined]
            measure(report, what, clusters(running), seconds)
    report.end(options.json)


if __name__ == "__main__":
    main()
