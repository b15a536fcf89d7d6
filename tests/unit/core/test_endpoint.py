"""Endpoints from text and from parts, and snapshots."""

import dataclasses

import pytest

from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "identity", "host", "port", "scheme"),
    [
        ("a:80", "a:80", "a", 80, None),
        ("10.0.0.1:8080", "10.0.0.1:8080", "10.0.0.1", 8080, None),
        ("Orders.Example:80", "orders.example:80", "orders.example", 80, None),
        ("[::1]:8080", "[::1]:8080", "::1", 8080, None),
        ("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443", "2001:db8::1", 443, None),
        ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80", "fe80::1%eth0", 80, None),
        ("http://a", "a:80", "a", 80, "http"),
        ("https://a", "a:443", "a", 443, "https"),
        ("https://a:8443/", "a:8443", "a", 8443, "https"),
        ("HTTP://A", "a:80", "a", 80, "http"),
        ("http://[::1]", "[::1]:80", "::1", 80, "http"),
        ("bücher.example:80", "xn--bcher-kva.example:80", "xn--bcher-kva.example", 80, None),
        ("my_service-1.ns.svc:80", "my_service-1.ns.svc:80", "my_service-1.ns.svc", 80, None),
    ],
)
def test_an_address_is_read_from_text(text, identity, host, port, scheme):
    """Names, IPv4, IPv6 with scopes, URLs and internationalised names; the identity is host:port in one spelling."""
    endpoint = Endpoint.parse(text)
    assert (endpoint.id, endpoint.host, endpoint.port, endpoint.scheme) == (identity, host, port, scheme)
    assert str(endpoint) == identity
    assert endpoint.path == ""


@pytest.mark.parametrize("text", ["unix:/run/app.sock", "unix:///run/app.sock"])
def test_a_unix_socket_is_read_from_text(text):
    """Both spellings are one endpoint."""
    endpoint = Endpoint.parse(text)
    assert (endpoint.id, endpoint.path, endpoint.host, endpoint.port) == ("unix:/run/app.sock", "/run/app.sock", "", 0)


def test_two_spellings_of_an_address_are_one_endpoint():
    """From parts as from text."""
    assert Endpoint(host="A.Example", port=80) == Endpoint.parse("a.example:80")
    assert Endpoint(host="0:0:0:0:0:0:0:1", port=80).id == Endpoint.parse("[::1]:80").id
    assert Endpoint(host="BÜCHER.example", port=80).id == Endpoint.parse("xn--bcher-kva.example:80").id


def test_what_is_known_of_an_endpoint_is_kept():
    """Weight, priority, zone, server name and metadata pass through."""
    endpoint = Endpoint.parse(
        "a:80", weight=2.5, priority=1, zone="eu-1", server_name="orders.internal", metadata={"version": "7"}
    )
    assert (endpoint.weight, endpoint.priority, endpoint.zone) == (2.5, 1, "eu-1")
    assert endpoint.server_name == "orders.internal"
    assert dict(endpoint.metadata) == {"version": "7"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "endpoint 'a' has no port: write a:8080"),
        ("", "has no port"),
        ("a:0", "port must be from 1 to 65535, not 0"),
        ("a:65536", "port from 1 to 65535"),
        ("a:http", "port from 1 to 65535"),
        ("::1:80", r"IPv6 in \[brackets\]"),
        ("[::1:80", r"IPv6 in \[brackets\]"),
        (":80", "either a host and port or the path"),
        ("http://", "either a host and port or the path"),
        ("unix:", "either a host and port or the path"),
        ("ftp://a", "starts with http:// or https://"),
        ("consul://a", "other schemes are for discovery"),
        ("[::1]", r"has no port: write \[::1\]:8080"),
        ("10.0.0.256:80", "'10.0.0.256' ends in digits and is no IPv4 address"),
        ("10.0.0.256", "'10.0.0.256' ends in digits and is no IPv4 address"),
        ("10.0.0.01:80", "ends in digits and is no IPv4 address"),
        ("1.2.3:80", "ends in digits and is no IPv4 address"),
        ("a:80,b:80", "an endpoint is one address"),
        ("a:80?weight=2", "no options behind"),
        ("http://a/v1", "no path, query or fragment"),
        ("a:80/v1", "no path, query or fragment"),
        ("http://a?x=1", "no path, query or fragment"),
        ("http://a#top", "no path, query or fragment"),
        ("a b:80", "without spaces"),
        (" a:80", "without spaces"),
        ("a\n:80", "without spaces"),
        ("a%eth0:80", "scope"),
        ("é..x:80", "internationalised"),
        (b"a:80", "an endpoint is text or an Endpoint, not bytes"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(text, message):
    """The message names the fault and not a stack of library errors."""
    with pytest.raises(ConfigError, match=message) as caught:
        Endpoint.parse(text)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "user:hunter2@a:80",
        "hunter2@a:80",
        "hunter2@a",
        "http://user:hunter2@a",
        "https://user:hunter2@a:443/path?x",
        "user:hun/hunter2@a:80",
        "http://a:hunter2@b:c",
        "user:hunter2@a://b",
        "ftp://user:hunter2@a",
        "http://user:80/hunter2@a",
        "http://user:hunter2@a b",
        "user:hunter2@[::1",
        "hunter2?@a:80",
        "hunter2/@a:80",
    ],
)
def test_credentials_are_refused_and_never_repeated(text):
    """Messages end up in logs; a password in an address must not."""
    with pytest.raises(ConfigError) as caught:
        Endpoint.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "either a host and port or the path"),
        ({"host": "a", "port": 80, "path": "/run/a"}, "either a host and port or the path"),
        ({"host": "a"}, "port must be from 1"),
        ({"host": "a", "port": 70000}, "port must be from 1"),
        ({"host": "a", "port": "80"}, "port must be from 1"),
        ({"host": "[::1]", "port": 80}, "without brackets"),
        ({"host": "a b", "port": 80}, "without brackets, spaces"),
        ({"host": "u@a", "port": 80}, "slashes or user info"),
        ({"host": "a:b", "port": 80}, "IPv6 literal"),
        # Python's resolver raises UnicodeError for these, which no client takes for an unreachable endpoint.
        ({"host": "a..b", "port": 80}, "1 to 63 characters between its dots"),
        ({"host": ".b", "port": 80}, "1 to 63 characters between its dots"),
        ({"host": "a" * 64 + ".b", "port": 80}, "1 to 63 characters between its dots"),
        ({"path": 5}, "path is the name of a unix socket"),
        ({"path": {"a": "b"}}, "path is the name of a unix socket"),
        ({"path": "/run/\ud800"}, "path is the name of a unix socket"),
        ({"host": "a", "port": 80, "weight": -1}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "weight": float("nan")}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "weight": float("inf")}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "weight": 1e308}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "weight": 1e-300}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "weight": "1"}, "weight must be 0, or from"),
        ({"host": "a", "port": 80, "priority": -1}, "priority must be at least 0"),
        ({"host": "a", "port": 80, "priority": 0.5}, "priority must be at least 0"),
        ({"host": "a", "port": 80, "scheme": "ftp"}, "scheme must be http or https"),
    ],
)
def test_parts_out_of_range_are_refused(parts, message):
    """At construction, naming the part."""
    with pytest.raises(ConfigError, match=message):
        Endpoint(**parts)


@pytest.mark.parametrize("host", ["a.b.", "a" * 63, "_tcp.a-b.c", "xn--bcher-kva.example"])
def test_names_at_the_edges_are_taken(host):
    """The dot of the root, the longest part, and the letters of service names."""
    assert Endpoint(host, 80).host == host


@pytest.mark.parametrize("weight", [0, 1e-9, 1, 0.1, 1e9])
def test_weights_at_the_edges_are_taken(weight):
    """0 keeps an endpoint in the set without traffic."""
    assert Endpoint.parse("a:80", weight=weight).weight == weight


def test_an_endpoint_is_a_value():
    """Equal, hashable, frozen, and its metadata cannot be changed from outside."""
    labels = {"rack": "r1"}
    endpoint = Endpoint.parse("a:80", metadata=labels)
    labels["rack"] = "r2"
    assert dict(endpoint.metadata) == {"rack": "r1"}
    with pytest.raises(TypeError):
        endpoint.metadata["rack"] = "r3"
    with pytest.raises(dataclasses.FrozenInstanceError):
        endpoint.weight = 2
    assert endpoint == Endpoint.parse("a:80", metadata={"rack": "r1"})
    assert len({endpoint, Endpoint.parse("a:80", metadata={"rack": "r1"})}) == 1
    assert endpoint != Endpoint.parse("a:80")


def test_a_snapshot_has_each_address_once_in_the_order_of_the_source():
    """The first of several wins."""
    first, again, other = Endpoint.parse("a:80", weight=2), Endpoint.parse("A:80"), Endpoint.parse("b:80")
    snapshot = Snapshot.of([first, other, again], source="dns", version=4)
    assert snapshot.endpoints == (first, other)
    assert (snapshot.source, snapshot.version) == ("dns", 4)
    assert Snapshot.of([]).endpoints == ()
