"""Keeps one service registered with an agent: what to tell the agent next, given what it answered.

    what came back                        to what        what comes next
    200                                   registration   maintenance, if it is wanted, and the first beat at once
    200                                   maintenance    the next beat
    200                                   beat           the next beat, after a third of the TTL
    "I know no such service"              beat           registration at once: the agent has lost its state
    the same, but no beat came through    beat           registration after a pause: it forgets, or is several agents
    a refusal                             any            the same again, after a growing pause
    no answer                             any            the same; from the second in a row on, at the next agent

    leaving, registered                   maintenance; after `drain_s`, or at once if that fails, deregistration
    leaving, not registered or failing    deregistration at once
    deregistered, or failed twice         the next agent at which it may be registered, or the end

Rules: what the agent knows of an earlier run is replaced by the first registration. A wish (another status, or
maintenance) goes out at once, but no sooner than `GAP_S` after the last request, and never during the pause after a
failure. An agent to which a registration was sent may have it, even if it did not answer; all of those are told at the
end. Only a beat that came through ends a row of failures.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from random import Random

from lbkit.core.backoff import jittered
from lbkit.discovery.base import Upkeep
from lbkit.discovery.consul.check import CheckStatus, TtlCheck
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.discovery.consul.service import ServiceRequests
from lbkit.errors import DiscoveryError

BEAT_JITTER = 0.1
GAP_S = 0.2
"""So often, at most, may an application's wishes make for requests, in seconds."""
PATIENCE_S = (1.0, 10.0)
"""Shortest and longest wait for an answer; in between, the time from one beat to the next."""
RETRY_FIRST_S = 0.5
"""Pause after a first failure, or half the time from one beat to the next where that is less."""
LEAVE_ANSWER_S = 1.5
"""Wait for an answer when the service leaves: its process must end."""
LEAVE_TRIES = 2
LEAVE_PAUSE_S = 0.1
TURN = 2
"""Failures in a row after which another agent is asked; one alone may be a connection that was closed meanwhile."""
DRAINING = "lbkit: leaving"
"""The reason for the maintenance that Consul shows."""
_UNKNOWN = (b"does not have associated ttl", b"unknown check", b"unknown service")


class RegistrationState(enum.Enum):
    """Where a registration stands.

    STARTING: the agent has not taken it yet. REGISTERED: the agent has answered the last beat. FAILING: it was
    registered, and the last request failed; it is tried again. DRAINING: maintenance is on, and the service will leave.
    CLOSED: over. INHERITED: this process is a fork of the one that registers.
    """

    STARTING = "starting"
    REGISTERED = "registered"
    FAILING = "failing"
    DRAINING = "draining"
    CLOSED = "closed"
    INHERITED = "inherited"


@dataclass(frozen=True, slots=True)
class RegistrationReport:
    """Where a registration stands, and what is wrong; empty where all is well."""

    state: RegistrationState
    problem: str = ""


class _Step(enum.Enum):
    REGISTER = "could not register"
    MAINTAIN = "could not change maintenance"
    BEAT = "could not renew"
    DRAIN = "could not turn maintenance on"
    LEAVE = "could not deregister"


class Registrar:
    """The machine. It is used by one thread at a time.

    Attributes:
        due: When to send the next request; `inf` when all is said.
        report: Replaced as a whole, so that any thread may read it.
    """

    def __init__(self, requests: ServiceRequests, rng: Random) -> None:
        self._requests = requests
        self._rng = rng
        self._agents = len(requests.access.agents)
        self._agent = 0
        self._beat_s = requests.service.check.beat_s
        self._upkeep = Upkeep(retry_first_s=min(RETRY_FIRST_S, self._beat_s / 2))
        self._timeout = min(max(PATIENCE_S[0], self._beat_s), PATIENCE_S[1])
        self._said = (CheckStatus.PASSING, "")
        self._felt = (CheckStatus.PASSING, "")
        self._maintenance: str | None = None
        self._told: str | None = None
        self._sent: tuple[object, str | None] = (self._said, self._maintenance)
        self._known = self._confirmed = False
        self._failures = 0
        self._sent_at = -math.inf
        self._step = _Step.REGISTER
        self._places: list[int] = []
        self._leaving = self._drains = False
        self._drain_s = 0.0
        self._tries = 0
        self.due = -math.inf
        self.report = RegistrationReport(RegistrationState.STARTING)

    @property
    def asks_health(self) -> bool:
        """Whether the next request says how the service is."""
        has_ttl = isinstance(self._requests.service.check, TtlCheck)
        return has_ttl and self._next() in (_Step.REGISTER, _Step.BEAT)

    def say(self, status: CheckStatus, output: str, now: float) -> None:
        """Hear from the application how it is."""
        if (status, output) != self._said:
            self._said = (status, output)
            self._hurry(now)

    def feel(self, status: CheckStatus, output: str) -> None:
        """Hear from the application's health function, before a request. Of both, the worse counts."""
        self._felt = (status, output)

    def maintain(self, reason: str | None, now: float) -> None:
        """Hear that maintenance is wanted, for a reason, or no longer."""
        self._maintenance = reason
        if reason != self._told:
            self._hurry(now)

    def leave(self, drain_s: float, now: float) -> bool:
        """Hear that the service leaves: what is under way is of no interest any more. False where that was known."""
        if self._leaving:
            return False
        self._leaving = True
        self._drain_s = drain_s
        self._drains = drain_s > 0 and self.report.state is RegistrationState.REGISTERED
        self._places.sort(key=lambda place: place != self._agent)  # the one that answers first
        self.due = now
        if not self._places:
            self._end("")
        return True

    def give_up(self) -> None:
        """Hear that there is no more time to leave in."""
        if self.report.state is not RegistrationState.CLOSED:
            self._end("it was left without being deregistered" if self._places else "")

    def query(self, now: float) -> AgentRequest:
        """Return the request to send now."""
        self._step = self._next()
        self._sent, self._sent_at = (self._said, self._maintenance), now
        requests, agent, timeout = self._requests, self._agent, self._timeout
        if self._step is _Step.REGISTER:
            if agent not in self._places:
                self._places.append(agent)
            # Not passing for a moment that is to be maintenance.
            status = self._status()[0] if self._maintenance is None else CheckStatus.CRITICAL
            return requests.register(agent, timeout, status)
        if self._step is _Step.MAINTAIN:
            return requests.maintain(agent, timeout, self._maintenance)
        if self._step is _Step.BEAT:
            return requests.beat(agent, timeout, *self._status())
        if self._step is _Step.DRAIN:
            return requests.maintain(self._places[0], LEAVE_ANSWER_S, DRAINING)
        return requests.deregister(self._places[0], LEAVE_ANSWER_S)

    def answer(self, reply: AgentReply, now: float) -> None:
        """Read what the agent answered to the last request."""
        if self._is_over(self._step):
            return
        good = reply.status == 200
        unknown = not good and _is_unknown(reply)
        if self._step is _Step.DRAIN and good:
            self._drains = False
            self.due = now + self._drain_s
            self.report = RegistrationReport(RegistrationState.DRAINING)
        elif self._step is _Step.LEAVE and (good or unknown):
            self._left(now)
        elif good:
            self._went_well(now)
        elif unknown and self._step in (_Step.BEAT, _Step.MAINTAIN) and self._confirmed:
            self._forget()
            self.due = now
        else:
            if unknown:
                self._forget()
            place = self._places[0] if self._leaving else self._agent
            self._failed(f"{self._requests.access.agents[place]}: {_refusal(reply)}", now)

    def failed(self, problem: str, now: float) -> None:
        """Hear that there was no answer to the last request."""
        if self._is_over(self._step):
            return
        self._failed(problem, now)
        if not self._leaving and self._agents > 1 and self._failures >= TURN:
            self._agent = (self._agent + 1) % self._agents
            self._forget()

    def _next(self) -> _Step:
        if self._leaving:
            return _Step.DRAIN if self._drains else _Step.LEAVE
        if not self._known:
            return _Step.REGISTER
        return _Step.BEAT if self._maintenance == self._told else _Step.MAINTAIN

    def _is_over(self, step: _Step) -> bool:
        return self._leaving and step not in (_Step.DRAIN, _Step.LEAVE)

    def _status(self) -> tuple[CheckStatus, str]:
        return max(self._felt, self._said, key=lambda one: (one[0].rank, bool(one[1])))

    def _hurry(self, now: float) -> None:
        if not self._failures and not self._leaving:
            self.due = min(self.due, max(now, self._sent_at + GAP_S))

    def _forget(self) -> None:
        self._known = self._confirmed = False
        self._told = None

    def _went_well(self, now: float) -> None:
        self.due = now
        if self._step is _Step.REGISTER:
            self._known = True
            return
        said, maintenance = self._sent
        if self._step is _Step.MAINTAIN:
            self._told = maintenance
            return
        self._failures = 0
        self._confirmed = True
        self.due = now + jittered(self._beat_s, BEAT_JITTER, self._rng)
        if said != self._said or self._told != self._maintenance:  # there was a wish meanwhile
            self._hurry(now)
        self.report = RegistrationReport(RegistrationState.REGISTERED)

    def _failed(self, problem: str, now: float) -> None:
        problem = f"{self._step.value}: {problem}"
        if self._leaving:
            self.due = now + LEAVE_PAUSE_S
            if self.report.state is RegistrationState.STARTING:
                problem = f"it was never seen registered, and {problem}"
            else:
                self.report = RegistrationReport(self.report.state, problem)
            if self._step is _Step.DRAIN:  # nobody could be told, so there is nothing to wait for
                self._drains = False
                return
            self._tries += 1
            if self._tries >= LEAVE_TRIES:
                self._left(now, problem)
            return
        self.due = now + self._upkeep.retry_s(self._failures, self._rng)
        self._failures += 1
        starting = self.report.state is RegistrationState.STARTING
        state = RegistrationState.STARTING if starting else RegistrationState.FAILING
        self.report = RegistrationReport(state, problem)

    def _left(self, now: float, problem: str = "") -> None:
        self._places.pop(0)
        self._tries = 0
        self.due = now
        if not self._places:
            self._end(problem)

    def _end(self, problem: str) -> None:
        self.due = math.inf
        self.report = RegistrationReport(RegistrationState.CLOSED, problem)


def _refusal(reply: AgentReply) -> str:
    try:
        reply.json()
    except DiscoveryError as error:
        return str(error)
    return ""


def _is_unknown(reply: AgentReply) -> bool:
    # 404 since 1.11, and for services always; before, an update of an unknown check was a 500 with these words.
    text = reply.body[:500].lower()
    return reply.status == 404 or (reply.status == 500 and any(words in text for words in _UNKNOWN))
