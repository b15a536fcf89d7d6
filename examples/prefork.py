"""A forking server: the parent makes the client, and the children use it, each with connections of its own."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx

from lbkit import Cluster
from lbkit.httpx import BalancedTransport

# The replicas run elsewhere: a process that forks should have no other threads.
command = [sys.executable, str(Path(__file__).with_name("_replicas.py")), "2"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as elsewhere:  # noqa: S603
    assert elsewhere.stdin is not None
    assert elsewhere.stdout is not None
    orders = Cluster("orders", elsewhere.stdout.readline().split())
    client = httpx.Client(transport=BalancedTransport(orders), base_url="http://orders")
    print("parent, before:", client.get("/").status_code, flush=True)

    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            names = Counter(client.get("/").text for _ in range(100))
            print(f"child {number}: {names.total()} answers", flush=True)
            os._exit(0)
        children.append(pid)

    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    print("children ended with", statuses, flush=True)
    print("parent, after:", client.get("/").status_code)
    client.close()
    elsewhere.stdin.close()
