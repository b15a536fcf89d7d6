"""The health tracker: the strongest objection names the reason."""

import math
from random import Random

import pytest

from lbkit.breaker import Circuit, CircuitBreaker
from lbkit.core.outcome import Result
from lbkit.health import HealthTracker, Standing
from lbkit.health.tracker import Pause


def tracker(*, opened=False):
    circuit = Circuit(CircuitBreaker(failures=1, jitter_ratio=0), Random(1))
    if opened:
        circuit.record(Result.ERROR, circuit.generation, now=0.0)
    return HealthTracker(circuit)


def test_without_objections_it_is_ready():
    """And no time changes that."""
    assert tracker().judge(1.0, 0.0) == (Standing.READY, math.inf)


def test_the_order_of_the_gates_is_operator_membership_pause_record():
    """Each stronger one hides the weaker."""
    made = tracker(opened=True)
    assert made.judge(1.0, 0.5) == (Standing.OPEN, 1.0)
    made.pause.extend(9.0)
    assert made.judge(1.0, 0.5) == (Standing.PAUSED, 9.0)
    assert made.judge(0.0, 0.5) == (Standing.WEIGHT_ZERO, math.inf)
    made.draining = True
    assert made.judge(0.0, 0.5) == (Standing.DRAINING, math.inf)


def test_an_open_circuit_becomes_half_open_when_its_time_has_come():
    """Also when that was long ago, during a pause."""
    made = tracker(opened=True)
    made.pause.extend(9.0)
    assert made.judge(1.0, 9.0) == (Standing.HALF_OPEN, math.inf)


def test_a_pause_is_only_extended():
    """A shorter one is no news."""
    pause = Pause()
    assert pause.objection(0.0) is None
    assert pause.extend(5.0)
    assert not pause.extend(3.0)
    assert not pause.extend(5.0)
    assert (pause.objection(4.9), pause.objection(5.0), pause.due()) == (Standing.PAUSED, None, 5.0)


@pytest.mark.parametrize("standing", list(Standing))
def test_only_presumed_trouble_is_a_last_resort(standing):
    """What someone decided is respected even when nothing else is left."""
    assert standing.last_resort == (standing in {Standing.OPEN, Standing.HALF_OPEN, Standing.EJECTED, Standing.PAUSED})
