"""What an agent is told next after each kind of answer."""

import json
import math
from random import Random

import pytest

from lbkit.discovery import CheckStatus, TcpCheck, TtlCheck
from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.registrar import GAP_S, Registrar, RegistrationState
from lbkit.discovery.consul.reply import AgentReply
from lbkit.discovery.consul.service import Service, ServiceRequests

OK = AgentReply(200)
OLD_UNKNOWN = AgentReply(500, {}, b'CheckID "service:w1" does not have associated TTL')
UNKNOWN = AgentReply(404, {}, b'Unknown check ID "service:w1"')
REFUSED = AgentReply(403, {}, b"Permission denied")
REGISTER, BEAT = "/v1/agent/service/register", "/v1/agent/check/update/service%3Aw1"
MAINTAIN, LEAVE = "/v1/agent/service/maintenance/w1", "/v1/agent/service/deregister/w1"


class World:
    """A registrar and a clock that jumps to when it is due."""

    def __init__(self, *agents, **service):
        service = {"name": "web", "port": 80, "id": "w1", "check": TtlCheck(9.0)} | service
        access = Access.of("test", agent=agents or "http://a:8500", token="", environment={})
        self.registrar = Registrar(ServiceRequests(Service(**service), access), Random(1))
        self.now = 0.0

    def send(self):
        self.now = max(self.now, self.registrar.due)
        self.request = self.registrar.query(self.now)
        return self.request

    def exchange(self, *replies):
        """Return the paths of the requests that these answers are given to; a text is a failure."""
        paths = []
        for reply in replies:
            paths.append(self.send().path)
            if isinstance(reply, str):
                self.registrar.failed(reply, self.now)
            else:
                self.registrar.answer(reply, self.now)
        return paths

    @property
    def pause_s(self):
        return self.registrar.due - self.now

    @property
    def report(self):
        return self.registrar.report.state.value, self.registrar.report.problem


@pytest.fixture
def registered():
    world = World()
    assert world.exchange(OK, OK) == [REGISTER, BEAT]
    return world


def body(request):
    return json.loads(request.body)


def test_a_beat_comes_three_times_in_a_ttl():
    """Registered once the first has come through; a tenth of the time is random."""
    world = World()
    assert world.exchange(OK) == [REGISTER]
    assert (world.pause_s, world.report) == (0.0, ("starting", ""))
    for _ in range(50):
        assert world.exchange(OK) == [BEAT]
        assert body(world.request) == {"Status": "passing", "Output": ""}
        assert 2.7 <= world.pause_s <= 3.3
        assert world.report == ("registered", "")


def test_where_consul_looks_itself_the_agent_is_asked_whether_it_knows_the_service():
    """And is told again if not."""
    world = World(check=TcpCheck())
    assert world.exchange(OK, OK) == [REGISTER, "/v1/agent/service/w1"]
    assert world.request.method == "GET"
    assert world.exchange(AgentReply(404, {}, b"unknown service ID: w1"), OK)[1] == REGISTER


@pytest.mark.parametrize("unknown", [OLD_UNKNOWN, UNKNOWN])
def test_an_agent_that_lost_its_state_is_told_at_once(registered, unknown):
    """In the words of any version; maintenance included."""
    registered.registrar.maintain("why", registered.now)
    assert registered.exchange(OK, OK) == [MAINTAIN, BEAT]
    assert registered.exchange(unknown) == [BEAT]
    assert (registered.pause_s, registered.report) == (0.0, ("registered", ""))
    assert body(registered.send())["Check"]["Status"] == "critical"
    registered.registrar.answer(OK, registered.now)
    assert registered.exchange(OK, OK) == [MAINTAIN, BEAT]
    assert registered.pause_s > 2.0


def test_an_agent_that_forgets_at_once_is_told_with_growing_pauses(registered):
    """As where several agents are behind one address: no tight loop."""
    assert registered.exchange(UNKNOWN, OK, UNKNOWN) == [BEAT, REGISTER, BEAT]
    pauses = [registered.pause_s]
    for _ in range(5):
        assert registered.exchange(OK, UNKNOWN) == [REGISTER, BEAT]
        pauses.append(registered.pause_s)
    assert pauses[:5] == sorted(pauses[:5]) and pauses[0] >= 0.5 and 6.6 < pauses[-1] <= 10.0
    assert registered.report[0] == "failing"


def test_after_a_failure_it_is_tried_sooner_and_then_ever_later(registered):
    """The same request again; a beat that comes through ends it."""
    pauses = []
    for _ in range(7):
        assert registered.exchange("http://a:8500: no connection") == [BEAT]
        pauses.append(registered.pause_s)
    assert 0.5 <= pauses[0] <= 0.75 and 6.6 < pauses[-1] <= 10.0
    assert registered.report == ("failing", "could not renew: http://a:8500: no connection")
    assert registered.exchange(OK) == [BEAT]
    assert registered.report == ("registered", "")
    assert registered.exchange("again") == [BEAT]
    assert registered.pause_s <= 0.75


def test_a_refusal_is_told_in_consuls_words():
    """And tried again, for a token may be given later."""
    world = World()
    assert world.exchange(REFUSED, REFUSED) == [REGISTER, REGISTER]
    state, problem = world.report
    assert state == "starting"
    assert problem.startswith("could not register: http://a:8500: ") and "403: Permission denied" in problem


def test_what_was_never_registered_is_not_said_to_be_starting_while_it_leaves():
    """The agent may have it all the same, so it is told; only the end is reported."""
    world = World()
    assert world.exchange("lost") == [REGISTER]
    before = world.report
    world.registrar.leave(0.0, world.now)
    assert world.exchange("no") == [LEAVE]
    assert world.report == before
    assert world.exchange("no") == [LEAVE]
    assert world.report == ("closed", "it was never seen registered, and could not deregister: no")


def test_the_next_agent_is_asked_after_two_failures_and_all_are_told_at_the_end():
    """It knows nothing yet; one failure alone changes nothing; a refusal is an answer."""
    world = World("http://a:8500", "http://b:8500")
    assert world.exchange(OK, OK, "lost", OK, "lost", "lost", REFUSED, REFUSED, OK, OK)[5:] == [
        BEAT,
        *[REGISTER] * 3,
        BEAT,
    ]
    assert world.request.url == "http://b:8500"
    world.registrar.leave(0.0, world.now)
    left = []
    while world.registrar.due < math.inf:
        left.append((*world.exchange("no" if world.send().agent == 0 else OK), world.request.url))
    assert left == [(LEAVE, "http://b:8500"), (LEAVE, "http://a:8500"), (LEAVE, "http://a:8500")]
    assert world.report == ("closed", "could not deregister: no")


def test_another_status_is_sent_at_once_but_not_more_often_than_the_gap(registered):
    """Of what the application says and feels the worse counts."""
    registrar = registered.registrar
    registrar.say(CheckStatus.WARNING, "slow", registered.now + 1.0)
    assert registrar.due == registered.now + 1.0
    registered.exchange(OK)
    assert body(registered.request) == {"Status": "warning", "Output": "slow"}
    registrar.say(CheckStatus.WARNING, "slow", registered.now)
    assert registered.pause_s > 2.0
    registrar.say(CheckStatus.WARNING, "slower", registered.now)
    assert registered.pause_s == pytest.approx(GAP_S)
    registrar.feel(CheckStatus.CRITICAL, "dead")
    assert body(registered.send()) == {"Status": "critical", "Output": "dead"}


@pytest.mark.parametrize(
    ("wish", "paths"),
    [
        (lambda registrar, now: registrar.say(CheckStatus.CRITICAL, "", now), [BEAT]),
        (lambda registrar, now: registrar.maintain("why", now), [MAINTAIN, BEAT]),
    ],
)
def test_a_wish_while_a_beat_is_under_way_follows_it(registered, wish, paths):
    """And is not left to the next beat."""
    registered.send()
    wish(registered.registrar, registered.now)
    registered.registrar.answer(OK, registered.now)
    assert registered.pause_s == pytest.approx(GAP_S)
    assert registered.exchange(*[OK] * len(paths)) == paths
    assert registered.pause_s > 2.0


def test_a_wish_does_not_end_the_pause_after_a_failure(registered):
    """An application that changes its mind often is no load on an agent in trouble."""
    registered.exchange("lost")
    due = registered.registrar.due
    registered.registrar.say(CheckStatus.WARNING, "", registered.now)
    registered.registrar.maintain("why", registered.now)
    assert registered.registrar.due == due


def test_maintenance_goes_on_and_off(registered):
    """With its reason; what is so already is no request."""
    registered.registrar.maintain("why", registered.now)
    registered.exchange(OK, OK)
    registered.registrar.maintain("why", registered.now)
    assert registered.pause_s > 2.0
    registered.registrar.maintain(None, registered.now)
    assert registered.exchange(OK) == [MAINTAIN]
    assert registered.request.params == (("enable", "false"), ("reason", ""))


def test_leaving_is_maintenance_then_time_then_out(registered):
    """Short waits for answers, and nothing more at the end."""
    assert registered.registrar.leave(3.0, registered.now)
    assert not registered.registrar.leave(0.0, registered.now)
    assert registered.exchange(OK) == [MAINTAIN]
    assert registered.request.params[0] == ("enable", "true")
    assert (registered.pause_s, registered.report) == (3.0, ("draining", ""))
    assert registered.exchange(OK) == [LEAVE]
    assert (registered.registrar.due, registered.report) == (math.inf, ("closed", ""))


@pytest.mark.parametrize(
    ("before", "replies", "paths", "problem"),
    [
        ((), ("no", OK), [MAINTAIN, LEAVE], ""),
        ((), (OK, UNKNOWN), [MAINTAIN, LEAVE], ""),
        ((), (OK, "no", OK), [MAINTAIN, LEAVE, LEAVE], ""),
        ((), (OK, "no", "no"), [MAINTAIN, LEAVE, LEAVE], "could not deregister: no"),
        (("lost",), (OK,), [LEAVE], ""),
    ],
)
def test_leaving_does_not_insist(registered, before, replies, paths, problem):
    """Without maintenance there is nothing to wait for; deregistration is tried twice."""
    registered.exchange(*before)
    registered.registrar.leave(3.0, registered.now)
    assert registered.exchange(*replies) == paths
    assert registered.report == ("closed", problem)


def test_who_never_registered_leaves_at_once():
    """And an answer to what was under way is of no interest; a registration that was sent is taken back."""
    world = World()
    world.registrar.leave(3.0, 0.0)
    assert (world.registrar.due, world.report) == (math.inf, ("closed", ""))
    world = World()
    world.send()
    world.registrar.leave(3.0, 1.0)
    world.registrar.answer(OK, 1.0)
    world.registrar.failed("late", 1.0)
    assert world.exchange(OK) == [LEAVE]
    assert world.registrar.report.state is RegistrationState.CLOSED


@pytest.mark.parametrize("late", [OK, "lost"])
def test_what_was_under_way_does_not_hold_up_the_leaving(registered, late):
    """A beat that is answered, or fails, too late."""
    registered.send()
    registered.registrar.leave(0.0, registered.now)
    if late is OK:
        registered.registrar.answer(OK, registered.now)
    else:
        registered.registrar.failed("lost", registered.now)
    assert (registered.pause_s, registered.report) == (0.0, ("registered", ""))
    assert registered.exchange(OK) == [LEAVE]


def test_who_runs_out_of_time_says_so(registered):
    """It was left registered."""
    registered.registrar.give_up()
    assert registered.report == ("closed", "it was left without being deregistered")
