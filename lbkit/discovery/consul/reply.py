"""Requests to an agent and their replies, as values; and what a reply says apart from its instances, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbkit.discovery.consul.access import Access
from lbkit.errors import DiscoveryError

EXCERPT = 160
"""Characters of a refusal that are repeated in a message."""
OUT_OF_CONTACT_MS = 1000
"""Servers hear from the leader several times a second."""
_UNSEEN = re.compile(r"[^\x20-\x7e]+")
_DECODER = json.JSONDecoder()
_OPEN = re.compile(r"\s*\[\s*")
_COMMA = re.compile(r"\s*,\s*")
_END = re.compile(r"\s*\]\s*\Z")
_NO_JSON = "the answer is no JSON: is there a Consul agent?"
_HINTS = {
    "no cluster leader": "Consul's servers have no leader; they need a majority that sees each other",
    "no path to datacenter": "Consul knows no such datacenter, or has lost its way to it",
    "boolean expression": "the filter is not valid",
    "acl not found": "Consul does not know this token",
    "permission denied": "the token, or nobody without one, may not do this",
    # Last, for the agent passes on what servers say with these words before it.
    "rpc error": "the agent cannot reach a server of Consul's",
}


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """One request to one agent.

    Attributes:
        access: How agents are reached.
        path: Such as "/v1/health/service/orders", with what is special in it quoted.
        params: Of the query, in order.
        agent: Which of the agents is asked.
        timeout: Seconds for all of it.
        method, headers, body: As in HTTP; the token is added by the client that sends it.
    """

    access: Access
    path: str
    params: tuple[tuple[str, str], ...] = ()
    agent: int = 0
    timeout: float = 10.0
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def url(self) -> str:
        """The agent's address, for messages."""
        return self.access.agents[self.agent]


@dataclass(frozen=True, slots=True)
class AgentReply:
    """What the agent answered.

    Attributes:
        status: As in HTTP.
        headers: With names in lower case.
        body: All of it; the token is blotted out of an error's.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return what the body says.

        Raises:
            DiscoveryError: The agent refused, or the body is no JSON.
        """
        if self.status != 200:
            raise DiscoveryError(self._refusal())
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise DiscoveryError(_NO_JSON) from None

    def instances(self) -> Iterator[Any]:
        """Return the elements of the list that the body is, one after the other.

        A long list is decoded step by step: decoded in one go, one of 10,000 instances would hold the interpreter's
        lock for 0.2 s, and with it every thread of the application.

        Raises:
            DiscoveryError: The agent refused, or the body is no list; possibly only after some elements.
        """
        if self.status != 200:
            raise DiscoveryError(self._refusal())
        text = self.body.decode("utf-8", "replace")
        place = _between(text, _OPEN, 0, "the answer is no list of instances")
        if _END.match(text, place):
            return
        while True:
            try:
                element, place = _DECODER.raw_decode(text, place)
            except (ValueError, RecursionError):
                raise DiscoveryError(_NO_JSON) from None
            yield element
            if _END.match(text, place):
                return
            place = _between(text, _COMMA, place, _NO_JSON)

    def number(self, name: str) -> int | None:
        """Return a header as a number; None where it is missing or something else."""
        text = self.headers.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None

    def notes(self, *, empty: bool, token: bool, stale: bool) -> list[str]:
        """Return what the headers say against the answer.

        Args:
            empty: Whether it has no endpoints.
            token: Whether a token was sent.
            stale: Whether an answer by any server was asked for.
        """
        said = []
        if self.headers.get("x-consul-results-filtered-by-acls") == "true":
            said.append("ACLs hide instances from this token" if token else "ACLs hide instances from us: give a token")
        elif empty and self.headers.get("x-consul-default-acl-policy") == "deny":
            needs = "this token needs service:read and node:read" if token else "a token is needed"
            said.append(f"Consul denies by default: {needs}")
        if self.headers.get("x-consul-knownleader") == "false":
            said.append("the server that answered knows no leader")
        if stale and (self.number("x-consul-lastcontact") or 0) >= OUT_OF_CONTACT_MS:
            said.append("the server that answered is out of contact with the leader")
        return said

    def _refusal(self) -> str:
        text = _UNSEEN.sub(" ", self.body[: 2 * EXCERPT].decode("utf-8", "replace")).strip()
        lower = text.lower()
        hint = next((words for sign, words in _HINTS.items() if sign in lower), "")
        if not hint and self.status == 403:
            hint = "Consul's ACLs refuse this"
        elif not hint and self.status == 429:
            hint = "Consul limits requests"
        elif not hint and (self.status == 404 or 300 <= self.status < 400):
            hint = "there is no such thing at this address"
        if len(text) > EXCERPT:
            text = f"{text[:EXCERPT]}…"
        said = f"{self.status}: {text}" if text else str(self.status)
        return f"{hint} ({said})" if hint else f"the agent answered {said}"


def _between(text: str, pattern: re.Pattern[str], place: int, otherwise: str) -> int:
    found = pattern.match(text, place)
    if found is None:
        raise DiscoveryError(otherwise)
    return found.end()
