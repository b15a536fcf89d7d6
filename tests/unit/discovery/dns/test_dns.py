"""All addresses of a name: what is asked, and what becomes of each answer."""

from random import Random

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.records import DnsQuery
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.errors import ConfigError, DiscoveryError
from tests.unit.discovery.dns.dns_worlds import ids, said

NAME = "orders.internal"
NOTHING = (said(NAME, "A"), said(NAME, "AAAA"))


def watch(**options):
    """Return the machine of a source."""
    return Dns(NAME, 80, **options).watch(Random(1))


def both(four=(), six=(), ttl=60):
    """Answers for both kinds of addresses."""
    return (
        said(NAME, "A", *(f"{NAME} {ttl} A {one}" for one in four)),
        said(NAME, "AAAA", *(f"{NAME} {ttl} AAAA {one}" for one in six)),
    )


def test_both_kinds_of_addresses_are_asked_for_together():
    """One query, with the servers and domains of the config."""
    assert watch().query(0.0) == DnsQuery((NAME,), ("A", "AAAA"), (), None, 5.0)
    asked = watch(nameservers=["10.0.0.2", "[::1]:5353"], search=("internal",), family=6, timeout=2).query(0.0)
    assert asked == DnsQuery((NAME,), ("AAAA",), (("10.0.0.2", 53), ("::1", 5353)), ("internal",), 2)


def test_nameservers_are_addresses_with_or_without_a_port():
    """An IPv6 address needs no brackets where it has no port."""
    servers = watch(nameservers=("10.0.0.2", "10.0.0.2:5353", "::1", "[::1]", "[fe80::1%lo]:54")).query(0.0).nameservers
    assert servers == (("10.0.0.2", 53), ("10.0.0.2", 5353), ("::1", 53), ("::1", 53), ("fe80::1%lo", 54))


def test_own_nameservers_know_nothing_of_the_systems_domains():
    """The system's search list goes with the system's servers."""
    assert watch().query(0.0).search is None
    assert watch(nameservers=("10.0.0.2",)).query(0.0).search == ()
    assert watch(search=False).query(0.0).search == ()


def test_every_address_is_an_endpoint():
    """Of both kinds, with the port of the config and the name as a label."""
    found = watch().answer(both(["10.0.0.2", "10.0.0.1"], ["2001:db8:0::1"]), 0.0)
    assert ids(found) == ["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80"]
    assert {one.metadata["name"] for one in found.endpoints} == {NAME}
    assert found.problem == ""


def test_another_order_or_spelling_is_no_change():
    """Servers shuffle their answers; endpoints are identified by their addresses in one spelling."""
    machine = watch()
    first = machine.answer(both(["10.0.0.1", "10.0.0.2"], ["2001:db8::1"]), 0.0)
    second = machine.answer(both(["10.0.0.2", "10.0.0.1", "10.0.0.2"], ["2001:DB8:0:0:0:0:0:1"]), 1.0)
    assert first.endpoints == second.endpoints


def test_a_missing_kind_is_no_problem():
    """Most names have A alone."""
    found = watch().answer(both(["10.0.0.1"]), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert found.problem == ""


def test_data_proves_that_a_name_exists():
    """Some servers say NXDOMAIN for AAAA where there is only A."""
    found = watch().answer((both(["10.0.0.1"])[0], said(NAME, "AAAA", missing=True)), 0.0)
    assert ids(found) == ["10.0.0.1:80"]


def test_aliases_count_only_by_their_ttl():
    """The addresses of the name in the end are the endpoints, for as long as each record of the chain allows."""
    answers = (
        said(NAME, "A", f"{NAME} 300 CNAME x.cdn", "x.cdn 10 CNAME y.cdn", "y.cdn 200 A 10.0.0.1"),
        said(NAME, "AAAA", f"{NAME} 300 CNAME x.cdn", "x.cdn 10 CNAME y.cdn"),
    )
    found = watch().answer(answers, 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert 8.0 <= found.ask_again_s <= 9.5


def test_half_an_answer_removes_no_endpoints():
    """The kind that could not be asked keeps its last known addresses; the problem says so, and it is asked soon."""
    machine = watch()
    machine.answer(both(["10.0.0.1"], ["2001:db8::1", "2001:db8::2"]), 0.0)
    half = (both(["10.0.0.9"])[0], said(NAME, "AAAA", error="SERVFAIL from 10.0.0.53:53"))
    found = machine.answer(half, 60.0)
    assert ids(found) == ["10.0.0.9:80", "[2001:db8::1]:80", "[2001:db8::2]:80"]
    assert found.problem == f"AAAA of {NAME}: SERVFAIL from 10.0.0.53:53; the last 2 are kept"
    assert found.ask_again_s <= 5.0
    assert ids(machine.answer(both(["10.0.0.9"]), 61.0)) == ["10.0.0.9:80"], "an answer is believed again"


def test_half_an_answer_is_used_where_nothing_else_is_known():
    """Networks that never answer for AAAA are common; the endpoints that are known are better than none."""
    found = watch().answer((both(["10.0.0.1"])[0], said(NAME, "AAAA", error="no answer")), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert "AAAA" in found.problem
    assert "there are none" in found.problem


def test_no_answer_at_all_is_a_failure():
    """With the words of the client."""
    answers = (said(NAME, "A", error="REFUSED from 10.0.0.53:53"), said(NAME, "AAAA", error="no answer"))
    with pytest.raises(DiscoveryError, match=r"orders\.internal: REFUSED from 10\.0\.0\.53:53"):
        watch().answer(answers, 0.0)


def test_a_name_that_does_not_exist_is_a_failure_and_one_without_addresses_is_empty():
    """NXDOMAIN and "no data" are told apart; both leave the last good set in place."""
    missing = (said(NAME, "A", missing=True), said(NAME, "AAAA", missing=True))
    with pytest.raises(DiscoveryError, match=r"no such name \(NXDOMAIN\)"):
        watch().answer(missing, 0.0)
    found = watch().answer(NOTHING, 0.0)
    assert found.endpoints == ()
    assert found.problem == f"{NAME} has no addresses"
    assert found.ask_again_s <= 5.0

    keeper = Keeper(Dns(NAME, 80), Random(1))
    keeper.answer(both(["10.0.0.1"]), 0.0)
    keeper.answer(NOTHING, 1.0)
    assert [one.id for one in keeper.endpoints] == ["10.0.0.1:80"]
    assert keeper.report.state is SourceState.STALE


def test_after_a_name_has_gone_its_addresses_are_forgotten():
    """What is denied by the server is not brought back by a later half answer."""
    machine = watch()
    machine.answer(both(["10.0.0.1"], ["2001:db8::1"]), 0.0)
    with pytest.raises(DiscoveryError):
        machine.answer((said(NAME, "A", missing=True), said(NAME, "AAAA", missing=True)), 1.0)
    machine.failed(1.0)
    found = machine.answer((both(["10.0.0.2"])[0], said(NAME, "AAAA", error="no answer")), 2.0)
    assert ids(found) == ["10.0.0.2:80"]


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1"])
def test_addresses_that_nobody_can_have_are_dropped(address):
    """Filters answer 0.0.0.0 for blocked names, and a connection there would reach this very host."""
    found = watch().answer(both(["10.0.0.1", address], ["::"]), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert address in found.problem
    assert ":: cannot be connected to" in found.problem
    found = watch().answer(both(["10.0.0.1"], [f"::ffff:{address}"]), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    with pytest.raises(DiscoveryError, match="cannot be connected to"):
        watch().answer(both([address]), 0.0)


def test_what_is_not_on_the_allow_list_is_dropped_and_named():
    """And an answer of such alone is a failure, so that the last good set stays."""
    machine = watch(allow=["10.0.0.0/8"])
    found = machine.answer(both(["10.0.0.1", "203.0.113.9"]), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert "203.0.113.9:80" in found.problem
    with pytest.raises(DiscoveryError, match=r"none of the 1 endpoints is on the allow-list: 203\.0\.113\.9:80"):
        machine.answer(both(["203.0.113.9"]), 1.0)


def test_a_config_is_a_value_with_a_name():
    """Lists become tuples, so that it can be hashed; the name shows neither servers nor options."""
    one = Dns("Orders.Internal", 8080, nameservers=["10.0.0.2"], allow=["10.0.0.0/8"], search=["a.b"])
    assert one == Dns("orders.internal", 8080, nameservers=("10.0.0.2",), allow=("10.0.0.0/8",), search=("a.b",))
    assert len({one, Dns("orders.internal", 8080)}) == 2
    assert str(one) == "dns://10.0.0.2/orders.internal:8080?search=a.b&allow=10.0.0.0/8"
    assert str(Dns("orders.internal", 8080)) == "dns://orders.internal:8080"
    assert one.upkeep.hurry_s == 1.0
    assert Dns("a", 1, empty_grace=3.0).upkeep.empty_grace == 3.0
    assert Dns("bücher.example", 80).host == "xn--bcher-kva.example"
    assert Dns("_x.my_app-1.svc.", 80).host == "_x.my_app-1.svc."


@pytest.mark.parametrize(
    ("host", "port", "options", "says"),
    [
        ("10.0.0.1", 80, {}, "write Static"),
        ("orders:80", 80, {}, "no port"),
        ("http://orders", 80, {}, "no scheme"),
        ("", 80, {}, "1 to 63"),
        ("a..b", 80, {}, "1 to 63"),
        ("a" * 64, 80, {}, "1 to 63"),
        ("a b", 80, {}, "letters"),
        (7, 80, {}, "text"),
        ("a", 0, {}, "port must be from 1 to 65535"),
        ("a", "80", {}, "port must be from 1 to 65535"),
        ("a", True, {}, "port must be from 1 to 65535"),
        ("a", 80, {"timeout": 0}, "timeout"),
        ("a", 80, {"min_ttl": 0}, "min_ttl"),
        ("a", 80, {"min_ttl": 10, "max_ttl": 5}, "max_ttl must be at least min_ttl"),
        ("a", 80, {"max_ttl": float("inf")}, "max_ttl"),
        ("a", 80, {"family": 5}, "family must be 4, 6 or None"),
        ("a", 80, {"search": "internal"}, "search is True, False or a tuple"),
        ("a", 80, {"search": None}, "search is True, False or a tuple"),
        ("a", 80, {"nameservers": "10.0.0.2"}, "nameservers is a tuple"),
        ("a", 80, {"nameservers": 5}, "nameservers is a tuple"),
        ("a", 80, {"nameservers": [53]}, "nameservers is a tuple"),
        ("a", 80, {"empty_grace": -1}, "empty_grace"),
        ("a", 80, {"empty_grace": "1"}, "Dns: empty_grace must be at least 0 seconds, or inf, not '1'"),
        ("a", 80, {"allow": ["a/b"]}, "allow"),
        ("a", 80, {"allow": 5}, "allow is a tuple of texts"),
        ("10.0.0.256", 80, {}, "'10.0.0.256' ends in digits, as no name does, and is no address"),
        *(("a", 80, {"nameservers": [bad]}, "a nameserver is an address")
          for bad in ("dns.internal", "10.0.0.2:", "10.0.0.2:0x", "10.0.0.2:70000", "[::1", "[::1]53", "[::1]:", "[10.0.0.2]", "")),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_with_what_to_write(host, port, options, says):
    """At construction."""
    with pytest.raises(ConfigError, match=says):
        Dns(host, port, **options)


def test_endpoints_of_names_and_of_addresses_have_identities_of_their_own():
    """A name that is asked for again gives the same identities, never its own besides theirs."""
    machine = watch()
    seen = {one.id for at in (0.0, 60.0) for one in machine.answer(both(["10.0.0.1", "10.0.0.2"]), at).endpoints}
    assert seen == {"10.0.0.1:80", "10.0.0.2:80"}
    assert Endpoint(host=NAME, port=80).id not in seen
