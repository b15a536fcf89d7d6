"""Every exchange that was recorded from a real Consul, 1.8.7 and 1.10.11, says to us what it is there to say."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
import respx

from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.errors import DiscoveryError
from lbkit.runtime.consul_client import AgentClient

DATA = Path(__file__).parents[3] / "data" / "consul"
AGENT = "http://127.0.0.1:8500"
THREE = {"127.0.0.1:9001": 2, "127.0.0.2:9002": 4, "127.0.0.3:9003": 6}
TENS = {"10.0.0.1:8001": 10, "10.0.0.2:8002": 20, "10.0.0.3:8003": 30}


@dataclass(frozen=True)
class Says:
    """What is expected: of a `Consul` with these options, these weights by endpoint, this next index, or an error."""

    weights: dict[str, int] = field(default_factory=dict)
    index: int | None = None
    problem: str = ""
    error: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def one_of(weights: dict[str, int], *ports: int) -> dict[str, int]:
    return {name: weight for name, weight in weights.items() if int(name.rpartition(":")[2]) in ports}


WARNING = {"warning": True}
TOKEN = "11111111-2222-3333-4444-555555555555"
MAY_WARN = {"10.0.0.1:8001": 10, "10.0.0.3:8003": 1}
"""What is left of the three when the second is critical and the third warns at weight 1."""
EXPECTED = {
    "1.8.7 empty": Says({}, 12, "no passing instance of service 'web'"),
    "1.8.7 initial": Says(TENS, 15),
    "1.8.7 blocking-timeout": Says(TENS, 15),
    "1.8.7 blocking-change": Says(one_of(TENS, 8001, 8003), 16),
    "1.8.7 with-warning-all": Says(MAY_WARN, 17, options=WARNING),
    "1.8.7 passing-only": Says(one_of(TENS, 8001), 17),
    "1.8.7 filter": Says(one_of(TENS, 8001), 17, options=WARNING | {"filter": 'Service.Meta.zone=="a"'}),
    "1.8.7 tag": Says(one_of(TENS, 8001), 17, options=WARNING | {"tags": ["v1"]}),
    "1.8.7 stale": Says(MAY_WARN, 17, options=WARNING | {"stale": True}),
    "1.8.7 cached": Says(MAY_WARN, 17, options=WARNING | {"cached": True}),
    "1.8.7 index-ahead": Says(MAY_WARN, None, options=WARNING),
    "1.8.7 bad-dc": Says(error="knows no such datacenter", options=WARNING | {"datacenter": "nope"}),
    "1.8.7 empty-after-maint": Says({}, 18, "no passing instance of service 'web'"),
    "1.10.11 passing-initial": Says(THREE, 16),
    "1.10.11 blocking-timeout": Says(THREE, 16),
    "1.10.11 blocking-critical": Says(one_of(THREE, 9001, 9002), 17),
    "1.10.11 blocking-warning-passing": Says(one_of(THREE, 9001), 18),
    "1.10.11 all-states": Says({"127.0.0.1:9001": 2, "127.0.0.2:9002": 1}, 18, options=WARNING),
    "1.10.11 tag-filter": Says(one_of(THREE, 9002), 20, options={"tags": ["zone-a"]}),
    "1.10.11 filter-expression": Says(one_of(THREE, 9002), 20, options={"filter": 'Service.Meta.version == "1.2"'}),
    "1.10.11 bad-filter": Says(error="the filter is not valid", options=WARNING | {"filter": "NotAThing =="}),
    "1.10.11 near-agent": Says(THREE, 20, options={"near": "_agent"}),
    "1.10.11 stale": Says(THREE, 20, options={"stale": True}),
    "1.10.11 cached-miss": Says(THREE, 20, options={"cached": True}),
    "1.10.11 cached-hit": Says(THREE, 20, options={"cached": True}),
    "1.10.11 unknown-service": Says({}, 20, "no passing instance of service 'nope'", options={"service": "nope"}),
    "1.10.11 unknown-dc": Says(error="knows no such datacenter", options={"datacenter": "nowhere"}),
    "1.10.11 odd-addresses": Says(
        THREE | {"127.0.0.1:9004": 8, "[::1]:9005": 10}, 23, "1 of 6 instances left out: web-6 (no port)"
    ),
    "1.10.11 maintenance": Says(one_of(THREE, 9002, 9003), 27, options=WARNING),
    "1.10.11 maintenance-passing": Says(one_of(THREE, 9002, 9003), 27),
    "1.10.11 before-deregister": Says(THREE, 28),
    "1.10.11 blocking-deregister": Says(one_of(THREE, 9002, 9003), 29),
    "1.10.11 after-deregister": Says({}, 31, "no passing instance of service 'web'"),
    "1.10.11 before-restart": Says(THREE, 34),
    "1.10.11 agent-down": Says(error="no connection"),
    "1.10.11 index-went-backwards": Says(one_of(THREE, 9001), None),
    "1.10.11 acl-with-token": Says({"127.0.0.1:9001": 1}, 16, options={"token": TOKEN}),
    "1.10.11 acl-anonymous": Says({}, 16, "Consul denies by default: a token is needed"),
    "1.10.11 acl-bad-token": Says(error="Consul does not know this token", options={"token": TOKEN.replace("1", "9")}),
    "1.10.11 cluster-leader": Says({f"127.0.0.{host}:{8999 + host}": 1 for host in (1, 2, 3)}, 14),
    "1.10.11 cluster-no-quorum": Says(error="Consul's servers have no leader"),
    "1.10.11 cluster-no-quorum-stale": Says(
        {f"127.0.0.{host}:{8999 + host}": 1 for host in (1, 2)},
        13,
        "knows no leader; the server that answered is out of contact with the leader",
        options={"stale": True},
    ),
}
PLAIN = {
    **{name: {} for name in ("1.8.7 register", "1.8.7 register-2", "1.8.7 register-3", "1.8.7 maint")},
    "1.8.7 bad-index": "400: Invalid index", "1.8.7 bad-wait": "400: Invalid wait time",
    "1.8.7 leader": "127.0.0.1:18503", "1.8.7 not-found": "404",
    "1.10.11 bad-index": "400: Invalid index", "1.10.11 bad-wait": "400: Invalid wait time",
    "1.10.11 session-create": {"ID": "9fa23f05-c9db-520a-f718-eb1eefa252e2"},
    "1.10.11 session-create-2": {"ID": "ce72db33-7aa8-0ead-7c01-2a52565ee9a4"},
    "1.10.11 lock-acquire": True, "1.10.11 lock-refused": False,
    "1.10.11 lock-read": {"LockIndex": 1, "Session": "9fa23f05-c9db-520a-f718-eb1eefa252e2"},
}  # fmt: skip
"""Requests that are no part of following a service: what the answer holds, or a part of the error."""


def _exchanges() -> dict[str, dict[str, Any]]:
    found = {}
    for version in ("1.8.7", "1.10.11"):
        for line in (DATA / f"{version}.jsonl").read_text().splitlines():
            one = json.loads(line)
            found[f"{version} {one['name']}"] = one
    return found


EXCHANGES = _exchanges()


def ask(request: AgentRequest, exchange: dict[str, Any]) -> tuple[AgentReply, httpx.Request]:
    """Send a request to a Consul that answers as recorded; returns the reply and what was sent."""

    async def main() -> AgentReply:
        client = AgentClient()
        try:
            return await client.ask(request)
        finally:
            await client.aclose()

    with respx.mock(base_url=AGENT) as consul:
        route = consul.route()
        if "error" in exchange:
            route.side_effect = getattr(httpx, exchange["error"])("refused")
        else:
            route.respond(exchange["status"], headers=exchange["headers"], text=exchange["body"])
        reply = anyio.run(main)
        return reply, route.calls.last.request


def _params(url: str) -> dict[str, list[str]]:
    """The parameters, all spelled in one way; how long the recording waited is not ours."""
    found = parse_qs(urlsplit(url).query, keep_blank_values=True)
    found.pop("wait", None)
    return {name: ["1"] if name in ("stale", "cached", "passing") else sorted(values) for name, values in found.items()}


def test_every_recorded_exchange_has_an_expectation() -> None:
    """No recording is left out."""
    assert EXPECTED.keys() | PLAIN.keys() == EXCHANGES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_answer_says_what_it_was_recorded_for(name: str) -> None:
    """A Consul with the right options asks what was asked then, and reads the answer right."""
    exchange, says = EXCHANGES[name], EXPECTED[name]
    options = {"service": "web", "agent": AGENT, "wait": 1.0, **says.options}
    watch = Consul(**options).watch(Random(1))
    before = _params(exchange["path"]).get("index")
    if before:
        watch.answer(AgentReply(200, {"x-consul-index": before[0]}, b"[]"), 0.0)
    if says.error:
        with pytest.raises(DiscoveryError, match=says.error) as caught:
            reply, _ = ask(watch.query(1.0), exchange)
            watch.answer(reply, 1.0)
        assert str(caught.value).startswith(f"{AGENT}: ")
        return
    reply, sent = ask(watch.query(1.0), exchange)
    assert sent.url.path == urlsplit(exchange["path"]).path
    assert _params(str(sent.url)) == _params(exchange["path"])
    assert sent.headers.get("x-consul-token") == exchange.get("sent", {}).get("X-Consul-Token")
    found = watch.answer(reply, 1.0)
    assert found is not None
    assert {one.id: one.weight for one in found.endpoints} == says.weights
    assert says.problem in found.problem and bool(says.problem) == bool(found.problem)
    assert dict(watch.query(2.0).params).get("index") == (None if says.index is None else str(says.index))


@pytest.mark.parametrize("name", PLAIN)
def test_a_recorded_plain_request_is_carried_out(name: str) -> None:
    """Registration and whatever else needs an agent gets the recorded answer, or the refusal in words."""
    exchange, says = EXCHANGES[name], PLAIN[name]
    url = urlsplit(exchange["path"])
    params = tuple((key, one) for key, values in parse_qs(url.query).items() for one in values)
    body = json.dumps(exchange["content"]).encode() if "content" in exchange else b""
    request = AgentRequest(Access.of("test", agent=AGENT), url.path, params, method=exchange["method"], body=body)
    reply, sent = ask(request, exchange)
    assert (sent.method, _params(str(sent.url)), sent.content) == (exchange["method"], _params(exchange["path"]), body)
    if reply.status != 200:
        with pytest.raises(DiscoveryError, match=says):
            reply.json()
    elif reply.body:
        said = reply.json()
        said = said[0] if isinstance(said, list) else said
        assert said.items() >= says.items() if isinstance(says, dict) else said == says
