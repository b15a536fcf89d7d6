"""Keeps what one source said, whatever becomes of the source: discovery must never make a healthy application fail.

    event                              state      set
    nothing has come yet               starting   none
    an answer with endpoints           live       the answer's
    an answer without endpoints        empty      none, where nothing was known or the grace has passed
                                       stale      the last good one, within the grace
    a failure                          stale      the last good one
                                       failed     none, where nothing was known

Rules: a failure never changes the set. The pause after failures grows; a good answer ends that. The grace for empty
answers counts from the first of them, failures between them do not begin it anew. `hurry` brings the next query
forward, at most once in `hurry_s` seconds, and never during the pause after a failure: a source in trouble is not
helped by the trouble of its endpoints. A source that is late with its first answer stays `starting`, but others that
it is combined with no longer wait for it.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.discovery.base import Part, Upkeep, Watch
from lbkit.discovery.static import Static
from lbkit.discovery.wording import still_used
from lbkit.errors import DiscoveryError

LONGEST_PROBLEM = 1000
"""Characters of a problem that are kept; a source may answer anything, and it goes to logs and listeners."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PATIENT = Upkeep()


class SourceState(enum.Enum):
    """Where a source stands.

    STARTING: nothing has come yet. LIVE: the last answer has endpoints. STALE: it failed, or says that there are none,
    and the last good set is kept. EMPTY: it says that there are none, and that is believed. FAILED: it failed, and
    nothing is known.
    """

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a source, as a value.

    Attributes:
        source: Its name, such as "dns://orders.internal:8080".
        state: Where it stands.
        problem: The last error, or what is wrong with the last answer; empty where all is well.
        endpoints: How many there are in its set.
        answered_at: When it last gave a usable answer, in seconds of the clock that `answer` is given; None for never.
    """

    source: str
    state: SourceState
    problem: str
    endpoints: int
    answered_at: float | None


class Keeper:
    """The record of one source.

    Attributes:
        due: When to ask next, `inf` for never.
        report: What is known, replaced as a whole, so that any thread may read it.
        endpoints: The set, or None while none is known.
    """

    __slots__ = (
        "_empty_since",
        "_failures",
        "_hurry_at",
        "_is_late",
        "_rng",
        "_upkeep",
        "_watch",
        "due",
        "endpoints",
        "report",
    )

    def __init__(self, source: Any, rng: Random) -> None:
        self._watch: Watch = source.watch(rng)
        self._upkeep: Upkeep = getattr(source, "upkeep", _PATIENT)
        self._rng = rng
        self._failures = 0
        self._empty_since: float | None = None
        self._is_late = False
        self._hurry_at = -math.inf if self._upkeep.hurry_s < math.inf else math.inf
        self.due = -math.inf
        self.endpoints: tuple[Endpoint, ...] | None = None
        self.report = Report(str(source), SourceState.STARTING, "", 0, None)

    @property
    def part(self) -> Part:
        """What a combination may know of it."""
        return Part(self.endpoints, self._is_late or self.report.state is not SourceState.STARTING)

    @property
    def is_static(self) -> bool:
        """Whether there is nothing to ask, only to take."""
        return isinstance(self._watch, Static)

    def query(self, now: float) -> Any:
        """Return what to ask."""
        return self._watch.query(now)

    def answer(self, reply: Any, now: float) -> None:
        """Take an answer.

        Raises:
            Exception: What the watch says of it; `failed` is to be called with it.
        """
        found = self._watch.answer(reply, now)
        if found is None:
            self.due = now
            return
        endpoints, due = Snapshot.of(found.endpoints).endpoints, now + found.ask_again_s
        self._failures, self.due = 0, due  # only now: what was answered may be nonsense
        if endpoints:
            self._empty_since = None
            self._keep(endpoints, SourceState.LIVE, found.problem, now)
            return
        if self._empty_since is None:
            self._empty_since = now
        said = found.problem or "the source has no endpoints"
        if self.endpoints and now - self._empty_since < self._upkeep.empty_grace:
            self._keep(self.endpoints, SourceState.STALE, f"{said}; {still_used(len(self.endpoints))}", now)
            if self._upkeep.empty_grace < math.inf:  # believed in time, if the source can be asked by then
                self.due = min(self.due, self._empty_since + self._upkeep.empty_grace)
        else:
            self._keep((), SourceState.EMPTY, said, now)

    def failed(self, error: Exception | SystemExit, now: float) -> None:
        """Take a failure: of the query, of its answer, or of the watch itself."""
        self.due = now + self._upkeep.retry_s(self._failures, self._rng)
        self._failures += 1
        # The text of an error that is not ours may hold what must not be shown.
        problem = _line(str(error)) if isinstance(error, DiscoveryError) else type(error).__name__
        state = SourceState.STALE if self.endpoints else SourceState.FAILED
        count = len(self.endpoints or ())
        self.report = Report(self.report.source, state, problem, count, self.report.answered_at)
        self._watch.failed(now)  # last: it may be a user's, and raise

    def late(self, patience_s: float) -> None:
        """Hear that the first answer has not come in `patience_s` seconds: others need not wait for it any longer."""
        if self.report.state is SourceState.STARTING:
            self._is_late = True
            self.report = replace(self.report, problem=f"no answer in {patience_s:g} s yet")

    def hurry(self, now: float) -> bool:
        """Bring the next query forward, because endpoints could not be reached; False where that is not allowed."""
        if self._failures or now < self._hurry_at:
            return False
        self._hurry_at = now + self._upkeep.hurry_s
        self.due = min(self.due, now)
        return True

    def _keep(self, endpoints: tuple[Endpoint, ...], state: SourceState, problem: str, now: float) -> None:
        self.endpoints = endpoints
        self.report = Report(self.report.source, state, _line(problem), len(endpoints), now)


def _line(text: str) -> str:
    """Return one line of printable text that is not too long."""
    text = _UNSEEN.sub(" ", text)
    return text if len(text) <= LONGEST_PROBLEM else f"{text[:LONGEST_PROBLEM]}…"
