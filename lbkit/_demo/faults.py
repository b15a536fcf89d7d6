"""The script of faults, as data: who suffers what, from when to when.

Whatever the number of replicas, at every moment at least one is well. With four or more, three are in trouble at the
same time; with three, two; with two, one after the other, and each has time to be found well before the other goes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

SLOW_FACTOR = 20
"""How much longer a slow replica takes for an answer."""


class Kind(enum.Enum):
    """What can be done to a replica."""

    KILL = "killed"
    FREEZE = "frozen"
    SLOW = "slow"

    @property
    def means(self) -> str:
        """How it is done."""
        return {"KILL": "SIGKILL", "FREEZE": "SIGSTOP", "SLOW": f"x{SLOW_FACTOR}"}[self.name]

    @property
    def remedy(self) -> str:
        """What the end of it is called."""
        return {"KILL": "started again", "FREEZE": "thawed", "SLOW": "fast again"}[self.name]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What is done.
        replica: To which, counted from 0.
        begin, end: When it begins and is undone, in parts of the whole demo, 0 to 1.
    """

    kind: Kind
    replica: int
    begin: float
    end: float


_FOUR = (Fault(Kind.KILL, 1, 0.15, 0.60), Fault(Kind.FREEZE, 2, 0.30, 0.70), Fault(Kind.SLOW, 3, 0.45, 0.75))
_THREE = (Fault(Kind.KILL, 1, 0.15, 0.40), Fault(Kind.FREEZE, 2, 0.28, 0.50), Fault(Kind.SLOW, 1, 0.62, 0.80))
_TWO = (Fault(Kind.KILL, 1, 0.12, 0.30), Fault(Kind.FREEZE, 0, 0.44, 0.58), Fault(Kind.SLOW, 1, 0.70, 0.84))


def script(replicas: int) -> tuple[Fault, ...]:
    """Return the faults for that many replicas, at least 2, in the order in which they begin."""
    return {2: _TWO, 3: _THREE}.get(replicas, _FOUR)


@dataclass(frozen=True, slots=True)
class Step:
    """The beginning or the end of a fault.

    Attributes:
        at: When, in parts of the whole demo.
        fault: Which.
        begins: Whether it begins or is undone.
    """

    at: float
    fault: Fault
    begins: bool


def steps(faults: tuple[Fault, ...]) -> list[Step]:
    """Return the beginnings and ends of the faults in the order of time."""
    both = [step for fault in faults for step in (Step(fault.begin, fault, True), Step(fault.end, fault, False))]
    return sorted(both, key=lambda step: step.at)


@dataclass(slots=True)
class Deed:
    """A fault that was really done.

    Attributes:
        replica: Its name.
        began_s, ended_s: When, in seconds since the traffic began; None where it has not ended yet.
    """

    kind: Kind
    replica: str
    began_s: float
    ended_s: float | None = None
