"""The config of a circuit breaker: what it refuses, and what it says."""

import math
from dataclasses import fields

import pytest

from lbkit.breaker import CircuitBreaker, Mode
from lbkit.errors import ConfigError

NAN = math.nan


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *[({name: value}, f"{name} must be a whole number") for name in ("failures", "probes", "window_calls", "min_calls")
          for value in (0, -1, "5", 2.5, True, NAN)],
        ({"probes": None}, "probes must be a whole number, at least 1, not None"),
        ({"min_calls": None}, "min_calls must be a whole number"),
        ({"failures": "5"}, "failures must be a whole number, at least 1 or None, not '5'"),
        ({"window_calls": 10**9}, "window_calls must be a whole number, 1 to 1,000,000 or None"),
        *[({name: value}, f"{name} must be above 0 seconds and finite")
          for name in ("open_s", "open_max_s", "window_s", "probe_max_s")
          for value in (0, -1.0, math.inf, NAN, "1", None, True)],
        ({"slow_rate": 0.5, "slow_s": "1"}, "slow_s must be above 0 seconds and finite, not '1'"),
        ({"open_s": 31}, "open_s must be at most open_max_s, which is 30.0, not 31"),
        *[({"factor": value}, "factor must be a number of at least 1") for value in (0.5, NAN, math.inf, "2", None)],
        *[({"jitter_ratio": value}, "jitter_ratio must be from 0 to 1") for value in (-0.1, 1.5, NAN, "0", None)],
        *[({name: value, "slow_s": 1.0}, f"{name} must be above 0 and at most 1")
          for name in ("failure_rate", "slow_rate") for value in (0, -0.5, 1.01, 50, NAN, "0.5", True)],
        ({"slow_rate": 0.5}, "slow_rate and slow_s need each other"),
        ({"slow_s": 0.5}, "slow_rate and slow_s need each other"),
        *[({"mode": value}, "mode must be one of Mode.NORMAL, Mode.DISABLED, ") for value in ("disabled", None, 1)],
        ({"failures": None}, "nothing could open it"),
        ({"failures": None, "mode": Mode.METRICS_ONLY}, "nothing could open it"),
    ],
)  # fmt: skip
def test_values_out_of_range_and_of_the_wrong_type_are_refused(wrong, message):
    """At construction, with a text that names the option and says what to write."""
    with pytest.raises(ConfigError, match=message) as caught:
        CircuitBreaker(**wrong)
    assert str(caught.value).startswith("CircuitBreaker: ")


@pytest.mark.parametrize(
    "right",
    [
        {"failures": 1, "open_s": 30, "factor": 1, "jitter_ratio": 0},
        {"failures": None, "failure_rate": 1},
        {"failures": None, "slow_rate": 0.5, "slow_s": 1},
        {"failures": None, "mode": Mode.DISABLED},
        {"failure_rate": 0.5, "window_calls": 1, "min_calls": 100},
    ],
)
def test_values_at_the_limits_are_taken(right):
    """Whole numbers of seconds too."""
    config = CircuitBreaker(**right)
    assert {name: getattr(config, name) for name in right} == right


def test_a_config_does_not_decorate():
    """It says what does."""
    with pytest.raises(ConfigError, match=r'write @CircuitBreaker\(...\).guard\("name"\)'):

        @CircuitBreaker(failures=5)
        def pay():
            """Never made."""


def test_a_wrong_mode_says_where_modes_come_from():
    """They are no texts."""
    with pytest.raises(ConfigError, match=r"Mode.FORCED_OPEN \(from lbkit.breaker import Mode\), not 'disabled'"):
        CircuitBreaker(mode="disabled")


def test_a_config_is_a_value():
    """Equal ones are equal, it can be a key, and nobody changes it."""
    assert CircuitBreaker(failures=3) == CircuitBreaker(failures=3) != CircuitBreaker()
    assert len({CircuitBreaker(), CircuitBreaker()}) == 1
    with pytest.raises(AttributeError):
        CircuitBreaker().failures = 3


def test_no_rate_is_on_by_default():
    """What a cluster does without being asked is what it did: five failures in a row."""
    assert not CircuitBreaker().has_window
    assert [one.default for one in fields(CircuitBreaker)][:6] == [5, 1.0, 2.0, 30.0, 1, 0.1]
