"""SRV: tiers, weights, targets, and where their addresses come from."""

from random import Random

import pytest

from lbkit.core.endpoint import Snapshot
from lbkit.discovery.dns.records import DnsQuery
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.errors import ConfigError, DiscoveryError
from tests.unit.discovery.dns.dns_worlds import Lowest, ids, said

NAME = "_web._tcp.test.lb"


def watch(rng=None, **options):
    """Return the machine of a source."""
    return DnsSrv(NAME, **options).watch(rng or Random(1))


def srv(*data, additional=(), ttl=60):
    """An answer with SRV records such as "10 60 8081 b1", and addresses such as "b1 A 10.0.0.1"."""
    given = [f"{name} {ttl} {rest}" for name, _, rest in (one.partition(" ") for one in additional)]
    return (said(NAME, "SRV", *(f"{NAME} {ttl} SRV {one}" for one in data), additional=given),)


def addresses(**by_target):
    """Answers for the addresses of targets."""
    answers = []
    for target, texts in by_target.items():
        for kind, has_colon in (("A", False), ("AAAA", True)):
            data = [f"{target} 60 {kind} {one}" for one in texts if (":" in one) is has_colon]
            answers.append(said(f"{target}.", kind, *data))
    return tuple(answers)


def shares(found):
    """Return weight and priority by identity."""
    return {one.id: (one.weight, one.priority) for one in found.endpoints}


def test_priorities_are_tiers_and_weights_are_weights():
    """The addresses come from the additional section, whatever its order."""
    machine = watch()
    assert machine.query(0.0) == DnsQuery((NAME,), ("SRV",), (), None, 5.0)
    found = machine.answer(
        srv("10 60 8081 b1", "10 40 8082 b2", "20 7 8083 b3",
            additional=["b3 A 10.0.0.3", "other A 10.0.0.9", "b2 A 10.0.0.2", "b1 A 10.0.0.1"]), 0.0,
    )  # fmt: skip
    assert shares(found) == {"10.0.0.1:8081": (60, 10), "10.0.0.2:8082": (40, 10), "10.0.0.3:8083": (7, 20)}
    assert [one.metadata["target"] for one in found.endpoints] == ["b1", "b2", "b3"]
    assert found.problem == ""


def test_a_weight_of_0_is_a_very_small_share():
    """A hundredth of the smallest weight beside it; beside none, and in each priority for itself, all are equal."""
    given = [f"b{n} A 10.0.0.{n}" for n in range(1, 6)]
    found = watch().answer(
        srv("1 0 80 b1", "1 20 80 b2", "1 50 80 b3", "2 0 80 b4", "2 0 80 b5", additional=given), 0.0
    )
    weights = {one.metadata["target"]: one.weight for one in found.endpoints}
    assert weights == {"b1": pytest.approx(0.2), "b2": 20, "b3": 50, "b4": 1, "b5": 1}


def test_a_target_of_a_dot_says_that_there_is_no_service():
    """An empty answer in clear words, not a failure."""
    found = watch().answer(srv("0 0 0 ."), 0.0)
    assert found.endpoints == ()
    assert "decidedly not offered" in found.problem
    beside = watch().answer(srv("0 0 0 .", "1 1 80 b1", additional=["b1 A 10.0.0.1"]), 0.0)
    assert ids(beside) == ["10.0.0.1:80"]
    assert beside.problem == "a target of '.' beside others is ignored"


def test_no_records_are_an_empty_answer():
    """The name exists, but has no SRV."""
    found = watch().answer(srv(), 0.0)
    assert found.endpoints == ()
    assert found.problem == f"{NAME} has no SRV records"


def test_targets_without_an_address_in_the_answer_are_asked_for_together():
    """All of them in one second query, both kinds; the others are taken as they came."""
    machine = watch(Lowest())
    assert machine.answer(srv("1 1 80 b1", "1 1 80 b2", "1 1 80 b3", additional=["b2 A 10.0.0.2"]), 0.0) is None
    assert machine.query(0.0) == DnsQuery(("b1.", "b3."), ("A", "AAAA"), (), None, 5.0)
    found = machine.answer(addresses(b1=["10.0.0.1"], b3=["::3"]), 0.0)
    assert ids(found) == ["10.0.0.1:80", "10.0.0.2:80", "[::3]:80"]
    assert found.ask_again_s == pytest.approx(48.0)
    assert machine.query(1.0).kinds == ("SRV",), "the next round begins with the name"


def test_the_weight_of_a_target_is_divided_among_its_addresses():
    """So a target with three addresses gets no more than its record says."""
    found = watch().answer(
        srv("1 30 80 b1", "1 30 80 b2", additional=["b1 A 10.0.0.1", "b1 A 10.0.0.2", "b1 AAAA ::1", "b2 A 10.0.0.9"]),
        0.0,
    )
    assert {one.id: one.weight for one in found.endpoints} == {
        "10.0.0.1:80": 10, "10.0.0.2:80": 10, "[::1]:80": 10, "10.0.0.9:80": 30,
    }  # fmt: skip


@pytest.mark.parametrize("in_additional", [True, False])
def test_a_target_may_be_an_alias(in_additional):
    """The RFC forbids it and people do it; the alias' TTL counts too."""
    machine = watch(Lowest())
    if in_additional:
        found = machine.answer(
            (said(NAME, "SRV", f"{NAME} 60 SRV 1 1 80 b1", additional=["b1 20 CNAME c", "c 60 A 10.0.0.1"]),), 0.0
        )
    else:
        assert machine.answer(srv("1 1 80 b1"), 0.0) is None
        alias = "b1. 20 CNAME c"
        found = machine.answer((said("b1.", "A", alias, "c 60 A 10.0.0.1"), said("b1.", "AAAA", alias)), 0.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert found.endpoints[0].metadata["target"] == "b1"
    assert found.ask_again_s == pytest.approx(16.0)


def test_aliases_in_a_circle_are_asked_for():
    """What the additional section says is of no use then."""
    machine = watch()
    assert machine.answer(srv("1 1 80 a", additional=["a CNAME b", "b CNAME a"]), 0.0) is None


@pytest.mark.parametrize(("srv_ttl", "address_ttl"), [(10, 100), (100, 10)])
def test_the_smallest_ttl_of_names_and_addresses_counts(srv_ttl, address_ttl):
    """Whichever of the two it is."""
    answer = said(NAME, "SRV", f"{NAME} {srv_ttl} SRV 1 1 80 b1", additional=[f"b1 {address_ttl} A 10.0.0.1"])
    assert watch(Lowest()).answer((answer,), 0.0).ask_again_s == pytest.approx(8.0)


def test_consuls_targets_hold_their_address():
    """They are read without asking, where the additional section has none for them, as in what Consul 1.10 answered."""
    found = watch().answer(
        srv("1 2 9001 7f000001.addr.dc1.consul", "1 6 9003 7f000003.addr.dc1.consul",
            "1 1 9004 20010db8000000000000000000000001.addr.dc1.consul"), 0.0,
    )  # fmt: skip
    assert ids(found) == ["127.0.0.1:9001", "127.0.0.3:9003", "[2001:db8::1]:9004"]
    given = watch().answer(
        srv("1 2 9001 7f000001.addr.dc1.consul", additional=["7f000001.addr.dc1.consul A 10.0.0.1"]), 0
    )
    assert ids(given) == ["10.0.0.1:9001"]
    assert watch().answer(srv("1 1 80 7f000001.addr.example"), 0.0) is None, "such a name elsewhere is a name"
    assert watch(family=6).answer(srv("1 2 9001 7f000001.addr.dc1.consul"), 0.0) is None, "the other kind is asked for"
    with pytest.raises(DiscoveryError, match=r"0\.0\.0\.0 cannot be connected to"):
        watch().answer(srv("1 2 9001 00000000.addr.dc1.consul"), 0.0)


def test_a_port_of_0_is_refused_and_told():
    """The other targets are used; with none left it is a failure."""
    found = watch().answer(srv("1 1 0 b1", "1 1 80 b2", additional=["b1 A 10.0.0.1", "b2 A 10.0.0.2"]), 0.0)
    assert ids(found) == ["10.0.0.2:80"]
    assert found.problem == "port 0 is none: b1"
    with pytest.raises(DiscoveryError, match=r"none of its targets can be used: port 0 is none: b1"):
        watch().answer(srv("1 1 0 b1", additional=["b1 A 10.0.0.1"]), 0.0)


def test_one_address_named_twice_is_one_endpoint():
    """In the best of its priorities; records of one priority add up, as in the RFC's draw."""
    given = ["b1 A 10.0.0.1", "b2 A 10.0.0.1"]
    found = watch().answer(srv("20 5 80 b1", "10 3 80 b2", additional=given), 0.0)
    assert shares(found) == {"10.0.0.1:80": (3, 10)}
    assert found.endpoints[0].metadata["target"] == "b2"
    assert shares(watch().answer(srv("10 5 80 b1", "10 3 80 b2", additional=given), 0.0)) == {"10.0.0.1:80": (8, 10)}


def test_another_order_is_no_change():
    """Of the records and of the additional section; the order of equals does not matter either."""
    records = ["1 1 80 b1", "1 2 80 b2", "1 3 80 b3"]
    given = ["b1 A 10.0.0.1", "b2 A 10.0.0.1", "b3 A 10.0.0.3"]
    one = watch().answer(srv(*records, additional=given), 0.0).endpoints
    other = watch().answer(srv(*reversed(records), additional=list(reversed(given))), 0.0).endpoints
    assert one == other
    assert Snapshot.of(one).endpoints == one


def test_tls_verifies_the_target_when_told_to():
    """Otherwise the name of the URL."""
    answer = srv("1 1 443 b1.test.lb", additional=["b1.test.lb A 10.0.0.1"])
    assert watch().answer(answer, 0.0).endpoints[0].server_name is None
    assert watch(verify_target=True).answer(answer, 0.0).endpoints[0].server_name == "b1.test.lb"


def test_a_target_that_cannot_be_asked_for_keeps_its_last_addresses():
    """A failure for one target removes nothing; an answer that it has gone does."""
    machine = watch()
    records = "1 1 80 b1", "1 1 80 b2"
    machine.answer(srv(*records, additional=["b1 A 10.0.0.1", "b2 A 10.0.0.2"]), 0.0)
    assert machine.answer(srv(*records, additional=["b1 A 10.0.0.1"]), 60.0) is None
    trouble = (said("b2.", "A", error="SERVFAIL from 10.0.0.53:53"), said("b2.", "AAAA", error="no answer"))
    found = machine.answer(trouble, 60.0)
    assert ids(found) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert "A of b2: SERVFAIL from 10.0.0.53:53; the last one is kept" in found.problem
    assert found.ask_again_s <= 5.0
    assert machine.answer(srv(*records, additional=["b1 A 10.0.0.1"]), 65.0) is None
    found = machine.answer((said("b2.", "A", missing=True), said("b2.", "AAAA", missing=True)), 65.0)
    assert ids(found) == ["10.0.0.1:80"]
    assert found.problem == "without an address: b2"


def test_a_target_that_was_gone_comes_back_without_its_old_addresses():
    """What is kept for a question that fails is of the answers just before, not of a replica of long ago."""
    machine = watch(family=4)
    assert machine.answer(srv("1 1 80 b1", additional=["b1 A 10.0.0.1"]), 0.0).endpoints
    assert machine.answer(srv("1 1 80 b2", additional=["b2 A 10.0.0.2"]), 60.0).endpoints
    assert machine.answer(srv("1 1 80 b1", "1 1 80 b2", additional=["b2 A 10.0.0.2"]), 120.0) is None
    found = machine.answer((said("b1.", "A", error="no answer"),), 120.0)
    assert ids(found) == ["10.0.0.2:80"]
    assert found.problem == "A of b1: no answer; there are none"


def test_no_target_with_an_address_is_a_failure():
    """DNS says that there are replicas; that none can be found is no proof that there are none."""
    machine = watch()
    assert machine.answer(srv("1 1 80 b1"), 0.0) is None
    with pytest.raises(DiscoveryError, match=r"none of its targets can be used: A of b1: no answer; there are none"):
        machine.answer((said("b1.", "A", error="no answer"), said("b1.", "AAAA", error="no answer")), 0.0)
    machine.failed(0.0)
    assert machine.query(1.0).names == (NAME,)


def test_the_troubles_of_many_targets_make_no_long_report():
    """The first few are told, the others counted."""
    machine = watch()
    names = [f"b{n}." for n in range(100)]
    assert machine.answer(srv(*(f"1 1 80 {one}" for one in names)), 0.0) is None
    with pytest.raises(DiscoveryError, match=r"A of b0: no answer.*; trouble with 97 more targets") as caught:
        machine.answer(tuple(said(one, kind, error="no answer") for one in names for kind in ("A", "AAAA")), 0.0)
    assert len(str(caught.value)) < 500


def test_a_kind_of_address_that_was_cut_off_is_asked_for():
    """Servers leave out of the additional section what does not fit; half of the endpoints must not come and go."""
    machine = watch()
    machine.answer(srv("1 1 80 b1", additional=["b1 A 10.0.0.1", "b1 AAAA ::1"]), 0.0)
    assert machine.answer(srv("1 1 80 b1", additional=["b1 A 10.0.0.1"]), 60.0) is None
    assert machine.query(60.0).names == ("b1.",)
    assert ids(machine.answer(addresses(b1=["10.0.0.1"]), 60.0)) == ["10.0.0.1:80"]
    assert machine.answer(srv("1 1 80 b1", additional=["b1 A 10.0.0.1"]), 120.0) is not None, "it has none any more"


def test_a_failure_between_the_two_queries_begins_anew():
    """The next question is for the name, whatever was known of half a round."""
    machine = watch()
    assert machine.answer(srv("1 1 80 b1"), 0.0) is None
    machine.failed(0.0)
    assert machine.query(1.0).kinds == ("SRV",)
    with pytest.raises(DiscoveryError, match=rf"{NAME}: REFUSED from 10\.0\.0\.53:53"):
        machine.answer((said(NAME, "SRV", error="REFUSED from 10.0.0.53:53"),), 1.0)
    with pytest.raises(DiscoveryError, match=r"no such name \(NXDOMAIN\)"):
        machine.answer((said(NAME, "SRV", missing=True),), 2.0)


def test_targets_and_addresses_must_be_on_the_allow_list():
    """A hijacked answer is dropped and named; alone it is a failure that keeps the last good set."""
    keeper = Keeper(DnsSrv(NAME, allow=("10.0.0.0/8", ".test.lb")), Random(1))
    fine = "1 1 80 b1.test.lb", "b1.test.lb A 10.0.0.1"
    evil = "1 1 80 evil.example", "evil.example A 10.0.0.66"
    away = "1 1 80 b2.test.lb", "b2.test.lb A 203.0.113.9"
    keeper.answer(srv(fine[0], evil[0], away[0], additional=[fine[1], evil[1], away[1]]), 0.0)
    assert [one.id for one in keeper.endpoints] == ["10.0.0.1:80"]
    problem = "dropped, not on the allow-list: evil.example at 10.0.0.66:80, b2.test.lb at 203.0.113.9:80"
    assert keeper.report.problem == problem
    with pytest.raises(DiscoveryError, match="none of the 1 endpoints is on the allow-list") as caught:
        keeper.answer(srv(evil[0], additional=[evil[1]]), 1.0)
    keeper.failed(caught.value, 1.0)
    assert [one.id for one in keeper.endpoints] == ["10.0.0.1:80"]
    assert keeper.report.state is SourceState.STALE


def test_a_config_is_a_value_with_a_name():
    """Hashable, and shown as its target string."""
    one = DnsSrv("_HTTP._tcp.Orders.example", nameservers=["10.0.0.2"])
    assert str(one) == "dns+srv://10.0.0.2/_http._tcp.orders.example"
    assert one == DnsSrv("_http._tcp.orders.example", nameservers=("10.0.0.2",))
    assert len({one}) == 1
    assert one.upkeep.hurry_s == 1.0
    for wrong in ({"name": "dns+srv://x"}, {"name": "a", "timeout": -1}, {"name": "a", "empty_grace": -1}):
        with pytest.raises(ConfigError):
            DnsSrv(**wrong)
