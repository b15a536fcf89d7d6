"""The table of a cluster's numbers: what is worth a column or a word is there when there is something to see."""

import pytest

from lbkit import Cluster, Endpoint, NoEndpointAvailable
from tests.rigs.ports import eventually
from tests.rigs.sources import Scripted


def table(*targets):
    cluster = Cluster("orders", targets)
    cluster.open()
    return str(cluster.stats()).splitlines()


def test_tiers_are_shown_where_there_are_any():
    """A standby that gets nothing has a reason to see."""
    assert "priority" not in table("a:80", "b:80")[1]
    _, head, first, standby = table("a:80", Endpoint.parse("b:80", priority=1))
    assert (head.split()[-1], first.split()[-1], standby.split()[-1]) == ("priority", "0", "1")
    assert len(head) == len(standby)


def test_calls_that_found_nothing_are_shown_where_there_were_any():
    """And the source says why."""
    source = Scripted("mine")
    cluster = Cluster("orders", source)
    assert "none to give" not in str(cluster.stats())
    source.say()
    with cluster:
        eventually(lambda: cluster.balancer.is_ready)
        with pytest.raises(NoEndpointAvailable):
            next(iter(cluster.attempts()))
        first, *_, last = str(cluster.stats()).splitlines()
    assert first.endswith(", 1 times none to give")
    assert last.startswith("source mine: empty, 0 endpoints") and last.endswith("the source has no endpoints")
