"""Peak EWMA: up at once, down slowly, failures as penalties."""

import pytest

from lbkit.core.outcome import OK, Outcome, Result
from lbkit.errors import ConfigError
from lbkit.scheduler import PeakEwma
from tests.unit.scheduler.nodes import begin, make, picker, sequence


def test_known_answer_of_the_moving_average():
    """100 ms, and 10 ms ten seconds later: 100 / e + 10 (1 - 1 / e) = 43.11 ms."""
    (node,) = nodes = make(1)
    built = picker(PeakEwma(), nodes)
    built.observe(node, OK, 0.100, 0.0)
    built.observe(node, OK, 0.010, 10.0)
    assert node.estimate == pytest.approx(0.043109, abs=1e-6)


def test_a_peak_counts_at_once_and_in_full():
    """A slow answer raises the estimate to itself, however good the past was."""
    (node,) = nodes = make(1)
    built = picker(PeakEwma(), nodes)
    for second in range(100):
        built.observe(node, OK, 0.010, float(second))
    built.observe(node, OK, 2.0, 100.0)
    assert node.estimate == 2.0


def test_the_cost_is_latency_times_requests_in_flight_and_decays_while_idle():
    """100 ms with two in flight costs 300 ms, after ten idle seconds a third of it (1 / e)."""
    (node,) = nodes = make(1)
    built = picker(PeakEwma(), nodes)
    built.observe(node, OK, 0.100, 0.0)
    node.in_flight = 2
    assert built._cost(node, 0.0) == pytest.approx(0.300)
    assert built._cost(node, 10.0) == pytest.approx(0.110364, abs=1e-6)
    assert node.estimate == 0.100  # looking changes nothing


def test_an_unknown_node_is_probed_by_one_request():
    """Idle and unknown costs nothing; with its first answer out it costs more than any real latency."""
    nodes = make(1, 1)
    built = picker(PeakEwma(), nodes)
    built.observe(nodes[0], OK, 0.001, 0.0)
    assert sequence(built, 10) == "b" * 10
    begin(built, nodes[1])
    assert sequence(built, 10) == "a" * 10


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(Result.ERROR), 5.0),
        (Outcome(Result.UNREACHABLE), 5.0),
        (Outcome(Result.NO_ANSWER), 5.0),
        (Outcome(Result.OVERLOADED, retry_after_s=30.0), 30.0),
        (Outcome(Result.OVERLOADED, retry_after_s=1.0), 5.0),
    ],
)
def test_a_failure_counts_as_a_penalty_and_never_as_its_own_short_duration(outcome, expected):
    """1 ms to the error is recorded as 5 s, or as the Retry-After where that is longer."""
    (node,) = nodes = make(1)
    built = picker(PeakEwma(), nodes)
    built.observe(node, outcome, 0.001, 0.0)
    assert node.estimate == expected


def test_a_slow_failure_is_not_made_better_by_the_penalty():
    """A timeout after 20 s is recorded as 20 s."""
    (node,) = nodes = make(1)
    built = picker(PeakEwma(), nodes)
    built.observe(node, Outcome(Result.NO_ANSWER), 20.0, 0.0)
    assert node.estimate == 20.0


def test_weight_divides_the_cost():
    """At equal latency the heavier node wins until it has its share in flight."""
    nodes = make(4, 1)
    built = picker(PeakEwma(), nodes)
    for node in nodes:
        built.observe(node, OK, 0.010, 0.0)
    nodes[0].in_flight = 2
    assert sequence(built, 20) == "a" * 20
    nodes[0].in_flight = 4
    assert "b" in sequence(built, 20)


def test_tried_nodes_are_avoided():
    """An untried node is taken although its cost is higher."""
    nodes = make(1, 1, 1)
    built = picker(PeakEwma(), nodes)
    built.observe(nodes[2], OK, 3.0, 0.0)
    assert sequence(built, 10, tried="ab") == "c" * 10


@pytest.mark.parametrize("wrong", [{"decay_s": 0}, {"penalty_s": 0}, {"decay_s": -1}, {"decay_s": float("nan")}])
def test_values_out_of_range_are_refused(wrong):
    """At construction."""
    with pytest.raises(ConfigError, match="above 0 seconds"):
        PeakEwma(**wrong)
