"""The keeper: its transition table row by row, the pauses, the grace of empty answers and hurry."""

import math
from dataclasses import dataclass, field
from random import Random

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Part, Upkeep
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.discovery.static import Static
from lbkit.errors import ConfigError, DiscoveryError

A, B, C = (Endpoint.parse(f"{name}:80") for name in "abc")


@dataclass
class Source:
    """A source whose watch takes `Found` as reply: the test says what was found."""

    upkeep: Upkeep = field(default_factory=Upkeep)
    failures: int = 0

    def watch(self, rng):
        return self

    def query(self, now):
        return "query"

    def answer(self, reply, now):
        if isinstance(reply, Exception):
            raise reply
        return reply

    def failed(self, now):
        self.failures += 1

    def __str__(self):
        return "the source"


def keeper(**upkeep):
    return Keeper(Source(Upkeep(**upkeep)), Random(1))


def found(*endpoints, ask_again_s=10.0, problem=""):
    return Found(endpoints, ask_again_s, problem)


def stands(one):
    return one.report.state, one.endpoints


def test_before_anything_came_nothing_is_known_and_it_is_due():
    """Row 1: starting, no set, not settled, and the first query is due at once."""
    one = keeper()
    assert stands(one) == (SourceState.STARTING, None)
    assert one.part == Part(None, settled=False)
    assert one.due == -math.inf
    assert one.query(0.0) == "query"
    report = one.report
    assert (report.source, report.problem, report.endpoints, report.answered_at) == ("the source", "", 0, None)


def test_an_answer_with_endpoints_is_live():
    """Row 2, from every state: the set is the answer's, and it is asked again when the answer says."""
    one = keeper(empty_grace=0)
    for before in (None, found(A), found(), DiscoveryError("down")):
        if isinstance(before, Exception):
            one.failed(before, 1.0)
        elif before is not None:
            one.answer(before, 1.0)
        one.answer(found(B, A, ask_again_s=3.0, problem="one has no port"), 2.0)
        assert stands(one) == (SourceState.LIVE, (B, A))
        assert one.part == Part((B, A), settled=True)
        assert one.due == 5.0
        report = one.report
        assert (report.problem, report.endpoints, report.answered_at) == ("one has no port", 2, 2.0)


def test_an_empty_answer_is_believed_where_nothing_was_known():
    """Row 3: at the start the set becomes empty, which is not the same as unknown, whatever the grace is."""
    one = keeper()
    one.answer(found(), 0.0)
    assert stands(one) == (SourceState.EMPTY, ())
    assert one.report.problem == "the source has no endpoints"
    one.failed(DiscoveryError("down"), 1.0)
    one.answer(found(problem="all are critical"), 2.0)
    assert stands(one) == (SourceState.EMPTY, ())
    assert one.report.problem == "all are critical"


def test_an_empty_answer_keeps_the_last_good_set_for_ever_by_default():
    """Row 4, DI-1: stale with the last good set, however long it lasts."""
    one = keeper()
    one.answer(found(A, B), 0.0)
    for now in (10.0, 1e6, 1e12):
        one.answer(found(), now)
        assert stands(one) == (SourceState.STALE, (A, B))
        assert one.report.problem == "the source has no endpoints; the last 2 are kept"
        assert one.due == now + 10.0


def test_an_empty_answer_is_believed_when_its_grace_has_passed():
    """Rows 3 and 4: stale within the grace, empty at its end, and the query is brought forward to that moment."""
    one = keeper(empty_grace=15.0)
    one.answer(found(A), 0.0)
    one.answer(found(), 10.0)
    assert (*stands(one), one.due) == (SourceState.STALE, (A,), 20.0)
    one.answer(found(), 20.0)
    assert (*stands(one), one.due) == (SourceState.STALE, (A,), 25.0)
    one.answer(found(), 25.0)
    assert (*stands(one), one.due) == (SourceState.EMPTY, (), 35.0)


def test_without_grace_an_empty_answer_is_believed_at_once():
    """A grace of 0 is for sources that are right when they say so."""
    one = keeper(empty_grace=0)
    one.answer(found(A), 0.0)
    one.answer(found(), 10.0)
    assert stands(one) == (SourceState.EMPTY, ())


def test_failures_do_not_begin_the_grace_anew_and_good_answers_do():
    """The grace counts from the first empty answer since the last good one."""
    one = keeper(empty_grace=15.0)
    one.answer(found(A), 0.0)
    one.answer(found(), 10.0)
    one.failed(DiscoveryError("down"), 20.0)
    assert stands(one) == (SourceState.STALE, (A,))
    one.answer(found(), 25.0)
    assert stands(one) == (SourceState.EMPTY, ())
    one.answer(found(B), 30.0)
    one.answer(found(), 40.0)
    one.answer(found(B), 54.0)
    one.answer(found(), 56.0)
    assert stands(one) == (SourceState.STALE, (B,))


def test_a_failure_keeps_the_last_good_set():
    """Row 5, DI-1: stale, the set as it was, the error shown, and when it last answered."""
    one = keeper()
    one.answer(found(A, B), 3.0)
    one.failed(DiscoveryError("no answer in 5 s"), 4.0)
    assert stands(one) == (SourceState.STALE, (A, B))
    report = one.report
    assert (report.problem, report.endpoints, report.answered_at) == ("no answer in 5 s", 2, 3.0)


def test_a_failure_where_nothing_was_known_is_a_failure():
    """Row 6: there is still no set, but it is settled, so that nobody waits for it."""
    one = keeper()
    one.failed(DiscoveryError("refused"), 0.0)
    assert stands(one) == (SourceState.FAILED, None)
    assert one.part == Part(None, settled=True)


def test_a_failure_after_an_empty_answer_leaves_the_set_empty():
    """Row 6: what is known to be empty does not become unknown."""
    one = keeper()
    one.answer(found(), 0.0)
    one.failed(DiscoveryError("refused"), 1.0)
    assert stands(one) == (SourceState.FAILED, ())


def test_an_error_that_is_not_ours_shows_its_name_only():
    """Its text may hold what must not be shown."""
    one = keeper()
    one.failed(ValueError("password=hunter2"), 0.0)
    assert one.report.problem == "ValueError"


def test_no_answer_yet_asks_again_at_once_and_changes_nothing():
    """A source that needs several queries for one set."""
    one = keeper()
    one.answer(found(A), 0.0)
    before = one.report
    one.answer(None, 5.0)
    assert one.due == 5.0
    assert one.report == before


def test_an_address_that_is_answered_twice_is_one_endpoint():
    """DI-2: duplicates are merged, the first one stays."""
    heavy = Endpoint.parse("a:80", weight=5)
    one = keeper()
    one.answer(found(heavy, B, A), 0.0)
    assert one.endpoints == (heavy, B)
    assert one.report.endpoints == 2


@pytest.mark.parametrize("seed", range(5))
def test_pauses_grow_between_their_bounds(seed):
    """From 0.5 s doubling to 10 s with a random part: asked at most twice a second, noticed within 10 s."""
    one = Keeper(Source(), Random(seed))
    now, pauses = 0.0, []
    for _ in range(12):
        one.failed(DiscoveryError("down"), now)
        pauses.append(one.due - now)
        now = one.due
    assert all(0.5 - 1e-9 <= pause <= 10.0 + 1e-9 for pause in pauses)
    for step, pause in enumerate(pauses[:4]):
        assert 0.5 * 2**step <= pause + 1e-9 <= 0.75 * 2**step + 1e-6
    assert min(pauses[5:]) > 6.6
    assert len(set(pauses)) == len(pauses), "the longest pause has its random part too"


def test_equal_bounds_make_a_constant_pause():
    """For sources that are cheap to ask, such as a file."""
    one = keeper(retry_first_s=2.0, retry_max_s=2.0)
    for now in (0.0, 10.0, 20.0):
        one.failed(DiscoveryError("down"), now)
        assert one.due == now + 2.0


def test_a_good_answer_ends_the_growth():
    """The next failure begins with the first pause again; an empty answer is an answer."""
    one = keeper()
    for reply in (found(A), found()):
        for _ in range(8):
            one.failed(DiscoveryError("down"), 0.0)
        assert one.due > 6.0
        one.answer(reply, 0.0)
        one.failed(DiscoveryError("down"), 0.0)
        assert one.due <= 0.75


@pytest.mark.parametrize("reply", [ValueError("bad"), "nonsense", Found(("a:80",), 0.0), Found(5, 0.0)])
def test_an_answer_that_cannot_be_read_changes_nothing_and_does_not_end_the_growth(reply):
    """A source that answers nonsense is in trouble: its pauses grow, and the set stays."""
    one = keeper()
    one.answer(found(A), 0.0)
    for _ in range(8):
        before = (one.endpoints, one.report)
        with pytest.raises(Exception) as caught:
            one.answer(reply, 1.0)
        assert (one.endpoints, one.report) == before
        one.failed(caught.value, 1.0)
    assert stands(one) == (SourceState.STALE, (A,))
    assert one.due > 1.0 + 6.0


def test_the_watch_hears_of_failures_after_the_keeper_has_taken_them():
    """A watch of a user's own that raises then spoils nothing: the pause and the report are there."""
    source = Source()
    one = Keeper(source, Random(1))
    one.failed(DiscoveryError("down"), 0.0)
    assert source.failures == 1
    source.failed = lambda now: 1 / 0
    with pytest.raises(ZeroDivisionError):
        one.failed(DiscoveryError("down again"), 1.0)
    assert one.report.problem == "down again"
    assert one.due >= 2.0


def test_hurry_brings_the_next_query_forward_at_a_limited_rate():
    """At once, but then not again for hurry_s."""
    one = keeper(hurry_s=1.0)
    one.answer(found(A, ask_again_s=30.0), 0.0)
    assert one.hurry(5.0) is True
    assert one.due == 5.0
    one.answer(found(A, ask_again_s=30.0), 5.1)
    assert one.hurry(5.9) is False
    assert one.due == 35.1
    assert one.hurry(6.0) is True
    assert one.due == 6.0


def test_hurry_never_puts_a_query_off():
    """What is due before stays due."""
    one = keeper(hurry_s=1.0)
    one.answer(found(A, ask_again_s=2.0), 0.0)
    assert one.hurry(7.0) is True
    assert one.due == 2.0


def test_hurry_does_not_shorten_the_pause_after_a_failure():
    """A source in trouble is not helped by the trouble of its endpoints."""
    one = keeper(hurry_s=1.0)
    one.answer(found(A), 0.0)
    one.failed(DiscoveryError("down"), 1.0)
    due = one.due
    assert one.hurry(1.1) is False
    assert one.due == due


@pytest.mark.parametrize("source", [Source(), Static("a:80")])
def test_a_source_that_tells_changes_by_itself_is_never_hurried(source):
    """`hurry_s` is infinite by default: not even once."""
    one = Keeper(source, Random(1))
    one.answer(found(A, ask_again_s=math.inf), 0.0)
    assert one.hurry(1.0) is False
    assert one.due == math.inf


def test_only_what_is_written_down_is_static():
    """There is nothing to ask."""
    assert Keeper(Static("a:80"), Random(1)).is_static
    assert not keeper().is_static


@pytest.mark.parametrize(
    "wrong",
    [
        {"empty_grace": -1}, {"empty_grace": math.nan}, {"retry_first_s": 0}, {"retry_max_s": 0.1}, {"hurry_s": 0},
        {"hurry_s": math.nan}, {"empty_grace": "1"}, {"retry_first_s": "1"}, {"retry_max_s": None}, {"hurry_s": "1"},
    ],
)  # fmt: skip
def test_an_upkeep_out_of_range_is_refused(wrong):
    """At construction."""
    with pytest.raises(ConfigError):
        Upkeep(**wrong)


@pytest.mark.parametrize("pause", [-1.0, math.nan, None])
def test_a_pause_that_is_none_is_refused(pause):
    """By `Found`, which a watch of a user's own may make."""
    with pytest.raises(ConfigError, match="ask_again_s must be at least 0"):
        Found((), pause)


@pytest.mark.parametrize("fails", [True, False])
def test_a_problem_is_one_line_of_bounded_length(fails):
    """What a source answers goes to logs, where a line break would forge a line and an escape act on the terminal."""
    one, hostile = keeper(), "bad\x1b[31m\r\n2026 forged\u2028\ud800" + "x" * 5000
    if fails:
        one.failed(DiscoveryError(hostile), 0.0)
    else:
        one.answer(found(A, problem=hostile), 0.0)
    assert one.report.problem == "bad [31m 2026 forged " + "x" * 979 + "…"


def test_who_is_late_is_not_waited_for_and_may_still_answer():
    """It stays starting, says so, and its part is settled; an answer makes it live, and lateness is for the first alone."""
    one = keeper()
    one.late(2.0)
    assert stands(one) == (SourceState.STARTING, None)
    assert one.part == Part(None, settled=True)
    assert one.report.problem == "no answer in 2 s yet"
    one.answer(found(A), 3.0)
    assert (stands(one), one.report.problem) == ((SourceState.LIVE, (A,)), "")
    report = one.report
    one.late(2.0)
    assert one.report is report
