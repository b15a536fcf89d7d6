"""The plan of a change of membership: what differs between the nodes that there are and a snapshot.

Comparing thousands of endpoints takes milliseconds, and a request must not wait for them. So a plan is made without the
balancer's lock, and `Roster.apply` carries it out under the lock, in a time that grows with the differences alone. The
nodes of a roster are replaced as a whole and never changed in place, and only one change is planned at a time: a plan
stays right whatever happens to standings meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lbkit.balancer.node import Node
from lbkit.core.endpoint import Endpoint, Snapshot


@dataclass(slots=True)
class Plan:
    """How one membership becomes another.

    Attributes:
        before, replaced: The nodes and the snapshot that there were. Whoever drops the plan frees what is let go, which
            takes time as well.
        nodes: The nodes that there will be, in the order of the snapshot.
        fresh: Those of them that are new.
        changed: Those that stay with another weight, tier or label, each with its endpoint to be.
        touched: The fresh and the changed, in the order of the snapshot.
        gone: Those that will no longer be there, in the order in which they were.
    """

    snapshot: Snapshot
    before: Mapping[str, Node]
    replaced: Snapshot | None
    nodes: dict[str, Node] = field(default_factory=dict)
    fresh: list[Node] = field(default_factory=list)
    changed: list[tuple[Node, Endpoint]] = field(default_factory=list)
    touched: list[Node] = field(default_factory=list)
    gone: list[Node] = field(default_factory=list)

    @classmethod
    def of(
        cls, snapshot: Snapshot, before: Mapping[str, Node], replaced: Snapshot | None, make: Callable[[Endpoint], Node]
    ) -> Plan:
        """Compare the nodes that there are with a snapshot; `make` makes the node of a new endpoint."""
        plan = cls(snapshot, before, replaced)
        nodes = plan.nodes
        for endpoint in snapshot.endpoints:
            node = before.get(endpoint.id)
            if node is None:
                node = make(endpoint)
                plan.fresh.append(node)
                plan.touched.append(node)
            elif node.endpoint == endpoint:
                node.endpoint = endpoint  # without the lock, for it is the same to all: one of two equals can be freed
            else:
                plan.changed.append((node, endpoint))
                plan.touched.append(node)
            nodes[endpoint.id] = node
        plan.gone.extend(node for identity, node in before.items() if identity not in nodes)
        return plan
