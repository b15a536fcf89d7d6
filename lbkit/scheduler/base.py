"""The seam between the balancer and a way of choosing.

A scheduler is a frozen config; `build` makes its picker, the small machine that one balancer owns. The balancer calls a
picker under its lock: `rebuild` when the set of usable nodes or a weight changed, `pick` for every request. A picker
does no input or output, never waits, and gets the time as an argument.

To write your own, give a class `rebuild` and `pick` and a config with `build`; `Cluster(..., scheduler=MyScheduler())`
takes it. If it learns from answers, add `observe`; if it keeps an index by load, add `released`; if it can take a node
in or out without looking at the others, add `joined` and `left`, and a change in a large cluster costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol, runtime_checkable

from lbkit.core.endpoint import Endpoint
from lbkit.core.outcome import Outcome
from lbkit.core.pick import PickInfo


class Node(Protocol):
    """One endpoint's live state as a picker sees it.

    Attributes:
        endpoint: The address and labels.
        weight: Above 0 for every node in the ready list.
        in_flight: Requests or connections that are out now, this client's own.
        picks: How often the node was used, in all.
        cost, estimate, stamp, recent, charge, counted: Numbers that belong to the picker. They start as 1, 0, -1, 1, 1
            and 0, survive `rebuild`, and return to these when an endpoint comes back from being kept out.
        scratch: Anything else that the picker keeps with a node; starts as None.
    """

    endpoint: Endpoint
    weight: float
    in_flight: int
    picks: int
    cost: float
    estimate: float
    stamp: float
    recent: float
    charge: float
    counted: int
    scratch: Any


class Picker(Protocol):
    """A way of choosing, at work."""

    def rebuild(self, ready: Sequence[Node], now: float) -> None:
        """Take `ready` as the usable nodes from now on; it is never empty.

        It is not changed later, unless the picker is one that `Updates`.
        """

    def pick(self, info: PickInfo, now: float) -> Node:
        """Choose one of the ready nodes. `in_flight` is raised by the balancer after it returns.

        Prefer a node whose id is not in `info.tried`; the balancer overrules a choice that does not.
        """


@runtime_checkable
class Learns(Protocol):
    """A picker that learns from answers."""

    def observe(self, node: Node, outcome: Outcome, latency_s: float, now: float) -> None:
        """Hear how an attempt at `node` ended after `latency_s` seconds. Never called for CANCELLED."""


@runtime_checkable
class Indexes(Protocol):
    """A picker that keeps nodes ordered by load."""

    def released(self, node: Node) -> None:
        """Hear that `node.in_flight` has just fallen by one."""


@runtime_checkable
class Updates(Protocol):
    """A picker that is told of single changes instead of being given all nodes anew.

    The list of `rebuild` is then a live one: it is changed in place, in no particular order, and each change is told
    right after it. It may be empty between two of them, but not when a node is picked. A node whose weight or label
    changes leaves as it was and joins as it is now. `rebuild` is still called, with a new list, when much has changed.
    """

    def joined(self, node: Node, now: float) -> None:
        """Hear that `node` is in the list from now on."""

    def left(self, node: Node) -> None:
        """Hear that `node` is no longer in the list. It may come back, with its numbers or without."""


@runtime_checkable
class Scheduler(Protocol):
    """A frozen config that builds pickers."""

    def build(self, rng: Random) -> Picker:
        """Make a new picker, which draws all its random numbers from `rng`."""


def untried(ready: Sequence[Node], info: PickInfo) -> Sequence[Node]:
    """Return the nodes that the call has not tried yet, or all of them where it has tried every one."""
    if not info.tried:
        return ready
    return [node for node in ready if node.endpoint.id not in info.tried] or ready
