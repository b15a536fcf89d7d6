"""Target strings: what each means, in all the spellings that people bring along, and that names lead back to sources."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import (
    Callback,
    Consul,
    ConsulQuery,
    Dns,
    DnsSrv,
    File,
    Merged,
    Static,
    as_discovery,
    parse_target,
)
from lbkit.discovery.target.text import cut, spell
from lbkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("10.0.0.1:8080", ["10.0.0.1:8080"]),
        ("a:80,b:80", ["a:80", "b:80"]),
        ("[::1]:80,[fe80::1%eth0]:80", ["[::1]:80", "[fe80::1%eth0]:80"]),
        ("http://a,https://b", ["a:80", "b:443"]),
        ("HTTPS://A:8443", ["a:8443"]),
        ("static://a:80,b:80", ["a:80", "b:80"]),
        ("static:///a:80,b:80", ["a:80", "b:80"]),
        ("static:a:80,b:80", ["a:80", "b:80"]),
        ("STATIC:a:80", ["a:80"]),
        ("static://http://a,https://b", ["a:80", "b:443"]),
        ("static:[fe80::1%25eth0]:80", ["[fe80::1%eth0]:80"]),
        ("static:unix:/run/a.sock,unix:/run/b%2Cc.sock", ["unix:/run/a.sock", "unix:/run/b,c.sock"]),
        ("unix:/run/app.sock", ["unix:/run/app.sock"]),
        ("unix:///run/app.sock", ["unix:/run/app.sock"]),
        ("unix:app.sock", ["unix:app.sock"]),
        ("unix:/run/a%20b@c.sock", ["unix:/run/a b@c.sock"]),
        # Hosts that are called as schemes are.
        ("file:80", ["file:80"]),
        ("consul:8500,dns:53", ["consul:8500", "dns:53"]),
    ],
)
def test_a_list_of_endpoints_is_static(text, ids):
    """Bare or with a scheme; IPv6 in brackets; a scheme in any case."""
    made = parse_target(text)
    assert isinstance(made, Static)
    assert [one.id for one in made.snapshot.endpoints] == ids


def test_the_scheme_of_a_url_stays_with_the_endpoint():
    """A request of the other scheme is refused by it."""
    (endpoint,) = parse_target("https://a").snapshot.endpoints
    assert endpoint.scheme == "https"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("dns://orders.internal:8080", Dns("orders.internal", 8080)),
        ("dns:///orders.internal:8080", Dns("orders.internal", 8080)),
        ("dns:orders.internal:8080", Dns("orders.internal", 8080)),
        ("DNS://Orders.Internal.:80", Dns("orders.internal.", 80)),
        ("dns://10.0.0.53/o:80", Dns("o", 80, nameservers=("10.0.0.53",))),
        ("dns://10.0.0.53:5353,[::1]:53/o:80", Dns("o", 80, nameservers=("10.0.0.53:5353", "[::1]:53"))),
        ("dns:///o:80?nameserver=10.0.0.53&nameserver=10.0.0.54", Dns("o", 80, nameservers=("10.0.0.53", "10.0.0.54"))),
        (
            "dns://o:80?family=6&timeout=2&min_ttl=.5&max_ttl=60.5&empty_grace=inf&allow=10.0.0.0/8&allow=::1",
            Dns("o", 80, family=6, timeout=2, min_ttl=0.5, max_ttl=60.5, allow=("10.0.0.0/8", "::1")),
        ),
        ("dns://o:80?search=false", Dns("o", 80, search=False)),
        ("dns://o:80?search=a.example&search=b.example", Dns("o", 80, search=("a.example", "b.example"))),
        ("dns+srv://_http._tcp.orders.example", DnsSrv("_http._tcp.orders.example")),
        (
            "dns+srv://10.0.0.53/_http._tcp.o?verify_target&allow=.internal",
            DnsSrv("_http._tcp.o", nameservers=("10.0.0.53",), verify_target=True, allow=(".internal",)),
        ),
        ("consul://orders", Consul("orders")),
        ("consul:///orders", Consul("orders")),
        ("consul:orders", Consul("orders")),
        ("consul://Order%20s%2Fa", Consul("Order s/a")),
        ("consul://10.0.0.5/orders", Consul("orders", agent=("http://10.0.0.5:8500",))),
        ("consul://a:1,[::1]/o", Consul("o", agent=("http://a:1", "http://[::1]:8500"))),
        ("consul+https://a,b:1/o", Consul("o", agent=("https://a:8501", "https://b:1"))),
        ("consul://o?agent=unix:/run/consul.sock", Consul("o", agent=("unix:/run/consul.sock",))),
        (
            "consul://o?warning&cached&stale=true&max_stale=5&max_age=3&wait=30&empty_grace=9",
            Consul("o", warning=True, cached=True, stale=True, max_stale=5, max_age=3, wait=30, empty_grace=9),
        ),
        (
            "consul://o?tag=v2&tag=eu&dc=eu1&ns=team&partition=p&near=_agent&tagged_address=wan&zone_key=az&server_name=x",
            Consul(
                "o", tags=("v2", "eu"), datacenter="eu1", namespace="team", partition="p", near="_agent",
                tagged_address="wan", zone_key="az", server_name="x",
            ),
        ),
        ("consul://o?token_file=/run/token&allow=.internal", Consul("o", token_file="/run/token", allow=(".internal",))),
        ('consul://o?filter=Service.Meta.v == "a+b"', Consul("o", filter='Service.Meta.v == "a+b"')),
        ("consul://o?filter=%22a%40b%22+in+Service.Tags", Consul("o", filter='"a@b"+in+Service.Tags')),
        (
            "consul+https://a/o?verify=false&ca=/ca.pem&cert=/me.pem&cert=/me.key&tls_server_name=server.dc1.consul",
            Consul(
                "o", agent=("https://a:8501",), verify=False, ca="/ca.pem", cert=("/me.pem", "/me.key"),
                tls_server_name="server.dc1.consul",
            ),
        ),
        ("consul+https://a/o?cert=/both.pem", Consul("o", agent=("https://a:8501",), cert="/both.pem")),
        ("consul+query://near?every=5&dc=eu1", ConsulQuery("near", every=5, datacenter="eu1")),
        ("consul+query+https://a/near", ConsulQuery("near", agent=("https://a:8501",))),
        ("file:///etc/orders.json", File("/etc/orders.json")),
        ("file:/etc/orders.json", File("/etc/orders.json")),
        ("file://localhost/etc/orders.json", File("/etc/orders.json")),
        ("file:conf/orders.toml", File("conf/orders.toml")),
        ("file:///etc/a%20b%3F@c.json?every=5", File("/etc/a b?@c.json", every=5)),
        ("file:///a.json?every=1e3&empty_grace=2.5E-2", File("/a.json", every=1000, empty_grace=0.025)),
        ("file:///etc/orders?format=toml&empty_grace=60", File("/etc/orders", format="toml", empty_grace=60)),
    ],
)  # fmt: skip
def test_a_target_is_short_for_a_source(text, source):
    """Every scheme, the authority and every option."""
    made = parse_target(text)
    assert type(made) is type(source)
    assert made == source
    made.watch(Random(1))


@pytest.mark.parametrize("value", ["a:80", "dns://o:80?timeout=2", "file:///etc/orders.json"])
def test_a_target_may_stand_in_an_environment_variable(value):
    """`env:NAME` is what the variable says."""
    for text in ("env:ORDERS_TARGET", "env://ORDERS_TARGET", "ENV:ORDERS_TARGET"):
        assert repr(parse_target(text, environment={"ORDERS_TARGET": value})) == repr(parse_target(value))


def test_the_environment_is_the_processs(monkeypatch):
    """By default, when the target is read."""
    monkeypatch.setenv("LBKIT_TEST_TARGET", "a:80")
    assert repr(as_discovery("env:LBKIT_TEST_TARGET")) == "Static('a:80')"


NAMES = st.text("abcxyz019-", min_size=1, max_size=8).map(lambda text: f"x{text}x")
SECONDS = st.floats(1e-9, 1e20) | st.sampled_from([1e6, 1e-5, 1e16, 0.1]) | st.integers(1, 10**6)
DNS_OPTIONS = {
    "nameservers": st.lists(st.sampled_from(["10.0.0.2", "10.0.0.3:5353", "[::1]:53"]), max_size=3).map(tuple),
    "search": st.booleans() | st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    "family": st.sampled_from([None, 4, 6]),
    "timeout": st.floats(1e-9, 1e9),
    "min_ttl": st.floats(1e-9, 1.0),
    "max_ttl": st.floats(1.0, 1e9),
    "empty_grace": SECONDS | st.just(float("inf")),
    "allow": st.lists(st.sampled_from(["10.0.0.0/8", "fd00::/8", ".internal"]), max_size=2, unique=True).map(tuple),
}
SOURCES = (
    st.builds(
        File, st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text).map("/dir/{}".format),
        format=st.sampled_from(["json", "toml"]), every=SECONDS, empty_grace=SECONDS | st.just(float("inf")),
    )
    | st.builds(Dns, NAMES, st.integers(1, 65535), **DNS_OPTIONS)
    | st.builds(DnsSrv, NAMES, verify_target=st.booleans(), **DNS_OPTIONS)
    | st.builds(
        Consul, st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda name: name.strip() not in ("", ".", "..")),
        agent=st.none() | st.lists(NAMES.map("http://{}:80".format), min_size=1, max_size=3).map(tuple),
        tags=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=3).map(tuple),
        filter=st.none() | st.text(st.characters(codec="utf-8"), min_size=1), datacenter=st.none() | NAMES,
    )
)  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=300)
@given(source=SOURCES)
def test_the_name_of_a_source_is_a_target_that_leads_back_to_it(source):
    """Whatever is in the names: what an operator copies from the logs is what ran."""
    made = parse_target(str(source))
    assert made == source
    assert str(made) == str(source)


OPTIONS = st.dictionaries(
    st.sampled_from(["tag", "dc", "near"]), st.text(st.characters(codec="utf-8"), min_size=1), max_size=3
)


@settings(derandomize=True, deadline=None)
@given(name=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text[0] != "/"), options=OPTIONS)
def test_what_is_spelled_is_cut_into_the_same_parts(name, options):
    """Names and values of any letters."""
    parts = cut(spell("consul", "a:1", name, options))
    assert (parts.scheme, parts.authority.text, parts.name.text) == ("consul", "a:1", name)
    assert {one.name.text: one.value.text for one in parts.options} == options


def test_everything_that_says_where_endpoints_come_from_is_a_discovery():
    """Sources and combinations as they are, targets read, endpoints written down."""
    for one in (Static("a:80"), Dns("o", 80), Merged("a:80"), Callback(list)):
        assert as_discovery(one) is one
    endpoint = Endpoint.parse("a:80")
    for one in ("a:80", ["a:80"], ("a:80",), [endpoint], endpoint):
        assert repr(as_discovery(one)) == "Static('a:80')"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "a discovery is a target such as 'dns://orders:8080', a list of endpoints or a source, not None"),
        (5, "not 5"),
        ({"a:80": 1}, "a list of endpoints"),
        (print, r"for a function write Callback\(function\)"),
        (Dns, r"such as Dns\(\.\.\.\), not the class itself"),
        ([], "needs at least one endpoint"),
        (["dns://orders:80"], "other schemes are for discovery"),
        ("", "not an empty one"),
    ],
)
def test_what_is_no_discovery_is_refused_in_words(value, message):
    """The text says what to write."""
    with pytest.raises(ConfigError, match=message):
        as_discovery(value)
