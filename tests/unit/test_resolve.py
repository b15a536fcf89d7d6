"""What the resolve command says of a source of the test's own, in this process."""

import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lbkit import ConfigError, DiscoveryError, Endpoint
from lbkit.__main__ import main
from lbkit._resolve import run
from lbkit._resolve.change import Change, Edit, change
from lbkit._resolve.lines import LinesView
from lbkit._resolve.observer import Observer, View
from lbkit._resolve.plain import PlainView, visible
from lbkit.balancer.stats import SourceStats
from lbkit.events import SourceChanged, SourceState
from tests.rigs.leaks import leak_check
from tests.rigs.sources import Scripted

A, B = Endpoint.parse("10.0.0.1:80"), Endpoint.parse("10.0.0.2:80", zone="eu", metadata={"v": "2", "a": "b"})
HEAVY = Endpoint.parse("10.0.0.1:80", weight=5)
AT = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)


@pytest.fixture
def source(monkeypatch):
    source = Scripted()
    monkeypatch.setattr(run, "as_discovery", lambda _: source)
    return source


def written(view_class, *news):
    out = io.StringIO()
    for one in news:
        view_class(out).tell(one, AT)
    return out.getvalue()


def test_a_change_names_what_came_what_went_and_what_is_described_in_another_way():
    """By address; the order of the endpoints is no change."""
    assert change([A, B], [B, HEAVY]) == Change((), (), (Edit("10.0.0.1:80", {"weight": (1.0, 5)}),))
    assert change([A], [B]) == Change((B,), (A,), ())
    assert not change([A, B], [B, A])


def test_a_change_is_a_line_for_each_endpoint():
    """With the time, and a sign for what happened."""
    edit = Edit("10.0.0.2:80", {"weight": (1.0, 5.0), "zone": ("", "eu"), "metadata": ({}, {"v": "2"})})
    assert written(PlainView, Change((B,), (A,), (edit,))).splitlines() == [
        "03:04:05.006  + 10.0.0.2:80  weight 1, priority 0, zone eu, a=b, v=2",
        "03:04:05.006  - 10.0.0.1:80",
        "03:04:05.006  ~ 10.0.0.2:80  weight 1 -> 5, zone none -> eu, metadata none -> v=2",
    ]


def test_a_source_that_changes_is_told_with_the_reason():
    """Both states where they differ, one where only the problem is another."""
    lost = SourceChanged("resolve", "dns://a:80", SourceState.LIVE, SourceState.STALE, "SERVFAIL", 2)
    worse = SourceChanged("resolve", "dns://a:80", SourceState.STALE, SourceState.STALE, "no answer in 2 s", 2)
    assert written(PlainView, lost, worse).splitlines() == [
        "03:04:05.006  ! dns://a:80  live -> stale, 2 endpoints: SERVFAIL",
        "03:04:05.006  ! dns://a:80  stale, 2 endpoints: no answer in 2 s",
    ]
    assert json.loads(written(LinesView, lost)) == {
        "event": "source", "at": "2026-01-02T03:04:05.006+00:00", "source": "dns://a:80", "before": "live",
        "after": "stale", "problem": "SERVFAIL", "endpoints": 2,
    }  # fmt: skip


def test_a_change_for_machines_has_all_of_an_endpoint():
    """Added ones as a whole, the others by their id."""
    told = json.loads(written(LinesView, Change((B,), (A,), (Edit("c:1", {"metadata": ({}, B.metadata)}),))))
    assert told["added"] == [
        {
            "endpoint": "10.0.0.2:80", "host": "10.0.0.2", "port": 80, "path": "", "weight": 1.0, "priority": 0,
            "zone": "eu", "server_name": None, "scheme": None, "metadata": {"v": "2", "a": "b"},
        }
    ]  # fmt: skip
    assert told["removed"] == ["10.0.0.1:80"]
    assert told["changed"] == [{"endpoint": "c:1", "metadata": {"before": {}, "after": {"v": "2", "a": "b"}}}]


def test_the_tables_are_as_wide_as_they_need_be():
    """Sources with state, age and next query; endpoints with all that a picker may know."""
    sources = (
        SourceStats("dns://a:80", "stale", "SERVFAIL", 2, 1.25, 0.5),
        SourceStats("consul:///b", "starting", "", 0, None, 0.0),
        SourceStats("static", "live", "", 1, 3.0, None),
    )
    out = io.StringIO()
    PlainView(out).show(View("merged", sources, (A, B)))
    assert out.getvalue().splitlines() == [
        "source       state     endpoints  answered   next query  problem",
        "dns://a:80   stale     2          1.2 s ago  in 0.5 s    SERVFAIL",
        "consul:///b  starting  0          never      under way   -",
        "static       live      1          3.0 s ago  never       -",
        "",
        "endpoint     weight  priority  zone  metadata",
        "10.0.0.1:80  1       0         -     -",
        "10.0.0.2:80  1       0         eu    a=b, v=2",
    ]


def test_nothing_that_a_source_answers_acts_on_the_terminal():
    """Labels and messages come from elsewhere; what is printable stays."""
    assert visible("\x1b[2Jé\r\n\u202e") == "\\x1b[2Jé\\r\\n\\u202e"
    out = io.StringIO()
    view = PlainView(out)
    view.show(View("t", (SourceStats("s", "stale", "\x1b[2J", 1, 1.0, 1.0),), (replace(A, metadata={"a": "\x1b[2J"}),)))
    view.tell(SourceChanged("c", "s", SourceState.LIVE, SourceState.STALE, "\x1b[2J", 1), AT)
    view.tell(change((), (replace(A, zone="\x1b[2J"),)), AT)
    assert out.getvalue().count("\\x1b[2J") == 4
    assert "\x1b" not in out.getvalue()


def test_what_a_pipe_cannot_take_is_written_in_ascii():
    """A zone or a label may be any text, and the output's encoding is ASCII in many a container."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    PlainView(out).show(View("static", (), (replace(A, zone="zoné"),)))
    assert b"zon\\xe9" in raw.getvalue()


def test_no_endpoints_is_exit_code_1_with_the_reason_on_stderr(source, capsys):
    """A failure at once, without waiting for the timeout."""
    source.fail(DiscoveryError("no leader"))
    with leak_check():
        assert main(["resolve", "any", "--timeout", "60"]) == 1
    out, error = capsys.readouterr()
    assert error == "python -m lbkit resolve: no membership is known: scripted: no leader\n"
    assert "failed" in out


def test_an_empty_answer_is_exit_code_1_too(source, capsys):
    """It is known that there is nothing."""
    source.say()
    assert main(["resolve", "any", "--timeout", "60", "--json"]) == 1
    out, error = capsys.readouterr()
    assert error == "python -m lbkit resolve: the membership is empty: scripted: the source has no endpoints\n"
    assert (json.loads(out)["known"], json.loads(out)["endpoints"]) == (True, [])


def test_a_source_that_says_nothing_ends_with_the_timeout(source, capsys):
    """It is named."""
    assert main(["resolve", "any", "--timeout", "0.05"]) == 1
    assert "no membership is known: scripted: no answer yet" in capsys.readouterr().err


def test_what_is_watched_is_told_until_the_time_is_over(source, capsys):
    """The exit code is that of the end."""
    source.say()
    source.say(A)
    assert main(["resolve", "any", "--timeout", "60", "--watch", "--seconds", "0.5", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "membership"
    told = [*events[0]["endpoints"], *(one for event in events for one in event.get("added", ()))]
    assert [one["endpoint"] for one in told] == ["10.0.0.1:80"]


def test_an_observer_tells_changes_of_weight_which_are_no_events():
    """What came, what is described in another way, what went, and why nothing new comes."""
    source = Scripted()
    source.say(A, B)
    with leak_check(), Observer(source) as observer:
        view = observer.settle(60.0)
        assert (view.endpoints, view.reason) == ((A, B), "")
        news = observer.news(math.inf)
        source.say(HEAVY, B)
        assert next(news) == Change((), (), (Edit("10.0.0.1:80", {"weight": (1.0, 5)}),))
        source.say(HEAVY)
        assert next(news) == Change((), (B,), ())
        source.fail(DiscoveryError("no leader"))
        told = next(news)
        assert isinstance(told, SourceChanged)
        assert (told.after, told.problem) == (SourceState.STALE, "no leader")
        assert "stale" in observer.view().sources[0].state


def test_a_wrong_target_is_exit_code_2(monkeypatch, capsys):
    """With the words of the error, and nothing on stdout."""

    def refuse(_):
        raise ConfigError("a target is text\n  xx\n  ^")

    monkeypatch.setattr(run, "as_discovery", refuse)
    assert main(["resolve", "xx"]) == 2
    assert capsys.readouterr() == ("", "python -m lbkit resolve: a target is text\n  xx\n  ^\n")
