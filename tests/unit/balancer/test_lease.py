"""Leases: used once, settled once, and never lost."""

import gc
import logging
import sys

import pytest

from lbkit.balancer.lease import HELD, RELEASED, REPORTED
from lbkit.core.outcome import CANCELLED, OK
from lbkit.errors import LeaseMisuse
from tests.unit.balancer.worlds import ERROR, NO_ANSWER, apply, balancer, in_flight, state, use


def test_an_endpoint_is_in_use_until_the_release():
    """A report says how it went, and the slot stays taken: the body is still being read."""
    made, _ = balancer("a")
    lease = made.acquire()
    assert in_flight(made) == {"a": 1}
    lease.report(OK)
    assert in_flight(made) == {"a": 1}
    lease.release()
    assert in_flight(made) == {"a": 0}


def test_a_release_alone_does_both():
    """Without an outcome it is OK, with one it is that."""
    made, clock = balancer("a")
    lease = made.acquire()
    clock.advance(0.010)
    lease.release()
    made.acquire().release(ERROR)
    (stats,) = made.stats().endpoints
    assert (stats.attempts, stats.failures, stats.latency_ms) == (2, 1, 10.0)


@pytest.mark.parametrize(
    ("before", "misuse"),
    [
        (["release"], "release"),
        (["release"], "report"),
        (["report"], "report"),
        (["report", "release"], "release"),
        (["report", "release"], "report"),
    ],
)
def test_settling_a_lease_twice_raises_and_changes_nothing(before, misuse):
    """A bug in the code that holds it must not free another request's slot, nor count a failure twice."""
    made, _ = balancer("a")
    other = made.acquire()
    lease = made.acquire()
    for step in before:
        getattr(lease, step)(*([ERROR] if step == "report" or before == ["release"] else []))
    stats = made.stats()
    with pytest.raises(LeaseMisuse, match=r"a:80 was (reported|released) twice"):
        getattr(lease, misuse)(ERROR)
    assert made.stats() == stats
    assert stats.failures == 1
    if lease.state != RELEASED:
        lease.release()
    other.release()


def test_latency_is_measured_to_the_report_and_not_to_the_end_of_the_body():
    """A long download is not a slow endpoint."""
    made, clock = balancer("a")
    lease = made.acquire()
    clock.advance(0.020)
    lease.report(OK)
    clock.advance(60.0)
    lease.release()
    assert made.stats().endpoints[0].latency_ms == 20.0


def test_latency_is_measured_to_the_head_where_it_was_marked():
    """The outcome may be told later than the head came."""
    made, clock = balancer("a")
    lease = made.acquire()
    clock.advance(0.020)
    lease.mark_head()
    clock.advance(5.0)
    lease.release(OK)
    assert made.stats().endpoints[0].latency_ms == 20.0


def test_a_body_that_breaks_after_a_good_head_is_one_failure_and_no_second_success():
    """The head was good, so the latency stands; the broken body counts once against the endpoint."""
    heard = []

    class Spy:
        def build(self, rng):
            return self

        def rebuild(self, ready, now):
            self.ready = ready

        def pick(self, info, now):
            return self.ready[0]

        def observe(self, node, outcome, latency_s, now):
            heard.append(outcome.result.value)

    made, clock = balancer("a", scheduler=Spy())
    lease = made.acquire()
    clock.advance(0.010)
    lease.report(OK)
    lease.release(NO_ANSWER)
    assert heard == ["ok", "no_answer"]
    lease = made.acquire()
    lease.report(OK)
    lease.release(OK)
    assert heard == ["ok", "no_answer", "ok"]
    (stats,) = made.stats().endpoints
    assert (stats.attempts, stats.failures, stats.latency_ms) == (2, 1, 9.0)  # 10 ms, then a tenth of the way to 0


def test_broken_bodies_open_the_circuit_as_other_failures_do():
    """Five in a row, though each head was good: a good head does not wash a broken body away."""
    made, _ = balancer("a", "b")
    for _ in range(5):
        leases = [made.acquire(), made.acquire()]
        for lease in leases:
            lease.report(OK)
        for lease in leases:
            lease.release(NO_ANSWER if lease.endpoint.host == "a" else None)
    # Each OK head resets the count of consecutive failures, so a body failure is followed by a reset.
    assert state(made, "a") == "ready"
    leases = [made.acquire() for _ in range(10)]
    for lease in leases:
        lease.report(OK)
    for lease in leases:
        lease.release(NO_ANSWER if lease.endpoint.host == "a" else None)
    assert state(made, "a") == "open"
    assert state(made, "b") == "ready"


def test_a_body_that_the_user_abandons_says_nothing_about_the_endpoint():
    """Closing a response early is CANCELLED news: no failure, and the slot is free."""
    made, _ = balancer("a")
    lease = made.acquire()
    lease.report(OK)
    lease.release(CANCELLED)
    assert made.stats().failures == 0
    assert in_flight(made) == {"a": 0}


@pytest.mark.parametrize("reported", [False, True])
def test_a_dropped_lease_frees_its_slot_and_is_named_in_a_warning(reported):
    """The next event settles it as cancelled: no failure, no slot lost, one ResourceWarning with the cluster's name."""
    made, _ = balancer("a")
    lease = made.acquire()
    if reported:
        lease.report(OK)
    del lease
    gc.collect()
    with pytest.warns(ResourceWarning, match="orders: 1 leases were dropped without release"):
        made.acquire().release()
    stats = made.stats()
    assert (stats.abandoned, stats.failures, stats.attempts) == (1, 0, 2)
    assert in_flight(made) == {"a": 0}


def test_several_dropped_leases_are_one_warning():
    """A thousand leaks at once are not a thousand lines."""
    made, _ = balancer("a", "b")
    leases = [made.acquire() for _ in range(7)]
    del leases
    with pytest.warns(ResourceWarning, match="orders: 7 leases") as caught:
        stats = made.stats()
    assert len(caught) == 1
    assert stats.abandoned == 7
    assert set(in_flight(made).values()) == {0}


def test_a_released_lease_is_not_dropped():
    """Nothing is settled or warned about when the object goes."""
    made, _ = balancer("a")
    made.acquire().release()
    gc.collect()
    assert not made.abandoned
    assert made.stats().abandoned == 0


def test_where_warnings_are_errors_a_dropped_lease_fails_no_other_call(monkeypatch):
    """The warning is raised where nobody hears it but the interpreter's hook, as for files; calls go on."""
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: heard.append(args.exc_value))
    made, _ = balancer("a")
    made.acquire()
    for _ in range(3):
        use(made, 1)
    assert [type(error) for error in heard] == [ResourceWarning]
    assert made.stats().abandoned == 1


def test_a_lease_says_what_it_is():
    """For debuggers."""
    made, _ = balancer("a")
    lease = made.acquire()
    assert (lease.state, repr(lease)) == (HELD, "<Lease a:80 held>")
    lease.report(OK)
    assert (lease.state, repr(lease)) == (REPORTED, "<Lease a:80 reported>")
    lease.release()
    assert (lease.state, repr(lease)) == (RELEASED, "<Lease a:80 released>")


def test_releasing_a_lease_of_a_removed_endpoint_disturbs_nothing(caplog):
    """The endpoint has left; its last answers come in, fail or not, and nobody is told that it changed."""
    made, _ = balancer("a", "b")
    leases = [made.acquire() for _ in range(12)]
    apply(made, "b")
    with caplog.at_level(logging.DEBUG, "lbkit"):
        for lease in leases:
            lease.release(ERROR if lease.endpoint.host == "a" else OK)
    assert not caplog.records
    assert in_flight(made) == {"b": 0}
    assert use(made, 3) == "bbb"
