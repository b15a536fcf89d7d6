"""A source of your own: a config, and a machine that says what to ask and reads what came back.

Here it is a table of a database, with a version that tells whether anything has changed. A function in a `Callback` is
less to write; a source of your own decides when to ask, remembers what it asked, and chooses how it is kept.
"""

import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
from _replicas import replicas

from lbkit import Cluster, DiscoveryError, Endpoint
from lbkit.core.backoff import jittered
from lbkit.discovery import Found, Run, Upkeep
from lbkit.httpx import BalancedTransport

Rows = list[tuple[str, float, int]]


@dataclass(frozen=True)
class Table:
    """The config: what users write. It may be shared by many clusters, so it is frozen and has no state."""

    database: str
    service: str
    every: float = 10.0

    # The last good set is kept for a minute when the table is empty; failed connections have it read at once.
    upkeep = Upkeep(empty_grace=60.0, hurry_s=1.0)

    def watch(self, rng: Random) -> "TableWatch":
        """Make the machine."""
        return TableWatch(self, rng)

    def __str__(self) -> str:
        """Return its name in statistics and logs. No credentials belong in it."""
        return f"table:{self.service}"


class TableWatch:
    """The machine: no clock, no input or output. It is used by one thread at a time."""

    def __init__(self, config: Table, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._version = -1
        self._endpoints: tuple[Endpoint, ...] = ()

    def query(self, now: float) -> Run:  # noqa: ARG002 - asks the same whenever it is
        """Say what to run: it runs in a thread, for at most so many seconds."""
        known = self._version
        return Run(lambda: self._read(known), timeout=5.0)

    def answer(self, reply: tuple[int, Rows | None], now: float) -> Found:  # noqa: ARG002
        """Read what came back, and say when to ask again. What it raises leaves the last good set in use."""
        version, rows = reply
        if rows is not None:
            self._endpoints = tuple(Endpoint.parse(at, weight=weight, priority=tier) for at, weight, tier in rows)
        self._version = version
        return Found(self._endpoints, jittered(self._config.every, 0.1, self._rng))

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Begin anew: the next query reads all of it."""
        self._version = -1

    def _read(self, known: int) -> tuple[int, Rows | None]:
        try:
            with closing(sqlite3.connect(self._config.database)) as database:
                (version,) = database.execute("SELECT version FROM state").fetchone()
                if version == known:
                    return version, None
                query = "SELECT address, weight, tier FROM replicas WHERE service = ? ORDER BY address"
                return version, database.execute(query, (self._config.service,)).fetchall()
        except sqlite3.Error as error:
            raise DiscoveryError(f"the database says: {error}") from error


with replicas(3) as running, tempfile.TemporaryDirectory() as directory:
    file = str(Path(directory, "inventory.db"))
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE state AS SELECT 1 AS version")
        database.execute("CREATE TABLE replicas (service, address, weight, tier)")
        for one in running[:2]:
            database.execute("INSERT INTO replicas VALUES ('orders', ?, 1.0, 0)", (one.address,))
        database.commit()

        with (
            Cluster("orders", Table(file, "orders", every=0.05), scheduler="round_robin") as orders,
            httpx.Client(transport=BalancedTransport(orders), base_url="http://orders") as client,
        ):
            print("at first:", sorted({client.get("/").text for _ in range(30)}))

            database.execute("INSERT INTO replicas VALUES ('orders', ?, 1.0, 0)", (running[2].address,))
            database.execute("UPDATE state SET version = version + 1")
            database.commit()
            while len(orders.stats().endpoints) < 3:
                time.sleep(0.01)
            print("with a new row:", sorted({client.get("/").text for _ in range(30)}))

            database.execute("DROP TABLE replicas")
            database.execute("UPDATE state SET version = version + 1")
            database.commit()
            while orders.stats().sources[0].state == "live":
                time.sleep(0.01)
            print("after an accident:", sorted({client.get("/").text for _ in range(30)}))
            print(orders.stats().sources[0].problem)
