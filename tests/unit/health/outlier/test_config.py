"""The configs of outlier detection: figures of Envoy and gRPC, and what is refused."""

import math
from dataclasses import replace

import pytest

from lbkit import ConfigError
from lbkit.health import FailureRate, Limit, OutlierDetection, SlowRate, Streak, SuccessRate


def test_the_defaults_of_envoy_are_envoys():
    """Gateway failures and the failure percentage are counted there and not enforced; 10 % of few hosts is none."""
    envoy = OutlierDetection.envoy()
    assert (envoy.interval_s, envoy.eject_s, envoy.eject_max_s, envoy.jitter_s) == (10, 30, 300, 0)
    assert (envoy.eject_ratio, envoy.limit, envoy.always_one) == (0.1, Limit.NOT_ABOVE, False)
    assert (envoy.failures, envoy.gateway_failures, envoy.local_failures) == (Streak(5, 1), Streak(5, 0), None)
    assert envoy.success_rate == SuccessRate(1.9, 0, 5, 100, 1, 1)
    assert envoy.failure_rate == FailureRate(0.85, False, 5, 50, 0, 0)
    assert envoy.slow_rate is None
    assert envoy.restore_on_check
    assert not envoy.split_local
    assert OutlierDetection.envoy(split_local=True) == replace(envoy, split_local=True, local_failures=Streak(5, 1))


def test_the_defaults_of_grpc_are_grpcs():
    """It has rates alone, enforces both, and lets one go always."""
    grpc = OutlierDetection.grpc()
    assert (grpc.interval_s, grpc.eject_s, grpc.eject_max_s, grpc.jitter_s) == (10, 30, 300, 0)
    assert (grpc.eject_ratio, grpc.limit) == (0.1, Limit.UNTIL_REACHED)
    assert (grpc.failures, grpc.gateway_failures, grpc.local_failures) == (None, None, None)
    assert grpc.success_rate == SuccessRate(1.9, 0, 5, 100, 1)
    assert grpc.failure_rate == FailureRate(0.85, True, 5, 50, 1)


def test_our_own_defaults_leave_rows_of_failures_to_the_circuit_breaker():
    """And no single failed request can eject."""
    ours = OutlierDetection()
    assert (ours.failures, ours.gateway_failures, ours.local_failures) == (None, None, None)
    assert ours.success_rate.margin == 0.05
    assert ours.always_one


@pytest.mark.parametrize(
    "make",
    [
        lambda: Streak(0),
        lambda: Streak(True),
        lambda: Streak(2.5),
        lambda: Streak(enforce=1.1),
        lambda: SuccessRate(stdev_factor=-1),
        lambda: SuccessRate(stdev_factor=math.nan),
        lambda: SuccessRate(stdev_factor="1900"),
        lambda: SuccessRate(margin=2),
        lambda: SuccessRate(min_hosts=0),
        lambda: SuccessRate(min_calls=0),
        lambda: SuccessRate(enforce=-0.1),
        lambda: SuccessRate(enforce_local=None),
        lambda: FailureRate(ratio=85),
        lambda: FailureRate(above=1),
        lambda: FailureRate(min_hosts=None),
        lambda: FailureRate(min_calls=-1),
        lambda: FailureRate(enforce=100),
        lambda: FailureRate(enforce_local=100),
        lambda: SlowRate(0),
        lambda: SlowRate(math.inf),
        lambda: SlowRate(1.0, ratio=0),
        lambda: SlowRate(1.0, min_hosts=0),
        lambda: SlowRate(1.0, min_calls=0),
        lambda: SlowRate(1.0, enforce=7),
        lambda: OutlierDetection(interval_s=0.01),
        lambda: OutlierDetection(interval_s=math.inf),
        lambda: OutlierDetection(eject_s=0),
        lambda: OutlierDetection(eject_max_s=-1),
        lambda: OutlierDetection(jitter_s=-1),
        lambda: OutlierDetection(eject_ratio=10),
        lambda: OutlierDetection(limit="not_above"),
        lambda: OutlierDetection(limit=None),
        lambda: OutlierDetection(failures=5),
        lambda: OutlierDetection(success_rate=FailureRate()),
        lambda: OutlierDetection(always_one=1),
        lambda: OutlierDetection(split_local=None),
        lambda: OutlierDetection(restore_on_check="yes"),
    ],
)
def test_values_out_of_range_or_of_a_wrong_type_are_refused(make):
    """At construction, with the name of the config and of the value."""
    with pytest.raises(ConfigError, match=r"\w+: \w+ must be "):
        make()


def test_failures_to_get_an_answer_cannot_be_counted_apart_where_they_are_not_split():
    """The message says what to write."""
    with pytest.raises(ConfigError, match="split_local=True"):
        OutlierDetection(local_failures=Streak())


def test_a_config_without_rules_is_refused():
    """It could never eject."""
    with pytest.raises(ConfigError, match="nothing could eject"):
        OutlierDetection(success_rate=None, failure_rate=None)


def test_configs_are_values():
    """Equal ones are the same key."""
    assert len({OutlierDetection(), OutlierDetection(), OutlierDetection.grpc()}) == 2
