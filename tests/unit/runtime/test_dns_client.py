"""The DNS client, as far as it needs no network: names to try, messages read as values, and errors in words."""

import sys

import anyio
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.resolver
import dns.rrset
import pytest

from lbkit.discovery.dns.records import CHAIN_LIMIT, DnsQuery, Record, Srv, by_name, chain
from lbkit.errors import DiscoveryError
from lbkit.runtime import dns_client
from lbkit.runtime.clients import make_client
from lbkit.runtime.dns_client import DnsClient

QUERY = DnsQuery(("a.test",), ("A",), (("10.0.0.2", 53),), (), 3.0)


def resolver(*, search=(), domain=".", ndots=None):
    """A resolver as /etc/resolv.conf may make one."""
    made = dns.asyncresolver.Resolver(configure=False)
    made.search = [dns.name.from_text(one) for one in search]
    made.domain = dns.name.from_text(domain)
    made.ndots = ndots
    return made


@pytest.mark.parametrize(
    ("name", "search", "system", "tried"),
    [
        ("a.b.", ("x.y",), {}, ["a.b."]),
        ("a.b", (), {}, ["a.b."]),
        ("a.b", ("x.y", "z"), {}, ["a.b.", "a.b.x.y.", "a.b.z."]),
        ("a", ("x.y", "z"), {}, ["a.x.y.", "a.z.", "a."]),
        ("a", None, {"search": ["x.y"]}, ["a.x.y.", "a."]),
        ("a", None, {"domain": "here"}, ["a.here.", "a."]),
        ("a", None, {}, ["a."]),
        ("a.b.c", None, {"search": ["x"], "ndots": 5}, ["a.b.c.x.", "a.b.c."]),
        ("a.b.c", None, {"search": ["x"], "ndots": 2}, ["a.b.c.", "a.b.c.x."]),
        ("a", ("own",), {"search": ["x"], "ndots": 0}, ["a.", "a.own."]),
        ("a" * 60, (".".join(["b" * 60] * 4), "x"), {}, ["a" * 60 + ".x.", "a" * 60 + "."]),  # no name of 304 letters
    ],
)
def test_a_name_is_looked_for_as_the_system_does(name, search, system, tried):
    """With as many dots as `ndots` it is tried as it is first; a dot at its end means that it is complete."""
    assert [one.to_text() for one in dns_client._candidates(name, search, resolver(**system))] == tried


def test_each_server_has_its_turn_within_the_limit():
    """However many there are, and a datagram can be sent twice."""
    one = dns_client._resolver(QUERY)
    assert (one.timeout, one.lifetime, one.payload) == (1.5, 3.0, 1232)
    three = dns_client._resolver(DnsQuery(("a",), ("A",), (("10.0.0.2", 53),) * 3, (), 3.0))
    assert three.timeout * 3 < 3.0


def test_records_become_values():
    """Names in lower case with the root's dot; kinds that nobody asked for are left out."""
    rrsets = [
        dns.rrset.from_text("A.Test.", 5, "IN", "A", "10.0.0.1", "10.0.0.2"),
        dns.rrset.from_text("a.test.", 6, "IN", "AAAA", "2001:db8::1"),
        dns.rrset.from_text("b.test.", 7, "IN", "CNAME", "A.Test."),
        dns.rrset.from_text("_s.test.", 8, "IN", "SRV", "1 2 3 B.Test."),
        dns.rrset.from_text("a.test.", 9, "IN", "TXT", "x"),
    ]
    assert dns_client._records(rrsets) == [
        Record("a.test.", "A", 5.0, "10.0.0.1"),
        Record("a.test.", "A", 5.0, "10.0.0.2"),
        Record("a.test.", "AAAA", 6.0, "2001:db8::1"),
        Record("b.test.", "CNAME", 7.0, "a.test."),
        Record("_s.test.", "SRV", 8.0, Srv(1, 2, 3, "b.test.")),
    ]


def test_a_chain_of_aliases_ends():
    """As an alias to an address, as nothing in a circle, and as nothing when it is too long."""
    steps = [Record(f"{n}.", "CNAME", 9.0, f"{n + 1}.") for n in range(CHAIN_LIMIT)]
    end = Record(f"{CHAIN_LIMIT - 1}.", "A", 9.0, "10.0.0.1")
    assert chain(by_name([*steps[: CHAIN_LIMIT - 1], end]), "0.")[-1] == end
    assert chain(by_name(steps), "0.") == ()
    assert chain(by_name([Record("a.", "CNAME", 9.0, "a.")]), "a.") == ()
    assert chain(by_name([end]), "other.") == ()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("SERVFAIL", "SERVFAIL from 10.0.0.2:53"),
        (dns.exception.Timeout(), "no answer from 10.0.0.2:53"),
        (dns.message.Truncated(), "an answer from 10.0.0.2:53 that is truncated even over TCP"),
        (ConnectionRefusedError(), "connection refused by 10.0.0.2:53"),
        (ConnectionResetError(), "connection closed by 10.0.0.2:53"),
        (EOFError(), "connection closed by 10.0.0.2:53"),
        (OSError(101, "Network is unreachable"), "Network is unreachable: 10.0.0.2:53"),
        (dns.exception.FormError(), "a malformed answer (FormError) from 10.0.0.2:53"),
    ],
)
def test_an_error_says_which_server_said_what(what, says):
    """Once for each server, with what it said last."""
    tries = [("Do53:10.0.0.2@53", False, 53, "REFUSED", None), ("Do53:10.0.0.2@53", True, 53, what, None)]
    error = dns.resolver.NoNameservers(request=dns.message.make_query("a.", "A"), errors=tries)
    assert dns_client._why(error, dns_client._resolver(QUERY)) == says
    more = [*tries, ("Do53:::1@5353", False, 5353, "REFUSED", None)]
    error = dns.resolver.NoNameservers(request=dns.message.make_query("a.", "A"), errors=more)
    assert dns_client._why(error, dns_client._resolver(QUERY)) == f"{says}, REFUSED from [::1]:5353"
    if isinstance(what, Exception):
        assert dns_client._why(what, dns_client._resolver(QUERY)) == says


def test_without_dnspython_the_error_says_what_to_install(monkeypatch):
    """The package is optional; importing lbkit never needs it."""
    for name in [one for one in sys.modules if one == "dns" or one.startswith("dns.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "dns", None)
    monkeypatch.delitem(sys.modules, "lbkit.runtime.dns_client")
    monkeypatch.delattr("lbkit.runtime.dns_client")
    with pytest.raises(DiscoveryError, match=r"pip install 'lbkit-client\[dns\]'"):
        make_client(QUERY)


def test_a_system_without_nameservers_is_told(monkeypatch):
    """With what to do about it."""

    def configure(self, *args, **kwargs):
        raise dns.resolver.NoResolverConfiguration("cannot open /etc/resolv.conf")

    monkeypatch.setattr(dns.asyncresolver.Resolver, "read_resolv_conf", configure)
    query = DnsQuery(("a.test",), ("A",), (), None, 3.0)
    with pytest.raises(DiscoveryError, match="the system has no nameservers: cannot open .*; give nameservers="):
        anyio.run(DnsClient().ask, query)
