"""One endpoint's health: every gate has a say, and the first that objects names the reason.

Order of the gates, strongest first: what an operator said (draining), what the membership says (weight 0), what the
endpoint asked for (a pause by Retry-After), how it compares with its siblings (outlier detection), what its own record
says (the circuit).

    standing   meaning                                                   gets requests
    ---------  --------------------------------------------------------  -----------------------------------------
    ready      no gate objects                                           yes
    half_open  only the circuit objects, and it has a trial to give      exactly the trials
    open       the circuit is open                                       no, unless the cluster fails open
    forced_open  someone has opened the circuit                          never
    ejected    it is much worse than its siblings                        no, unless the cluster fails open
    paused     429 or 503 with Retry-After                               no, unless the cluster fails open
    draining   an operator took it out                                   never
    weight_0   its weight is 0                                           never
"""

from __future__ import annotations

import enum
import math
from typing import Protocol

from lbkit.breaker import Circuit, Mode, State


class Standing(enum.Enum):
    """Whether an endpoint gets requests, or why not."""

    READY = "ready"
    HALF_OPEN = "half_open"
    OPEN = "open"
    FORCED_OPEN = "forced_open"
    EJECTED = "ejected"
    PAUSED = "paused"
    DRAINING = "draining"
    WEIGHT_ZERO = "weight_0"

    @property
    def last_resort(self) -> bool:
        """Whether a cluster that fails open may still use it: its trouble is presumed, not decided by someone."""
        return self in (Standing.HALF_OPEN, Standing.OPEN, Standing.EJECTED, Standing.PAUSED)


class Gate(Protocol):
    """Something that can keep an endpoint out."""

    def objection(self, now: float) -> Standing | None:
        """Return why the endpoint is kept out at `now`, or None."""

    def due(self) -> float:
        """Return when the objection may end by itself, `inf` where only an event can end it."""


class Pause:
    """A gate that is shut until a time; a shorter pause never cuts a longer one."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = -math.inf

    def objection(self, now: float) -> Standing | None:
        """Object while the pause lasts."""
        return Standing.PAUSED if now < self.until else None

    def due(self) -> float:
        """Return the end of the pause."""
        return self.until

    def extend(self, until: float) -> bool:
        """Pause until then; True if that is later than before."""
        if until <= self.until:
            return False
        self.until = until
        return True


class CircuitGate:
    """The circuit breaker as a gate."""

    __slots__ = ("circuit",)

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit

    def objection(self, now: float) -> Standing | None:
        """Object unless the circuit is closed, or only counts."""
        circuit = self.circuit
        circuit.advance(now)
        if not circuit.refuses:
            return None
        if circuit.mode is Mode.FORCED_OPEN:
            return Standing.FORCED_OPEN
        return Standing.OPEN if circuit.state is State.OPEN else Standing.HALF_OPEN

    def due(self) -> float:
        """Return when the circuit becomes half-open, or has a trial to give again."""
        return self.circuit.due


class HealthTracker:
    """Joins the gates of one endpoint.

    Args:
        circuit: Its circuit breaker.
        ejection: What outlier detection says of it, if there is any.
    """

    __slots__ = ("circuit", "draining", "gates", "pause")

    def __init__(self, circuit: Circuit, ejection: Gate | None = None) -> None:
        self.circuit = circuit
        self.pause = Pause()
        self.draining = False
        gates: tuple[Gate | None, ...] = (self.pause, ejection, CircuitGate(circuit))
        self.gates = tuple(gate for gate in gates if gate is not None)

    def judge(self, weight: float, now: float) -> tuple[Standing, float]:
        """Return where the endpoint stands at `now` and when that may change by itself (`inf`: not by time)."""
        if self.draining:
            return Standing.DRAINING, math.inf
        if weight <= 0:
            return Standing.WEIGHT_ZERO, math.inf
        for gate in self.gates:
            objection = gate.objection(now)
            if objection is not None:
                return objection, gate.due()
        return Standing.READY, math.inf
