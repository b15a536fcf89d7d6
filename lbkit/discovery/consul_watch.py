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

from random import Random
from typing import Any

from lbkit.core.backoff import jittered
from lbkit.discovery.base import Found
from lbkit.discovery.consul_answer import Reading
from lbkit.discovery.consul_asking import Asking, Pace
from lbkit.discovery.consul_reply import AgentReply, AgentRequest
from lbkit.errors import DiscoveryError

REREAD_S = 1.0
"""Pause before an answer without a usable index is asked for again."""
POLL_JITTER = 0.1


class ConsulWatch:
    """Asks for the healthy instances of a service, and then for each change of them."""

    __slots__ = ("_asking", "_index", "_pace", "_reading", "_wait")

    def __init__(self, asking: Asking, reading: Reading, wait: float) -> None:
        self._asking = asking
        self._reading = reading
        self._wait = wait
        self._index: int | None = None
        self._pace = Pace()

    def query(self, now: float) -> AgentRequest:  # noqa: ARG002
        """Return a blocking query, or one that is answered at once where no index is known."""
        if self._index is None:
            return self._asking.request()
        params = (("index", str(self._index)), ("wait", f"{self._wait:g}s"))
        return self._asking.request(params, self._wait)

    def answer(self, reply: AgentReply, now: float) -> Found | None:
        """Read an answer.

        Raises:
            DiscoveryError: It was refused, or says nothing of use.
        """
        entries = self._asking.json(reply)
        if not self._asking.is_fresh(reply):
            self._index = None
            return None
        endpoints, problem = self._reading.read(entries)
        said = [problem, *self._asking.notes(reply, empty=not endpoints)]
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
    """Executes a prepared query again and again, for those cannot wait."""

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
        body = self._asking.json(reply)
        if not self._asking.is_fresh(reply):
            return None
        if not isinstance(body, dict):
            raise DiscoveryError("the answer is no result of a prepared query")
        endpoints, problem = self._reading.read(body.get("Nodes") or [])
        said = [problem, _failover(body), *self._asking.notes(reply, empty=not endpoints)]
        return Found(endpoints, jittered(self._every, POLL_JITTER, self._rng), "; ".join(filter(None, said)))

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Ask the next agent."""
        self._asking.failed()


def _failover(body: dict[str, Any]) -> str:
    return f"answered by datacenter {body.get('Datacenter')}, for want of nearer ones" if body.get("Failovers") else ""
