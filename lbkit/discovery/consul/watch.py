"""Follows a service in Consul by blocking queries, and a prepared query by polling it.

A blocking query names the index of the last answer, and returns when the index has moved or after `wait`. The rules
are those of Consul's documentation ("Blocking Queries") and of what befell its clients:

    what comes back                       what is asked next
    an index as high or higher            a blocking query with it; whether anything changed, the contents tell
    a lower index                         without an index, for Consul has lost its state
    no index, 0, or something else        without an index, a second later
    stale or cached data that is too old  the leader, at once, without an index; later anyone again
    a failure                             the next agent, after the keeper's pause, without an index

Unrelated changes may move the index too. So answers are followed up at once only while a token bucket has tokens. And
when Consul has lost its state, an index from before makes it wait for the whole of `wait`: that is why it is bounded.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

from lbkit.core.backoff import jittered
from lbkit.discovery.base import Found
from lbkit.discovery.consul.answer import Reading
from lbkit.discovery.consul.asking import Asking, Pace
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.errors import DiscoveryError

REREAD_S = 1.0
"""Pause before an answer without a usable index is asked for again."""
SHORT_WAIT_S = 1.0
POLL_JITTER = 0.1


class ConsulWatch:
    """Asks for the healthy instances of a service, and then for each change of them."""

    __slots__ = ("_asking", "_empty_since", "_grace", "_index", "_pace", "_reading", "_wait")

    def __init__(self, asking: Asking, reading: Reading, wait: float, grace: float = math.inf) -> None:
        self._asking = asking
        self._reading = reading
        self._wait = wait
        self._grace = grace
        self._empty_since: float | None = None
        self._index: int | None = None
        self._pace = Pace()

    def query(self, now: float) -> AgentRequest:
        """Return a blocking query, or one that is answered at once where no index is known."""
        if self._index is None:
            return self._asking.request()
        wait = self._wait
        if self._empty_since is not None and self._empty_since + self._grace > now:
            # An empty answer is believed when its grace has passed, if there is an answer by then.
            wait = min(wait, max(SHORT_WAIT_S, self._empty_since + self._grace - now))
        return self._asking.request((("index", str(self._index)), ("wait", f"{wait:.3g}s")), wait)

    def answer(self, reply: AgentReply, now: float) -> Found | None:
        """Read an answer.

        Raises:
            DiscoveryError: It was refused, or says nothing of use.
        """
        if reply.status == 200 and not self._asking.is_fresh(reply):
            self._index = None
            return None
        try:
            endpoints, problem = self._reading.read(reply.instances())
        except DiscoveryError as error:
            raise self._asking.blamed(error) from None
        said = [problem, *self._asking.notes(reply, empty=not endpoints)]
        if endpoints:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        pause_s = self._pace.pause_s(now)
        index = reply.number("x-consul-index")
        if not index:
            said.append("the answer has no index: changes are seen later")
            pause_s = max(REREAD_S, pause_s)
            self._index = None
        else:
            self._index = None if index < (self._index or 0) else index
        return Found(endpoints, pause_s, "; ".join(filter(None, said)))

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Begin anew, with the next agent."""
        self._index = None
        self._asking.failed()


class QueryWatch:
    """Executes a prepared query again and again, for those cannot be waited for."""

    __slots__ = ("_asking", "_every", "_reading", "_rng")

    def __init__(self, asking: Asking, reading: Reading, every: float, rng: Random) -> None:
        self._asking = asking
        self._reading = reading
        self._every = every
        self._rng = rng

    def query(self, now: float) -> AgentRequest:  # noqa: ARG002
        """Return the query."""
        return self._asking.request()

    def answer(self, reply: AgentReply, now: float) -> Found | None:  # noqa: ARG002
        """Read an answer.

        Raises:
            DiscoveryError: It was refused, or says nothing of use.
        """
        if reply.status == 200 and not self._asking.is_fresh(reply):
            return None
        try:
            body = reply.json()
            endpoints, problem = self._reading.read(_nodes(body))
        except DiscoveryError as error:
            raise self._asking.blamed(error) from None
        said = [problem, _failover(body), *self._asking.notes(reply, empty=not endpoints)]
        return Found(endpoints, jittered(self._every, POLL_JITTER, self._rng), "; ".join(filter(None, said)))

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Ask the next agent."""
        self._asking.failed()


def _nodes(body: Any) -> list[Any]:
    nodes = body.get("Nodes") or [] if isinstance(body, dict) else None
    if not isinstance(nodes, list):
        raise DiscoveryError("the answer is no result of a prepared query")
    return nodes


def _failover(body: Any) -> str:
    return f"answered by datacenter {body.get('Datacenter')}, for want of nearer ones" if body.get("Failovers") else ""
