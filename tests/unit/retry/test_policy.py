"""The retry policy: its ranges, and tenacity's waits and stops in it."""

import dataclasses
from random import Random

import pytest
import tenacity

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.call import Call, GiveUp, RetryAfter
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import Outcome, Result
from lbkit.errors import ConfigError
from lbkit.retry import RetryPolicy
from lbkit.runtime.cluster import DEFAULT_WAIT
from lbkit.testing import ManualClock

REFUSED = Outcome(Result.UNREACHABLE, cause="refused")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, r"attempts must be at least 1 \(1 is no retry\)"),
        ({"attempts": 2.5}, "attempts must be at least 1"),
        ({"wait": 0.5}, "wait must be a tenacity wait or None"),
        ({"stop": 3}, "stop must be a tenacity stop or None"),
        ({"deadline": 0}, "deadline must be above 0 seconds, or None"),
        ({"deadline": float("inf")}, "deadline must be above 0"),
        ({"deadline": float("nan")}, "deadline must be above 0"),
        ({"deadline": "5"}, "deadline must be above 0"),
        ({"per_try_timeout": -1}, "per_try_timeout must be above 0"),
        ({"statuses": {200}}, "statuses must be from 400 to 599"),
        ({"statuses": {"503"}}, "statuses must be from 400 to 599"),
        ({"retry_after_max_s": -1}, "retry_after_max_s must be at least 0"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    """At construction, naming the argument."""
    with pytest.raises(ConfigError, match=message):
        RetryPolicy(**wrong)


def test_a_policy_is_a_frozen_value_of_its_own():
    """A set that was passed in may change later; the policy does not."""
    statuses = {503}
    policy = RetryPolicy(statuses=statuses)
    statuses.add(500)
    assert policy.statuses == frozenset({503})
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.attempts = 9


def retry_delays(policy, endpoints=1):
    """Let everything fail; return the delays that the call asks for."""
    clock = ManualClock()
    balancer = Balancer("orders", clock=clock, rng=Random(1))
    balancer.apply(Snapshot.of([Endpoint(host=f"s{number}", port=80) for number in range(endpoints)]))
    call = Call(balancer, policy, replayable=False)
    delays = []
    while True:
        clock.advance(0.010)
        verdict = call.judge(call.begin(), REFUSED, error=ConnectionRefusedError("refused"))
        if not isinstance(verdict, RetryAfter):
            assert isinstance(verdict, GiveUp)
            return delays
        delays.append(verdict.delay_s)
        clock.advance(verdict.delay_s)


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (tenacity.wait_fixed(2), [2, 2, 2]),
        (tenacity.wait_none(), [0, 0, 0]),
        (tenacity.wait_incrementing(start=1, increment=2), [1, 3, 5]),
        (tenacity.wait_exponential(multiplier=1), [1, 2, 4]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(7)), [1, 7, 7]),
        (tenacity.wait_combine(tenacity.wait_fixed(1), tenacity.wait_fixed(2)), [3, 3, 3]),
        (tenacity.wait_fixed(1) + tenacity.wait_fixed(2), [3, 3, 3]),
        (lambda state: state.attempt_number * 10.0, [10, 20, 30]),
        (lambda state: -5.0, [0, 0, 0]),
        (None, [0, 0, 0]),
    ],
)
def test_tenacitys_waits_and_plain_callables_set_the_delays(wait, expected):
    """Attempts are numbered from 1, as in tenacity; a negative delay is none."""
    assert retry_delays(RetryPolicy(attempts=4, wait=wait)) == expected


@pytest.mark.parametrize(
    "wait",
    [
        tenacity.wait_random(0.1, 0.2),
        tenacity.wait_random_exponential(multiplier=0.1, max=0.2),
        tenacity.wait_exponential_jitter(max=0.2, jitter=0.05),
        DEFAULT_WAIT,
    ],
)
def test_tenacitys_random_waits_work(wait):
    """They need nothing of a retry state that a call does not have."""
    delays = retry_delays(RetryPolicy(attempts=4, wait=wait))
    assert len(delays) == 3
    assert all(0 <= delay <= 0.26 for delay in delays)


def test_a_wait_can_look_at_the_last_error():
    """`wait_exception` gets the exception that was raised."""
    seen = []

    def look(error):
        seen.append(error)
        return 0.5

    assert retry_delays(RetryPolicy(attempts=2, wait=tenacity.wait_exception(look))) == [0.5]
    assert isinstance(seen[0], ConnectionRefusedError)


@pytest.mark.parametrize(
    ("stop", "retries"),
    [
        (tenacity.stop_after_attempt(2), 1),
        (tenacity.stop_after_delay(2.5), 3),  # attempts end at 0.01, 1.02, 2.03, 3.04 s
        (tenacity.stop_before_delay(2.5), 2),  # the third wait would end after 3.03 s
        (tenacity.stop_after_attempt(9) | tenacity.stop_after_delay(1.0), 1),
        (tenacity.stop_never, 4),
        (lambda state: state.idle_for >= 2.0, 2),
    ],
)
def test_tenacitys_stops_can_end_a_call_early(stop, retries):
    """And never make it longer than `attempts`."""
    assert len(retry_delays(RetryPolicy(attempts=5, wait=tenacity.wait_fixed(1), stop=stop))) == retries


def test_while_untried_endpoints_are_left_there_is_no_delay():
    """Three endpoints: two retries at once, then the wait begins to count."""
    policy = RetryPolicy(attempts=5, wait=tenacity.wait_fixed(2))
    assert retry_delays(policy, endpoints=3) == [0, 0, 2, 2]
