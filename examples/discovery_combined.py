"""Several sources as one: a fallback for when the first has nothing, and a union with a tier that stands by."""

import tempfile
import time
from pathlib import Path

import httpx
from _replicas import replicas

from lbkit import Cluster, Endpoint, Fallback, File, Merged, Static
from lbkit.httpx import BalancedTransport


def who_answers(cluster: Cluster) -> list[str]:
    with httpx.Client(transport=BalancedTransport(cluster), base_url="http://orders") as client:
        return sorted({client.get("/").text for _ in range(30)})


with replicas(3) as (ours, other, spare), tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "orders.toml")

    # The file is not there yet, so the list that is written down counts.
    with Cluster("orders", Fallback(File(path, every=0.05), Static(spare.address)), scheduler="round_robin") as orders:
        print("fallback, no file:", who_answers(orders))
        path.write_text(f'endpoints = ["{ours.address}", "{other.address}"]')
        while len(orders.stats().endpoints) < 2:
            time.sleep(0.01)
        print("fallback, with a file:", who_answers(orders))

    # Both count at once. The spare is of another tier: it gets requests when no replica of the file is usable.
    merged = Merged(File(path, every=0.05), Static(Endpoint.parse(spare.address, priority=1)))
    with Cluster("orders", merged, scheduler="round_robin") as orders:
        print("merged, all well:", who_answers(orders))
        ours.kill()
        other.kill()
        print("merged, the file's are dead:", who_answers(orders))
