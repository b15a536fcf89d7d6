"""A file: somebody else writes it, and the cluster follows. A broken file changes nothing."""

import json
import os
import tempfile
import time
from pathlib import Path

import httpx
from _replicas import Replica, replicas

from lbkit import Cluster, File
from lbkit.httpx import BalancedTransport


def write(path: Path, running: list[Replica]) -> None:
    """Write a new file and rename it into place, so that nobody reads half of one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"endpoints": [{"address": one.address, "weight": 1} for one in running]}))
    os.replace(fresh, path)  # noqa: PTH105 - the name says that it is atomic


with replicas(3) as running, tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "orders.json")
    write(path, running[:2])
    with (
        Cluster("orders", File(path, every=0.05), scheduler="round_robin") as orders,
        httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client,
    ):

        def who_answers() -> list[str]:
            return sorted({client.get("/").text for _ in range(30)})

        print("two are listed:", who_answers())

        write(path, running)
        while len(orders.stats().endpoints) < 3:
            time.sleep(0.01)
        print("a third was added:", who_answers())

        path.write_text('{"endpoints": [')
        while orders.stats().sources[0].state == "live":
            time.sleep(0.01)
        print("the file is broken:", who_answers())
        print(orders.stats().sources[0].problem.removeprefix(f"{directory}/"))
