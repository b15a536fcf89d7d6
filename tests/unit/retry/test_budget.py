"""The retry budget: max(floor, ratio x requests) in ten seconds, and what follows when everything is down."""

from random import Random

import pytest

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.call import Call, RetryAfter
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import Outcome, Result
from lbkit.errors import ConfigError
from lbkit.retry import Budget, RetryBudget, RetryPolicy
from lbkit.testing import ManualClock


def grants(budget, now, tries=10_000):
    count = 0
    while count < tries and budget.withdraw(now):
        count += 1
    return count


@pytest.mark.parametrize(
    ("requests", "granted"),
    [(0, 20), (1, 20), (99, 20), (100, 20), (105, 21), (1_000, 200)],
)
def test_the_larger_of_floor_and_ratio_is_granted(requests, granted):
    """20 retries in ten seconds whatever the traffic, or a fifth of the requests: not their sum."""
    budget = Budget(RetryBudget())
    for _ in range(requests):
        budget.deposit(100.0)
    assert grants(budget, 100.0) == granted
    assert not budget.withdraw(100.0)


def test_a_refused_retry_takes_nothing():
    """However often it is asked for, a budget that is used up is free again when the window has passed."""
    budget = Budget(RetryBudget(floor=3))
    assert grants(budget, 0.0) == 3
    for _ in range(100):
        assert not budget.withdraw(5.0)
    assert grants(budget, 10.5) == 3


def test_requests_of_long_ago_do_not_pay_for_retries():
    """The ratio is that of the last ten seconds."""
    budget = Budget(RetryBudget(ratio=0.5, floor=0))
    for _ in range(100):
        budget.deposit(0.0)
    assert grants(budget, 11.0) == 0


def test_a_floor_and_ratio_of_zero_grant_nothing():
    """Retries can be switched off for a whole cluster."""
    budget = Budget(RetryBudget(ratio=0.0, floor=0))
    budget.deposit(0.0)
    assert not budget.withdraw(0.0)


def test_with_everything_down_the_attempts_stay_within_the_budget():
    """2,000 calls of at most 10 attempts make 2,400 attempts, not 20,000: load rises by a fifth in an outage."""
    clock = ManualClock()
    balancer = Balancer("down", clock=clock, rng=Random(1))
    balancer.apply(Snapshot.of([Endpoint(host=f"s{number}", port=80) for number in range(10)]))
    policy = RetryPolicy(attempts=10)
    attempts = 0
    for _ in range(2_000):
        clock.advance(0.001)  # 1,000 requests a second
        call = Call(balancer, policy, replayable=True)
        while True:
            attempts += 1
            verdict = call.judge(call.begin(), Outcome(Result.UNREACHABLE, cause="refused"), error=OSError())
            if not isinstance(verdict, RetryAfter):
                break
    # At each retry there were at most 0.2 retries per request or, at the start, 20 in all.
    assert attempts <= 2_000 + max(20, 0.2 * 2_000)
    stats = balancer.stats()
    assert stats.attempts == attempts
    assert stats.retries == attempts - 2_000
    assert stats.retries_refused > 1_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": -0.1}, "ratio must be from 0 to 10"),
        ({"ratio": 11}, "ratio must be from 0 to 10"),
        ({"ratio": float("nan")}, "ratio must be from 0 to 10"),
        ({"floor": -1}, "floor must be at least 0"),
        ({"window_s": 0}, "window_s above 0"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    """At construction."""
    with pytest.raises(ConfigError, match=message):
        RetryBudget(**wrong)
