"""A lease: permission to use one endpoint once.

It lives as long as what it is used for: a response until its body is closed, a socket until it is closed. In-flight
counts until then, while latency and breaker hear at the head of the answer; so there are two steps, `report` and
`release`, and `release` alone does both.

    held  --report(outcome)-->  reported  --release()-->  released
      └--------------release(outcome)------------------------┘

A lease that is dropped without release does not lose its endpoint's slot: the finalizer hands it to the balancer's
queue, without the lock (the collector may run inside the locked region), and the next acquire settles it as cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import OK, Outcome
from lbkit.errors import LeaseMisuse

if TYPE_CHECKING:
    from lbkit.balancer.balancer import Balancer
    from lbkit.balancer.node import Node

HELD, REPORTED, RELEASED = range(3)


class Lease:
    """Use `endpoint`, then call `release` exactly once.

    Attributes:
        endpoint: Where to send.
        started: The balancer's clock when the lease was given, in seconds.
        head_at: When the head of the answer came, on the same clock; None until `mark_head`.
        node, ticket, probe, state: The balancer's own.
    """

    __slots__ = ("_balancer", "endpoint", "head_at", "node", "probe", "started", "state", "ticket")

    def __init__(self, balancer: Balancer, node: Node, started: float, ticket: int, probe: bool) -> None:
        self._balancer = balancer
        self.node = node
        self.endpoint: Endpoint = node.endpoint
        self.started = started
        self.ticket = ticket
        self.probe = probe
        self.head_at: float | None = None
        self.state = HELD

    def mark_head(self) -> None:
        """Say that the head of the answer is there: latency is measured up to here, whenever the outcome is told."""
        self.head_at = self._balancer.clock()

    def report(self, outcome: Outcome) -> None:
        """Say how the attempt went, once the answer's head is known. The endpoint stays in use until `release`.

        Raises:
            LeaseMisuse: It was reported or released before; nothing is counted.
        """
        if self.state != HELD:
            raise LeaseMisuse(f"the lease of {self.endpoint} was reported twice")
        self._balancer.settle(self, outcome, end=False)

    def release(self, outcome: Outcome | None = None) -> None:
        """Give the endpoint back.

        Args:
            outcome: How it went: OK by default before `report`, nothing more to say after it. An outcome after
                `report` is news from the body: a failure counts once more, OK is not counted twice.

        Raises:
            LeaseMisuse: It was released before; nothing is counted.
        """
        if self.state == RELEASED:
            raise LeaseMisuse(f"the lease of {self.endpoint} was released twice")
        if outcome is None and self.state == HELD:
            outcome = OK
        self._balancer.settle(self, outcome, end=True)

    def __del__(self) -> None:
        if self.state != RELEASED:
            probe = self.probe and self.state == HELD
            self._balancer.abandoned.append((self.node, self.ticket, probe, self.started))

    def __repr__(self) -> str:
        return f"<Lease {self.endpoint} {('held', 'reported', 'released')[self.state]}>"
