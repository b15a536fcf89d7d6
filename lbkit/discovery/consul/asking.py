"""What all ways of asking Consul have in common: which agent is asked, how old an answer may be, and how often."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.errors import DiscoveryError

Pairs = tuple[tuple[str, str], ...]
ANSWER_S = 10.0
"""Seconds for a query that does not wait; without a leader Consul takes 7 to say so."""
WAIT_SPREAD = 1 / 16
"""Consul adds up to this share to a wait, so that not all clients come back at once."""
BURST = 2.0
RATE = 2.0
"""Answers that are followed up at once, and how many per second after those."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old an answer may be.

    Attributes:
        stale: Whether any server may answer, and not the leader alone.
        max_stale: Longest time, in seconds, that a server may have been out of contact with the leader.
        cached: Whether the agent may answer from its cache.
        max_age: Oldest cached answer, in seconds, that may be used.
    """

    stale: bool = False
    max_stale: float = math.inf
    cached: bool = False
    max_age: float = math.inf

    def asked(self) -> tuple[Pairs, Pairs]:
        """Return the parameters and the headers that ask for it."""
        params = tuple((name, "1") for name, wanted in (("stale", self.stale), ("cached", self.cached)) if wanted)
        if self.cached and self.max_age < math.inf:
            return params, (("Cache-Control", f"max-age={self.max_age:.0f}"),)
        return params, ()

    def allows(self, reply: AgentReply) -> bool:
        """Whether an answer is fresh enough."""
        contact_s = (reply.number("x-consul-lastcontact") or 0) / 1000
        age_s = reply.number("age") or 0
        return not (self.stale and contact_s > self.max_stale) and not (self.cached and age_s > self.max_age)


_LEADER = Freshness()


class Asking:
    """Makes the requests of one watch and judges their replies."""

    __slots__ = ("_agent", "_distrust", "_freshness", "_request", "_token")

    def __init__(self, request: AgentRequest, freshness: Freshness) -> None:
        access = request.access
        self._request = request
        self._freshness = freshness
        self._token = access.token is not None or access.token_file is not None
        self._agent = 0
        self._distrust = False

    def request(self, params: Pairs = (), wait: float = 0.0) -> AgentRequest:
        """Return the next request, with `params` added, which waits for `wait` seconds at the agent."""
        base = self._request
        asked, headers = (_LEADER if self._distrust else self._freshness).asked()
        params = (*base.params, *asked, *params)
        timeout = wait * (1 + WAIT_SPREAD) + ANSWER_S
        return AgentRequest(base.access, base.path, params, self._agent, timeout, headers=headers)

    def is_fresh(self, reply: AgentReply) -> bool:
        """Whether an answer may be used; if not, the next request goes to the leader."""
        self._distrust = not self._distrust and not self._freshness.allows(reply)
        return not self._distrust

    def notes(self, reply: AgentReply, *, empty: bool) -> list[str]:
        """Return what is to be said of an answer."""
        return reply.notes(empty=empty, token=self._token, stale=self._freshness.stale)

    def blamed(self, error: DiscoveryError) -> DiscoveryError:
        """Return the error with the agent's name before it."""
        return DiscoveryError(f"{self._request.access.agents[self._agent]}: {error}")

    def failed(self) -> None:
        """Go to the next agent, and stay there."""
        self._agent = (self._agent + 1) % len(self._request.access.agents)


class Pace:
    """A token bucket: how soon the next query may go out."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._at = -math.inf
        self._tokens = BURST

    def pause_s(self, now: float) -> float:
        """Take one token; return the seconds until it is there."""
        self._tokens = min(BURST, self._tokens + (now - self._at) * RATE) - 1.0
        self._at = now
        return max(0.0, -self._tokens / RATE)
