"""A registration as the application sees it, with an agent that the test plays."""

import functools
import json
import logging
import os
import threading

import anyio
import pytest

import lbkit.discovery
from lbkit import ConfigError, DiscoveryError
from lbkit.discovery import HttpCheck, RegistrationState, TtlCheck, registration
from lbkit.discovery.consul.reply import AgentReply
from lbkit.runtime import registration as module
from lbkit.runtime import registration_loop
from tests.rigs.leaks import leak_check
from tests.rigs.ports import eventually


class Agent:
    """Answers with 200, unless `reply` is something else: an error to raise, or None for no answer at all."""

    def __init__(self):
        self.reply = AgentReply(200)
        self.requests = []
        self.closed = threading.Event()

    async def ask(self, request):
        self.requests.append(request)
        if self.reply is None:
            await anyio.sleep_forever()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def aclose(self):
        self.closed.set()

    def last(self, word):
        """The body of the last request whose path has the word in it."""
        bodies = [request.body for request in self.requests if word in request.path]
        return json.loads(bodies[-1]) if bodies else None


@pytest.fixture
def agent(monkeypatch):
    agent = Agent()
    monkeypatch.setattr(registration_loop, "make_client", lambda _: agent)
    return agent


def register(**more):
    return registration("orders", 8080, **({"id": "o1", "token": "", "drain_s": 0.0, "wait": True} | more))


def said(agent, status, output):
    beat = agent.last("update")
    return beat["Status"] == status and output in beat["Output"]


def registered(mine):
    eventually(lambda: mine.state is RegistrationState.REGISTERED)


def test_the_name_is_public_though_the_work_is_done_above():
    """It is looked for when it is used; other names are not there."""
    assert lbkit.discovery.registration is module.registration
    assert lbkit.discovery.Registration is module.Registration
    with pytest.raises(AttributeError, match="no attribute 'registry'"):
        _ = lbkit.discovery.registry


def test_the_id_is_name_host_and_port_unless_it_is_given():
    """Unique where one process listens on one address."""
    assert registration("orders", 8080, address="10.0.0.1").id == "orders-10.0.0.1-8080"
    assert registration("orders", 8080, id="o1").id == "o1"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"drain_s": -1}, "drain_s is at least 0"),
        ({"start_timeout": None}, "start_timeout is at least 0"),
        ({"health": "ok"}, "health is a function"),
        ({"health": dict, "check": HttpCheck("/")}, "goes with a TtlCheck alone"),
        ({"agent": "ftp://a"}, "registration: agent"),
        ({"token": "a", "token_file": "b"}, "token or token_file, not both"),
        ({"tags": "v2"}, "tags is a tuple of texts"),
        ({"meta": 5}, "meta is a dict of texts"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(wrong, said):
    """Nothing has begun then."""
    with pytest.raises(ConfigError, match=said):
        register(**wrong)


def test_a_block_registers_and_leaves_nothing_behind(agent, caplog):
    """The state is told while it lasts, and the log has it."""
    caplog.set_level(logging.INFO, "lbkit")
    with leak_check():
        with register() as mine:
            assert (mine.state, mine.problem) == (RegistrationState.REGISTERED, "")
            assert repr(mine) == "<registration of 'o1', registered>"
        assert mine.state is RegistrationState.CLOSED
        mine.close()
    assert agent.requests[-1].path == "/v1/agent/service/deregister/o1"
    assert agent.closed.is_set()
    assert [record.getMessage() for record in caplog.records if record.name == "lbkit"] == [
        "registration of o1 is registered",
        "registration of o1 is closed",
    ]


def test_a_registration_is_used_once(agent):
    """A second use would be a second service; it does not harm the first."""
    with register() as mine:
        with pytest.raises(ConfigError, match="the registration of o1 was used before"), mine:
            pass
        assert mine.state is RegistrationState.REGISTERED
    with pytest.raises(ConfigError, match="used before"):
        mine.open()


def test_a_failure_is_told_and_never_raised(agent, caplog):
    """With the words of the client; those of an error that is not ours may hold secrets."""
    with register() as mine:
        agent.reply = DiscoveryError("no connection")
        mine.set_status("warning")
        eventually(lambda: mine.state is RegistrationState.FAILING)
        assert mine.problem == "could not renew: no connection"
        agent.reply = ValueError("token=secret")
        eventually(lambda: "ValueError" in mine.problem)
        agent.reply = AgentReply(200)
        registered(mine)
    assert "secret" not in caplog.text
    assert "registration of o1 is failing: could not renew: no connection" in caplog.text


def test_what_is_wished_before_it_begins_counts(agent):
    """The first request has it."""
    mine = register(check=TtlCheck(1.0))
    mine.set_status("critical", "warming up")
    mine.maintenance(True, "not yet")
    with mine:
        assert agent.last("update") == {"Status": "critical", "Output": "warming up"}
        assert any(("reason", "not yet") in request.params for request in agent.requests)


def test_a_status_goes_with_a_ttl_alone(agent):
    """Where Consul looks itself there is none to be set; a wrong one is refused."""
    with pytest.raises(ConfigError, match="use maintenance"):
        register(check=HttpCheck("/")).set_status("passing")
    with pytest.raises(ConfigError, match="one of passing"):
        register().set_status("up")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_health_function_is_asked_before_each_beat(agent, kind):
    """Sync or async; what raises, answers nonsense or hangs is critical."""
    answers, free = ["passing"], threading.Event()

    def look():
        answer = answers[0]
        if answer == "hang":
            free.wait(10.0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def look_async():
        if answers[0] == "hang":
            await anyio.sleep_forever()
        return look()

    with register(check=TtlCheck(1.0), health=look if kind == "sync" else look_async):
        for answer, status, output in (
            ("passing", "passing", ""),
            (("warning", "low"), "warning", "low"),
            (KeyError("secret"), "critical", "health: the function raised KeyError"),
            ("fine", "critical", "health: a status is one of"),
            ("hang", "critical", "health: no answer"),
        ):
            answers[0] = answer
            eventually(functools.partial(said, agent, status, output))
        free.set()


def test_who_insists_is_told_why_it_failed(agent):
    """And nothing goes on in the background."""
    agent.reply = DiscoveryError("no connection")
    with leak_check(), pytest.raises(DiscoveryError, match="o1 is not registered: could not register: no connection"):
        register(start_timeout=0.05).__enter__()
    agent.reply = None
    with leak_check(), pytest.raises(DiscoveryError, match="o1 is not registered: no answer in 0.05 s"):

        async def enter():
            async with register(start_timeout=0.05):
                pass

        agent.closed.clear()
        module_leave_s, module.LEAVE_S = module.LEAVE_S, 0.1
        try:
            anyio.run(enter)
        finally:
            module.LEAVE_S = module_leave_s
    assert agent.closed.is_set()


def test_leaving_does_not_wait_for_ever(agent, monkeypatch):
    """Whatever the agent does not answer: the process goes its way, and it is told that something was left."""
    monkeypatch.setattr(module, "LEAVE_S", 0.1)
    with leak_check():
        with register(drain_s=0.01) as mine:
            agent.reply = None
        assert mine.state is RegistrationState.CLOSED
        assert mine.problem == "it was left without being deregistered"


def test_async_leaving_blocks_no_loop_and_is_not_cut_short(agent):
    """A cancelled scope around the block still drains."""
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await anyio.sleep(0.005)

    async def serve():
        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            with anyio.CancelScope() as scope:
                async with register(drain_s=0.1):
                    scope.cancel()
                    before = len(ticks)
            assert len(ticks) > before
            group.cancel_scope.cancel()

    anyio.run(serve)
    assert [request.path.split("/")[4] for request in agent.requests[-2:]] == ["maintenance", "deregister"]


def test_leaving_waits_for_no_request_that_is_under_way(agent):
    """Its answer is of no interest any more, and a frozen agent would take all the time there is."""
    agent.reply = None
    mine = register(wait=False)
    mine.open()
    eventually(lambda: agent.requests)
    agent.reply = AgentReply(200)
    mine.close()
    assert agent.requests[-1].path == "/v1/agent/service/deregister/o1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_the_child_of_a_fork_all_is_without_effect(agent):
    """It says so, and the parent goes on."""
    with register(check=TtlCheck(1.0)) as mine:
        pid = os.fork()
        if pid == 0:
            mine.maintenance(True)
            mine.set_status("critical")
            mine.close()
            right = mine.state is RegistrationState.INHERITED and "forked" in mine.problem
            os._exit(0 if right else 1)
        assert os.waitpid(pid, 0)[1] == 0
        count = len(agent.requests)
        eventually(lambda: len(agent.requests) > count)
        assert mine.state is RegistrationState.REGISTERED
