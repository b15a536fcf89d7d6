"""Least connections: of all nodes the one with the fewest connections for its weight.

The default for what lives long (sockets, database connections, streams), where the number that is open is the load.
The score is (in-flight + 1) / weight, that is, the load after the connection is made: LVS's *sed* and HAProxy's
leastconn. LVS's *wlc* leaves the + 1 out and so cannot tell idle servers of different weight apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lbkit.scheduler.base import Picker
from lbkit.scheduler.least import LeastIndex


@dataclass(frozen=True, slots=True)
class LeastConnections:
    """Take the node with the fewest connections for its weight, ties at random. By name: "least_connections"."""

    def build(self, rng: Random) -> Picker:
        """Make the picker."""
        return LeastIndex(rng)
