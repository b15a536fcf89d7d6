"""The ledger: one append-only file in which servers write every order they really carried out.

It answers the one question a balancer must never get wrong: was a request that must not run twice run twice? A line is
one `write` to a file opened with O_APPEND, so it is whole even when several processes share the file, and it is there
even when its writer was killed before it could answer.
"""

import os
from collections import Counter
from pathlib import Path


class Ledger:
    """The orders carried out by all servers that share the file at `path`; lines are ``id TAB server``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.path.touch()

    def record(self, order_id: str, server: str) -> None:
        """Write down that `server` carried out the order."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{order_id}\t{server}\n".encode())
        finally:
            os.close(fd)

    def entries(self) -> list[tuple[str, str]]:
        """Every execution as (order id, server), in the order in which they were written."""
        lines = self.path.read_text().splitlines()
        return [(order, server) for order, _, server in (line.rpartition("\t") for line in lines)]

    def counts(self) -> "Counter[str]":
        """How often each order was carried out."""
        return Counter(order for order, _ in self.entries())

    def duplicates(self) -> dict[str, list[str]]:
        """The orders carried out more than once, each with the servers that did; empty is what a test wants."""
        return {
            order: [server for other, server in self.entries() if other == order]
            for order, count in self.counts().items()
            if count > 1
        }
