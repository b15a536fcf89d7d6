"""What is asked after each kind of answer: index, pace, agents, freshness (DI-3)."""

import json
from random import Random
from typing import Any

import pytest

from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.query import ConsulQuery
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.errors import DiscoveryError

WEB = {
    "Node": {"Node": "n1", "Address": "10.0.0.1"},
    "Service": {"ID": "web-1", "Address": "", "Port": 80},
    "Checks": [],
}
TWO = ["http://a:8500", "http://b:8500"]


def reply(index: object = 7, body: Any = (WEB,), **headers: object) -> AgentReply:
    """An answer; further headers are named with underscores."""
    names = {"x_consul_index": index, **headers}
    lower = {name.replace("_", "-"): str(value) for name, value in names.items() if value is not None}
    return AgentReply(200, lower, json.dumps(body).encode())


def refusal(status: int, text: str) -> AgentReply:
    return AgentReply(status, {}, text.encode())


def params(request: AgentRequest) -> dict[str, str]:
    return dict(request.params)


def watch(**options: Any) -> Any:
    return Consul("web", agent=options.pop("agent", "http://a:8500"), token=options.pop("token", ""), **options).watch(
        Random(1)
    )


def test_the_first_query_never_waits() -> None:
    """Without an index Consul answers at once; 10 seconds are enough even where there is no leader."""
    request = watch().query(0.0)
    assert params(request) == {"passing": "1"} and request.timeout == 10.0


def test_a_blocking_query_may_take_longer_than_its_wait() -> None:
    """Consul adds up to a sixteenth of `wait`; only well beyond that the agent counts as silent."""
    machine = watch(wait=160.0)
    machine.answer(reply(7), 0.0)
    request = machine.query(0.0)
    assert params(request) == {"passing": "1", "index": "7", "wait": "160s"}
    assert request.timeout == 180.0


def test_an_empty_answer_is_asked_again_when_its_grace_ends() -> None:
    """A query that waits longer would keep the last good set beyond the grace; after it the waits are long again."""
    machine = watch(empty_grace=30.0)
    waits = []
    for now in (0.0, 10.0, 29.9, 30.0):
        machine.answer(reply(7, []), now)
        waits.append(params(machine.query(now))["wait"])
    assert waits == ["30s", "20s", "1s", "60s"]
    machine.answer(reply(8), 31.0)
    machine.answer(reply(9, []), 32.0)
    assert params(machine.query(32.0))["wait"] == "30s"


@pytest.mark.parametrize("grace", [0.0, 100.0, float("inf")])
def test_a_wait_is_never_longer_than_asked_nor_shorter_without_reason(grace: float) -> None:
    """An empty service is no reason to poll."""
    machine = watch(empty_grace=grace)
    machine.answer(reply(7, []), 0.0)
    assert params(machine.query(0.0))["wait"] == "60s"


def test_an_index_that_goes_backwards_begins_anew() -> None:
    """Consul has lost its state: the answer is taken, and the next query waits for no index of before."""
    machine = watch()
    machine.answer(reply(42), 0.0)
    assert machine.answer(reply(10), 1.0).endpoints
    assert "index" not in params(machine.query(1.0))
    machine.answer(reply(10), 1.0)
    assert params(machine.query(1.0))["index"] == "10"


@pytest.mark.parametrize("index", [0, None, "", "-1", "banana", "1e3", "٣", "9" * 30])
def test_an_answer_without_a_usable_index_is_read_again_without_a_busy_loop(index: object) -> None:
    """The instances are taken, the next query comes a second later and without an index."""
    machine = watch()
    machine.answer(reply(7), 0.0)
    found = machine.answer(reply(index), 1.0)
    assert found.endpoints and found.ask_again_s >= 1.0
    assert "no index" in found.problem
    assert "index" not in params(machine.query(2.0))


def test_a_stream_of_unrelated_changes_is_no_busy_loop() -> None:
    """Two answers are followed up at once, then two per second; after a quiet second it is as at the start."""
    machine = watch()
    now, asked = 0.0, 0
    while now < 10.0:
        now += machine.answer(reply(7 + asked), now).ask_again_s
        asked += 1
    assert asked <= 2 + 2 * 10
    now += 1.5
    assert [machine.answer(reply(100 + one), now).ask_again_s for one in range(2)] == [0.0, 0.0]


def test_an_unchanged_answer_is_the_same_set() -> None:
    """A return of a blocking query is no change; only the contents are compared, whatever order they have."""
    second = {**WEB, "Service": {**WEB["Service"], "ID": "web-2", "Port": 81}}
    machine = watch()
    before = machine.answer(reply(7, [WEB, second]), 0.0)
    assert machine.answer(reply(8, [second, WEB]), 60.0).endpoints == before.endpoints


def test_a_failure_goes_to_the_next_agent_and_stays_there() -> None:
    """The index is the agent's own: it is forgotten."""
    machine = watch(agent=TWO)
    machine.answer(reply(7), 0.0)
    machine.failed(1.0)
    assert machine.query(1.0).url == "http://b:8500" and "index" not in params(machine.query(1.0))
    machine.answer(reply(3), 2.0)
    assert machine.query(2.0).url == "http://b:8500" and params(machine.query(2.0))["index"] == "3"
    machine.failed(3.0)
    assert machine.query(3.0).url == "http://a:8500"


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (500, "No cluster leader", "have no leader"),
        (500, "rpc error getting client: failed to get conn: dial tcp: connection refused", "cannot reach a server"),
        (500, "No path to datacenter", "no such datacenter"),
        (400, "Failed to create boolean expression evaluator: 1:1", "filter is not valid"),
        (403, "Permission denied", "the token, or nobody without one, may not do this"),
        (403, "rpc error making call: ACL not found", "does not know this token"),
        (403, "", "ACLs refuse this"),
        (429, "slow down", "limits requests"),
        (404, "", "no such thing at this address"),
        (307, "<html>", "no such thing at this address"),
        (502, "Bad gateway", "the agent answered 502: Bad gateway"),
    ],
)
def test_each_refusal_is_told_in_words_of_its_own(status: int, text: str, says: str) -> None:
    """The message names the agent, what it means and what was said; long or strange texts are cut."""
    with pytest.raises(DiscoveryError, match=says) as caught:
        watch().answer(refusal(status, text + " \x1b[31m\n" + "x" * 5000), 0.0)
    message = str(caught.value)
    assert message.startswith("http://a:8500: ") and str(status) in message
    assert len(message) < 400 and message.isprintable()


@pytest.mark.parametrize("body", [b"[", b"[{]", b"[{} {}]", b"[{},", b"[{}]]", b"[" * 100_000, b"[\xff]", b"[,]"])
def test_an_answer_that_is_no_json_is_a_failure(body: bytes) -> None:
    """Something that is no Consul answered."""
    with pytest.raises(DiscoveryError, match=r"no JSON|without Node|no instance"):
        watch().answer(AgentReply(200, {"x-consul-index": "7"}, body), 0.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"5", b"{}", b'"x"'])
def test_what_is_no_list_is_a_failure(body: bytes) -> None:
    """In particular it is not taken for an empty set."""
    with pytest.raises(DiscoveryError, match="no list"):
        watch().answer(AgentReply(200, {"x-consul-index": "7"}, body), 0.0)


def test_a_list_is_read_whatever_the_space_in_it() -> None:
    """A proxy, or `?pretty`, may put some between the parts."""
    text = f" \n[ {json.dumps(WEB, indent=4)}\n,\t{json.dumps(WEB)} ] \n"
    assert len(list(AgentReply(200, {}, text.encode()).instances())) == 2
    assert list(AgentReply(200, {}, b" [ ]\n").instances()) == []


@pytest.mark.parametrize(("token", "says"), [("", "give a token"), ("t", "from this token")])
def test_the_filtered_header_explains_a_missing_service(token: str, says: str) -> None:
    """An empty list because of ACLs says so, and so does a list that lacks some."""
    header = {"x_consul_results_filtered_by_acls": "true"}
    for body in ([], [WEB]):
        assert says in watch(token=token).answer(reply(7, body, **header), 0.0).problem


def test_an_empty_answer_is_kept_out_by_the_keeper_with_the_reason() -> None:
    """The last good set stays, and the report says why it is not the newest."""
    keeper = Keeper(Consul("web", agent="http://a:8500", token=""), Random(1))
    keeper.answer(reply(7), 0.0)
    keeper.answer(reply(8, [], x_consul_default_acl_policy="deny"), 1.0)
    assert keeper.report.state is SourceState.STALE and len(keeper.endpoints or ()) == 1
    assert "a token is needed" in keeper.report.problem


def test_an_answer_without_a_leader_says_so() -> None:
    """It is used, and the problem is shown, without figures that would make each answer a new event."""
    machine = watch(stale=True)
    header = {"x_consul_knownleader": "false"}
    problems = {machine.answer(reply(7, x_consul_lastcontact=ms, **header), 0.0).problem for ms in (5000, 9000)}
    assert len(problems) == 1 and "knows no leader" in problems.pop()


@pytest.mark.parametrize(
    ("options", "old"),
    [
        ({"stale": True, "max_stale": 5.0}, {"x_consul_lastcontact": 5001}),
        ({"cached": True, "max_age": 30.0}, {"age": 31, "x_cache": "HIT"}),
    ],
)
def test_an_answer_that_is_too_old_is_asked_for_again_from_the_leader(options: Any, old: Any) -> None:
    """Once, at once and without an index; while the leader does not answer either, nobody else is asked in between."""
    machine = watch(**options)
    relaxed = params(machine.query(0.0)).keys() & {"stale", "cached"}
    assert relaxed and machine.answer(reply(7), 0.0) is not None
    assert machine.answer(reply(7, **old), 1.0) is None
    assert params(machine.query(1.0)) == {"passing": "1"}
    machine.failed(1.0)
    assert params(machine.query(2.0)) == {"passing": "1"}
    assert machine.answer(reply(8, **old), 2.0) is not None
    assert params(machine.query(3.0)).keys() >= relaxed | {"index"}


def test_the_age_of_the_cache_is_told_to_the_agent_too() -> None:
    """As the agent wants it."""
    assert watch(cached=True, max_age=30.0).query(0.0).headers == (("Cache-Control", "max-age=30"),)
    assert watch(cached=True).query(0.0).headers == ()


def test_all_choices_become_parameters() -> None:
    """Each under the name that Consul has for it, and the service quoted."""
    options = {"filter": "a == 1", "datacenter": "dc2", "namespace": "n", "partition": "p", "near": "_agent"}
    machine = Consul(
        "a/b c", agent="http://a:8500", tags=("v1", "v2"), warning=True, stale=True, cached=True, **options
    )
    request = machine.watch(Random(1)).query(0.0)
    assert request.path == "/v1/health/service/a%2Fb%20c"
    assert request.params == (
        ("tag", "v1"), ("tag", "v2"), ("filter", "a == 1"), ("dc", "dc2"), ("ns", "n"), ("partition", "p"),
        ("near", "_agent"), ("stale", "1"), ("cached", "1"),
    )  # fmt: skip


def polled(**options: Any) -> Any:
    return ConsulQuery("nearest", agent=TWO, every=20.0, **options).watch(Random(1))


def test_a_prepared_query_is_polled() -> None:
    """At `every`, spread by a tenth, without an index."""
    machine = polled(datacenter="dc2", near="_agent")
    request = machine.query(0.0)
    assert request.path == "/v1/query/nearest/execute"
    assert params(request) == {"dc": "dc2", "near": "_agent"}
    pauses = [machine.answer(reply(7, {"Nodes": [WEB]}), 0.0).ask_again_s for _ in range(50)]
    assert all(18.0 <= pause <= 22.0 for pause in pauses) and len(set(pauses)) > 40
    assert "index" not in params(machine.query(20.0))


def test_a_prepared_query_says_where_it_was_answered() -> None:
    """Failover to another datacenter works, and is shown."""
    body = {"Nodes": [WEB], "Datacenter": "dc3", "Failovers": 2}
    found = polled().answer(reply(7, body), 0.0)
    assert [one.id for one in found.endpoints] == ["10.0.0.1:80"] and "dc3" in found.problem
    assert "no passing instance" in polled().answer(reply(7, {"Nodes": None}), 0.0).problem


def test_a_prepared_query_fails_over_and_refuses_what_is_none() -> None:
    """An answer of another form is a failure; the next agent is asked."""
    machine = polled()
    with pytest.raises(DiscoveryError, match="no result of a prepared query"):
        machine.answer(reply(7, [WEB]), 0.0)
    machine.failed(0.0)
    assert machine.query(1.0).url == "http://b:8500"
