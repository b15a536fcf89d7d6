"""A source of endpoints that waits for the test to say what it answers."""

import queue

import anyio

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Run, Upkeep


class Scripted:
    """Each `say` or `fail` is one answer. It counts how often it was asked, and how often it heard of a failure."""

    upkeep = Upkeep(empty_grace=0.0, retry_first_s=0.001, retry_max_s=0.002, hurry_s=0.001)

    def __init__(self, name="scripted", ask_again_s=0.0):
        self.name = name
        self.ask_again_s = ask_again_s
        self.replies = queue.Queue()
        self.asked = 0
        self.failures = 0

    def say(self, *targets):
        self.replies.put(targets)

    def fail(self, error):
        self.replies.put(error)

    def watch(self, rng):
        return self

    def query(self, now):
        return Run(self._next)

    async def _next(self):
        self.asked += 1
        while self.replies.empty():
            await anyio.sleep(0.002)
        return self.replies.get()

    def answer(self, reply, now):
        if isinstance(reply, Exception):
            raise reply
        return Found(
            tuple(one if isinstance(one, Endpoint) else Endpoint.parse(one) for one in reply), self.ask_again_s
        )

    def failed(self, now):
        self.failures += 1

    def __str__(self):
        return self.name
