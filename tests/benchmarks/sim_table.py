"""Print the p99 latency of every scheduler, as a multiple of that of one central queue with the same servers.

    python tests/benchmarks/sim_table.py [requests per run, 300000 by default]

100 servers, 50 clients that know only what they saw themselves, 0.9 of the capacity, virtual time: one to three
minutes on two cores. The cells are those of `tests/simulation/world.py`. With 300,000 requests a figure is good to
about 3 %, in the antag cells 6 %. Random and round robin drown slow servers: these figures grow with the run.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from lbkit.scheduler import LeastRequest, PeakEwma, Random, RoundRobin, ShortestExpectedDelay
from tests.simulation.world import cell, central_queue, rate_for, simulate

SERVERS, CLIENTS, LOAD, SEED = 100, 50, 0.9, 1
CELLS = ["fifo1 homog", "fifo1 slow", "fifo1 antag", "fifo8 homog", "fifo8 slow", "fifo8 antag"]
SCHEDULERS = {
    "random": Random(),
    "round robin": RoundRobin(),
    "least requests, 2 choices": LeastRequest(),
    "least requests, all": LeastRequest(choices=None),
    "peak EWMA": PeakEwma(),
    "shortest expected delay": ShortestExpectedDelay(),
}


def tail(kind: str, scheduler: str, requests: int) -> float:
    servers = cell(kind, SERVERS, SEED)
    rate = rate_for(servers, LOAD)
    if scheduler == "central":
        return central_queue(servers, rate=rate, requests=requests, seed=SEED).p99
    chosen = SCHEDULERS[scheduler]
    return simulate(servers, scheduler=chosen, rate=rate, requests=requests, clients=CLIENTS, seed=SEED).p99


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    names = ["central", *SCHEDULERS]
    print(f"p99 at {LOAD} of the capacity, {SERVERS} servers, {CLIENTS} clients, {requests} requests a run\n")
    print(f"| {'cell':<12} | central, service times | " + " | ".join(SCHEDULERS) + " |")
    print("|---|" + "---|" * len(names), flush=True)
    with ProcessPoolExecutor(2) as pool:
        rows = [[pool.submit(tail, kind, name, requests) for name in names] for kind in CELLS]
        for kind, row in zip(CELLS, rows, strict=True):
            bound, *others = [future.result() for future in row]
            ratios = " | ".join(f"{one / bound:.1f}" for one in others)
            print(f"| {kind:<12} | {bound:.1f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
