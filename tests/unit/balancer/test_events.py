"""Events: what is told, when, and that no listener can harm a call."""

import logging
import threading

import pytest

from lbkit.balancer.call import Call
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import OK
from lbkit.retry import RetryBudget, RetryPolicy
from tests.unit.balancer.worlds import NO_ANSWER, UNREACHABLE, apply, balancer, fail, overloaded, state, use


def story(made):
    """Subscribe; return the list that fills with (event, endpoint, …)."""
    told = []

    def hear(event):
        kind = type(event).__name__
        if kind == "StandingChanged":
            told.append((event.endpoint, event.before.value, event.after.value, event.cause))
        elif kind == "LeasesDropped":
            told.append((kind, event.count))
        else:
            told.append((kind, event.endpoint))

    made.subscribe(hear)
    return told


def test_the_life_of_an_endpoint_is_told():
    """Added, opened, tried, back, drained, restored, weight 0, removed: each once, in order."""
    made, clock = balancer()
    told = story(made)
    apply(made, "a", "b")
    fail(made, "a")
    clock.advance(2.0)
    use(made, 1)
    made.drain("a:80")
    made.drain("a:80", draining=False)
    apply(made, Endpoint(host="a", port=80, weight=0), "b")
    apply(made, "b")
    assert told == [
        ("EndpointAdded", "a:80"),
        ("EndpointAdded", "b:80"),
        ("a:80", "ready", "open", "ConnectError"),
        ("a:80", "open", "half_open", "time"),
        ("a:80", "half_open", "ready", ""),
        ("a:80", "ready", "draining", "drain"),
        ("a:80", "draining", "ready", "restore"),
        ("a:80", "ready", "weight_0", "static"),
        ("EndpointRemoved", "a:80"),
    ]


def test_a_pause_and_its_end_are_told_with_the_seconds():
    """`for_s` is how long it lasts unless something happens."""
    made, clock = balancer("a", "b")
    told = []
    made.subscribe(told.append)
    fail(made, "a", 1, overloaded(7.0))
    assert (told[0].after.value, told[0].cause, told[0].for_s) == ("paused", "429", 7.0)
    clock.advance(7.0)
    use(made, 1)
    assert (told[1].after.value, told[1].cause) == ("ready", "time")


def test_retries_are_told_as_scheduled_or_refused():
    """With the endpoint that failed."""
    made, _ = balancer("a", "b", budget=RetryBudget(ratio=0, floor=1))
    told = story(made)
    call = Call(made, RetryPolicy(attempts=5), replayable=False)
    for _ in range(2):
        call.judge(call.begin(), UNREACHABLE, error=OSError())
    assert told == [("RetryScheduled", "a:80"), ("RetryRefused", "b:80")]


def test_failing_open_is_told_once_per_change_and_not_per_request():
    """A thousand requests in an outage are one event."""
    made, _ = balancer("a", breaker=CircuitBreaker(failures=1, open_s=60, open_max_s=60))
    told = story(made)
    use(made, 1, UNREACHABLE)
    use(made, 100, NO_ANSWER)
    assert told == [("a:80", "ready", "open", "ConnectError"), ("FailedOpen", "a:80")]


def test_dropped_leases_are_told_with_their_number():
    """Beside the ResourceWarning."""
    made, _ = balancer("a")
    told = story(made)
    made.acquire()
    with pytest.warns(ResourceWarning):
        use(made, 1)
    assert told == [("LeasesDropped", 1)]


def test_listeners_run_outside_the_lock_and_may_call_back():
    """A listener that drains, takes leases, reads statistics and changes the membership deadlocks nothing."""
    made, _ = balancer("a", "b", "c")
    depth = []

    def meddle(event):
        depth.append(event)
        if len(depth) > 20:
            return
        made.stats()
        made.acquire().release(OK)
        if len(depth) == 1:
            made.drain("b:80")
            apply(made, "a", "b", "c", "d")

    made.subscribe(meddle)
    worker = threading.Thread(target=fail, args=(made, "a"), daemon=True)
    worker.start()
    worker.join(20.0)
    assert not worker.is_alive()
    assert (state(made, "a"), state(made, "b"), state(made, "d")) == ("open", "draining", "ready")


def test_a_listener_that_raises_harms_nothing_and_is_logged(caplog):
    """Neither the call nor the other listeners."""
    made, _ = balancer("a", "b")

    def broken(event):
        raise RuntimeError("listener bug")

    made.subscribe(broken)
    told = story(made)
    with caplog.at_level(logging.ERROR, "lbkit"):
        fail(made, "a")
    assert told == [("a:80", "ready", "open", "ConnectError")]
    assert use(made, 2) == "bb"
    assert "a listener failed" in caplog.text
    assert "listener bug" in caplog.text


def test_unsubscribing_ends_it():
    """Twice is not an error, and others go on hearing."""
    made, _ = balancer("a", "b")
    first, second = [], []
    end = made.subscribe(first.append)
    made.subscribe(second.append)
    end()
    end()
    made.drain("a:80")
    assert (len(first), len(second)) == (0, 1)


def test_changes_of_standing_are_logged_with_fields(caplog):
    """A warning when an endpoint goes, information when it returns; machines read the extra fields."""
    made, clock = balancer("a", "b")
    with caplog.at_level(logging.INFO, "lbkit"):
        fail(made, "a")
        clock.advance(2.0)
        use(made, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
    first = caplog.records[0]
    assert first.getMessage() == "orders: endpoint a:80 is open (was ready, ConnectError)"
    assert (first.lbkit_cluster, first.lbkit_endpoint, first.lbkit_after) == ("orders", "a:80", "open")


def test_nothing_is_logged_or_told_on_the_way_of_a_good_request(caplog):
    """The hot path is silent."""
    made, _ = balancer("a", "b")
    told = story(made)
    with caplog.at_level(logging.DEBUG):
        use(made, 100)
    assert not told
    assert not caplog.records


def test_no_secret_comes_through(caplog):
    """Hash keys and the texts of errors stay out of events, logs, statistics and messages; classes and addresses do."""
    made, _ = balancer("a", "b")
    events = []
    made.subscribe(lambda event: events.append(repr(event)))
    call = Call(made, RetryPolicy(attempts=9), replayable=True, hash_key=b"s3cret-key")
    with caplog.at_level(logging.DEBUG):
        for _ in range(9):
            call.judge(call.begin(), UNREACHABLE, error=OSError("s3cret password"))
    seen = "\n".join([*events, caplog.text, str(made.stats()), made.stats().to_json(), call.history(), repr(call)])
    assert "s3cret" not in seen
    assert "a:80" in seen
