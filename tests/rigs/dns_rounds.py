"""Asks one DNS source by hand, with the real machine, keeper and client, and without a cluster."""

import time
from random import Random

import anyio

from lbkit.discovery.keeper import Keeper, Report
from lbkit.runtime.clients import Client, make_client


class Rounds:
    """One source, asked when the test says so.

    Attributes:
        keeper: Holds what is known.
        took_s: How long the last round took.
    """

    def __init__(self, source: object, seed: int = 1) -> None:
        self.keeper = Keeper(source, Random(seed))
        self.took_s = 0.0
        self._client: Client | None = None

    @property
    def ids(self) -> list[str]:
        """The identities of the endpoints that are known."""
        return [one.id for one in self.keeper.endpoints or ()]

    def shares(self) -> dict[str, tuple[float, int]]:
        """Weight and priority of each."""
        return {one.id: (one.weight, one.priority) for one in self.keeper.endpoints or ()}

    def ask(self) -> Report:
        """Go through one round, from the question to a set or a failure, in an event loop of its own."""
        return anyio.run(self.round)

    async def round(self) -> Report:
        """Go through one round."""
        begun = time.monotonic()
        while True:
            query = self.keeper.query(time.monotonic())
            self._client = self._client or make_client(query)
            try:
                reply = await self._client.ask(query)
                self.keeper.answer(reply, time.monotonic())
            except Exception as error:
                self.keeper.failed(error, time.monotonic())
            if self.keeper.due > time.monotonic():
                self.took_s = time.monotonic() - begun
                return self.keeper.report

    async def follow(self) -> None:
        """Ask as the keeper says, for ever."""
        while True:
            await anyio.sleep(max(0.0, self.keeper.due - time.monotonic()))
            await self.round()
