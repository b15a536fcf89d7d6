"""Nodes to choose from, without a balancer."""

from random import Random

from lbkit.balancer.node import Node
from lbkit.breaker import Circuit, CircuitBreaker
from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import OK
from lbkit.core.pick import FIRST_TRY, PickInfo
from lbkit.health import HealthTracker

NAMES = "abcdefghijklmnopqrstuvwxyz"


def make(*weights):
    """Return one node per weight, called a, b, c, … (n26, n27, … after z)."""
    nodes = []
    for place, weight in enumerate(weights):
        name = NAMES[place] if place < len(NAMES) else f"n{place}"
        circuit = Circuit(CircuitBreaker(), Random(0))
        nodes.append(Node(Endpoint(host=name, port=80, weight=weight), HealthTracker(circuit), 0.0))
    return nodes


def picker(scheduler, nodes, *, seed=1, now=0.0):
    """Build a scheduler's picker over nodes."""
    built = scheduler.build(Random(seed))
    built.rebuild(tuple(nodes), now)
    return built


def name(node):
    return node.endpoint.host


def sequence(built, count, *, tried=(), now=0.0):
    """Pick `count` times, each request ending at once; return the names."""
    info = PickInfo(tried=tuple(f"{one}:80" for one in tried)) if tried else FIRST_TRY
    return "".join(name(built.pick(info, now)) for _ in range(count))


def begin(built, node):
    """What a balancer does after a pick."""
    node.in_flight += 1
    node.picks += 1


def end(built, node, latency_s=None, now=0.0, outcome=OK):
    """What a balancer does when a request ends."""
    if latency_s is not None:
        built.observe(node, outcome, latency_s, now)
    node.in_flight -= 1
    if hasattr(built, "released"):
        built.released(node)
