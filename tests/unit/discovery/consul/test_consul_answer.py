"""What instances in Consul's answers become: addresses, weights, health, zones; and what is left out (DI-4, DI-10)."""

from typing import Any

import pytest

from lbkit.discovery.allow import Allow
from lbkit.discovery.consul.answer import Reading
from lbkit.errors import DiscoveryError

READING = Reading("service 'web'")


def instance(number: int = 1, *statuses: str, node: dict[str, Any] | None = None, **service: Any) -> dict[str, Any]:
    """An instance as Consul lists it; what is said of the service replaces what it has."""
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.100", **(node or {})},
        "Service": {"ID": f"web-{number}", "Address": f"10.0.0.{number}", "Port": 8000 + number, **service},
        "Checks": [{"Status": status} for status in statuses or ("passing",)],
    }


def ids(entries: list[Any], reading: Reading = READING) -> list[str]:
    return [one.id for one in reading.read(entries)[0]]


def test_an_empty_service_address_means_the_nodes() -> None:
    """The node's address is used where the service has none, is null, or lacks the key."""
    without = instance(3)
    del without["Service"]["Address"]
    entries = [instance(1, Address=""), instance(2, Address=None), without]
    assert ids(entries) == ["10.0.0.100:8001", "10.0.0.100:8002", "10.0.0.100:8003"]


def test_a_tagged_address_comes_with_its_own_port() -> None:
    """The tagged address of the service counts first, then that of the node, then the ordinary one."""
    wan = Reading("service 'web'", tagged_address="wan")
    entries = [
        instance(1, TaggedAddresses={"wan": {"Address": "203.0.113.1", "Port": 443}}),
        instance(2, TaggedAddresses={"wan": {"Address": "203.0.113.2", "Port": 0}}),
        instance(3, Address="", node={"TaggedAddresses": {"wan": "203.0.113.3"}}),
        instance(4, TaggedAddresses={"lan": {"Address": "10.9.9.9", "Port": 1}}),
        instance(5, TaggedAddresses=None, node={"TaggedAddresses": None}),
    ]
    assert set(ids(entries, wan)) == {
        "203.0.113.1:443", "203.0.113.2:8002", "203.0.113.3:8003", "10.0.0.4:8004", "10.0.0.5:8005",
    }  # fmt: skip


@pytest.mark.parametrize("weights", [{}, {"Weights": None}, {"Weights": {}}])
def test_missing_weights_are_one(weights: dict[str, Any]) -> None:
    """An instance from an old agent weighs as much as another."""
    (endpoint,), _ = READING.read([instance(1, **weights)])
    assert endpoint.weight == 1


def test_a_warning_keeps_out_or_takes_the_warning_weight() -> None:
    """By default only passing instances take part; where warnings do, they have their own weight, which may be 0."""
    entries = [
        instance(1, "passing", "warning", Weights={"Passing": 10, "Warning": 0}),
        instance(2, Weights={"Passing": 7}),
    ]
    assert ids(entries) == ["10.0.0.2:8002"]
    endpoints, _ = Reading("service 'web'", warning=True).read(entries)
    assert {one.id: one.weight for one in endpoints} == {"10.0.0.1:8001": 0, "10.0.0.2:8002": 7}


@pytest.mark.parametrize("status", ["critical", "maintenance", "something new"])
def test_the_worst_check_counts(status: str) -> None:
    """One check that is neither passing nor warning keeps an instance out, whatever the others say."""
    entries = [instance(1, "passing", status, "warning"), instance(2)]
    assert ids(entries, Reading("service 'web'", warning=True)) == ["10.0.0.2:8002"]


def test_an_instance_without_checks_passes() -> None:
    """Nobody has said anything against it."""
    assert ids([instance(1) | {"Checks": None}, instance(2) | {"Checks": []}]) == ["10.0.0.1:8001", "10.0.0.2:8002"]


def test_several_instances_on_a_node_and_ipv6_are_endpoints() -> None:
    """The port tells instances on one node apart; IPv6 gets its brackets and one spelling."""
    entries = [instance(1, Address=""), instance(2, Address=""), instance(3, Address="2001:DB8::0:1")]
    assert set(ids(entries)) == {"10.0.0.100:8001", "10.0.0.100:8002", "[2001:db8::1]:8003"}


def test_the_order_of_the_answer_is_no_change() -> None:
    """Consul shuffles; the endpoints are sorted. With `near` the order is the distance, and is kept."""
    entries = [instance(number) for number in (3, 1, 2)]
    assert READING.read(entries) == READING.read(entries[::-1])
    assert ids(entries, Reading("service 'web'", in_order=True)) == ["10.0.0.3:8003", "10.0.0.1:8001", "10.0.0.2:8002"]


def test_one_address_is_one_endpoint() -> None:
    """Of several registrations of one address the one with the greatest weight stays, in whatever order they come."""
    same = {"Address": "10.0.0.9", "Port": 80}
    entries = [instance(1, **same), instance(2, **same, Weights={"Passing": 5}), instance(3, **same)]
    for order in (entries, entries[::-1]):
        (endpoint,), problem = READING.read(order)
        assert (endpoint.id, endpoint.weight, problem) == ("10.0.0.9:80", 5, "")


def test_what_cannot_be_used_is_left_out_and_named() -> None:
    """Without a port, with a broken address or an absurd weight an instance is left out; the others stay."""
    entries = [
        instance(1), instance(2, Port=0), instance(3, Port=70_000), instance(4, Address="no name"),
        instance(5, Weights={"Passing": -1}), instance(6, Weights={"Passing": "much"}), instance(7, Port="80"),
    ]  # fmt: skip
    endpoints, problem = READING.read(entries)
    assert [one.id for one in endpoints] == ["10.0.0.1:8001"]
    assert problem.startswith("6 of 7 instances left out: web-2 (no port), web-3 (") and problem.endswith("and 3 more")


def test_instances_of_which_none_can_be_used_are_no_empty_set() -> None:
    """It is a failure, so that the last good set stays."""
    with pytest.raises(DiscoveryError, match=r"web-1 \(no port\)"):
        READING.read([instance(1, Port=0)])


def test_an_empty_answer_says_how_many_are_unhealthy() -> None:
    """The reader of the message sees whether there is nothing, or nothing healthy."""
    assert READING.read([]) == ((), "no passing instance of service 'web'")
    entries = [instance(1, "critical"), instance(2, "warning"), instance(3, "critical")]
    assert READING.read(entries) == ((), "no passing instance of service 'web' (2 critical, 1 warning)")


@pytest.mark.parametrize(
    "entries",
    [[None], [[]], [{}], [{"Node": {}, "Service": None}], [{"Node": 1, "Service": {}}],
     [instance(1) | {"Checks": 5}], [instance(1) | {"Checks": ["x"]}], [instance(1, Weights=[1])],
     [instance(1, Meta="x")], [instance(1, Tags=5)]],
)  # fmt: skip
def test_an_answer_of_another_shape_is_a_failure_in_words(entries: Any) -> None:
    """Whatever the shape, the error is one that says something, and no set is made of it."""
    with pytest.raises(DiscoveryError):
        READING.read(entries)


def test_the_zone_comes_from_service_node_or_locality() -> None:
    """The service's metadata count first, then the node's, then Consul's own locality."""
    entries = [
        instance(1, Meta={"zone": "a"}, node={"Meta": {"zone": "x"}}),
        instance(2, node={"Meta": {"zone": "b"}}),
        instance(3, Locality={"Region": "eu", "Zone": "c"}),
        instance(4, node={"Locality": {"Zone": "d"}}),
        instance(5, Meta={"rack": "e"}),
    ]
    assert [one.zone for one in READING.read(entries)[0]] == ["a", "b", "c", "d", ""]
    assert [one.zone for one in Reading("", zone_key="rack").read(entries)[0]][4] == "e"


def test_labels_and_the_name_for_tls_come_along() -> None:
    """Metadata are the service's, and Consul's own under keys that no user can have."""
    (endpoint,), _ = Reading("", server_name="web.internal").read(
        [instance(1, Meta={"version": "2"}, Tags=["v2", "eu"])]
    )
    assert endpoint.metadata == {
        "version": "2", "consul.id": "web-1", "consul.node": "n1", "consul.tags": "v2,eu",
    }  # fmt: skip
    assert endpoint.server_name == "web.internal"


def test_a_socket_path_is_a_unix_endpoint() -> None:
    """Services that listen on a unix socket have no port."""
    assert ids([instance(1, Address="", Port=0, SocketPath="/run/web.sock")]) == ["unix:/run/web.sock"]


def test_the_allow_list_keeps_strangers_out() -> None:
    """Whoever can register an instance cannot lead the traffic anywhere."""
    reading = Reading("", allow=Allow.of(["10.0.0.0/8"]))
    endpoints, problem = reading.read([instance(1), instance(2, Address="203.0.113.1")])
    assert [one.id for one in endpoints] == ["10.0.0.1:8001"]
    assert "203.0.113.1:8002" in problem
