"""DNS sources with real servers: Knot and BIND, changed while they run, and in every kind of trouble."""

import time

import anyio
import dns.flags
import dns.message
import dns.query
import pytest

from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.keeper import SourceState
from tests.rigs.bind import Bind
from tests.rigs.dns_rounds import Rounds
from tests.rigs.knot import Knot
from tests.rigs.leaks import leak_check

NAME = "_web._tcp"
ADDRESSES = {"b1": ["127.0.0.1", "::1"], "b2": ["127.0.0.2"], "b3": ["127.0.0.3"]}
TIMEOUT = 10.0
SHORT = 1.0
"""For questions that are not to be answered."""
GENEROUS_S = 10.0
"""What a slow machine may add."""
MANY = {f"a-replica-with-a-long-name-{n}": [f"127.0.1.{n}"] for n in range(200)}


@pytest.fixture
def knot():
    with Knot() as server:
        server.replace(NAME, "SRV", ["10 60 8081 b1", "10 0 8082 b2", "20 0 8083 b3"], addresses=ADDRESSES)
        yield server


def srv(server, name=f"{NAME}.test.lb", **options):
    """Rounds with the SRV name."""
    return Rounds(DnsSrv(name, nameservers=(server.nameserver,), **{"timeout": TIMEOUT, **options}))


def addresses(server, name, **options):
    """Rounds with the addresses of a name."""
    return Rounds(Dns(name, 80, nameservers=(server.nameserver,), **{"timeout": TIMEOUT, **options}))


def test_srv_becomes_tiers_weights_and_addresses(knot):
    """With both kinds of addresses, the weight of a target divided among them."""
    rounds = srv(knot)
    report = rounds.ask()
    assert (report.state, report.problem) == (SourceState.LIVE, "")
    assert rounds.shares() == {
        "127.0.0.1:8081": (30, 10), "[::1]:8081": (30, 10), "127.0.0.2:8082": (0.6, 10), "127.0.0.3:8083": (1, 20),
    }  # fmt: skip


def test_a_name_becomes_all_its_addresses(knot):
    """Of both kinds, or of the one that is wanted, as a full name or by search."""
    for name, options, expected in [
        ("b1.test.lb", {}, ["127.0.0.1:80", "[::1]:80"]),
        ("b1", {"search": ("nowhere.test.lb", "test.lb")}, ["127.0.0.1:80", "[::1]:80"]),
        ("b1.test.lb", {"family": 6}, ["[::1]:80"]),
        ("b2.test.lb.", {}, ["127.0.0.2:80"]),
    ]:
        rounds = addresses(knot, name, **options)
        assert rounds.ask().problem == ""
        assert rounds.ids == expected


def test_an_alias_is_followed(knot):
    """As a name, as a target, and across zones as far as the server goes."""
    knot.replace("alias", "CNAME", ["b2"])
    knot.replace("far", "CNAME", ["elsewhere.example."])
    knot.replace("_alias._tcp", "SRV", ["1 1 80 alias"])
    rounds = addresses(knot, "alias.test.lb")
    rounds.ask()
    assert rounds.ids == ["127.0.0.2:80"]
    rounds = srv(knot, "_alias._tcp.test.lb")
    rounds.ask()
    assert rounds.ids == ["127.0.0.2:80"]
    assert rounds.keeper.endpoints[0].metadata["target"] == "alias.test.lb"
    assert "REFUSED from" in addresses(knot, "far.test.lb").ask().problem


def test_a_change_is_seen_within_the_ttl_and_costs_no_identity(knot):
    """Followed by its TTL of one second: a replica that is added and one that is removed; the others stay the same."""
    rounds = srv(knot)

    async def follow():
        async with anyio.create_task_group() as group:
            group.start_soon(rounds.follow)
            with anyio.fail_after(GENEROUS_S):
                while len(rounds.ids) != 4:
                    await anyio.sleep(0.01)
            changed = ["10 60 8081 b1", "20 0 8083 b3", "10 5 8084 b4"]
            begun = time.monotonic()
            await anyio.to_thread.run_sync(lambda: knot.replace(NAME, "SRV", changed, addresses={"b4": ["127.0.0.4"]}))
            with anyio.fail_after(GENEROUS_S):
                while "127.0.0.4:8084" not in rounds.ids:
                    await anyio.sleep(0.01)
            took_s = time.monotonic() - begun
            group.cancel_scope.cancel()
            return took_s

    took_s = anyio.run(follow)
    assert rounds.ids == ["127.0.0.1:8081", "127.0.0.3:8083", "127.0.0.4:8084", "[::1]:8081"]
    assert took_s < GENEROUS_S


def is_the_whole_set_found(server):
    """Whether 200 records that do not fit into a datagram are found, all of them and nothing else."""
    records = [f"1 1 {9000 + n} {name}" for n, name in enumerate(MANY)]
    server.replace("_many._tcp", "SRV", records, addresses=MANY)
    rounds = srv(server, "_many._tcp.test.lb")
    report = rounds.ask()
    assert (report.state, report.problem) == (SourceState.LIVE, "")
    return sorted(rounds.ids) == sorted(f"127.0.1.{n}:{9000 + n}" for n in range(200))


@pytest.mark.parametrize("kind", [Knot, Bind])
def test_two_hundred_records_come_whole_over_tcp(kind):
    """What does not fit into a datagram is asked for over TCP, and the set is exact."""
    with kind() as server:
        assert is_the_whole_set_found(server)


def test_the_part_that_came_in_a_truncated_answer_is_never_used(monkeypatch):
    """Without EDNS, BIND fills its truncated answer with what there is room for: a small, wrong set."""
    monkeypatch.setattr("dns.asyncresolver.Resolver.use_edns", lambda *_: None)
    with Bind() as server:
        assert is_the_whole_set_found(server)
        question = dns.message.make_query("_many._tcp.test.lb.", "SRV")
        part = dns.query.udp(question, "127.0.0.1", timeout=GENEROUS_S, port=server.port)
        assert part.flags & dns.flags.TC
        assert 0 < len(part.answer[0]) < 200


def test_no_such_name_and_no_records_and_no_service_are_told_apart(knot):
    """NXDOMAIN is a failure; no data and a target of "." are empty answers in words of their own."""
    report = addresses(knot, "nobody.test.lb").ask()
    assert (report.state, report.problem) == (SourceState.FAILED, "nobody.test.lb: no such name (NXDOMAIN)")
    report = addresses(knot, f"{NAME}.test.lb").ask()
    assert (report.state, report.problem) == (SourceState.EMPTY, f"{NAME}.test.lb has no addresses")
    report = srv(knot, "b1.test.lb").ask()
    assert (report.state, report.problem) == (SourceState.EMPTY, "b1.test.lb has no SRV records")
    knot.replace("_none._tcp", "SRV", ["0 0 0 ."])
    report = srv(knot, "_none._tcp.test.lb").ask()
    assert report.state is SourceState.EMPTY
    assert "decidedly not offered" in report.problem


def trouble_purge(server):
    server.purge()


def trouble_freeze(server):
    server.freeze()


def trouble_kill(server):
    server.kill()


def trouble_nxdomain(server):
    server.replace(NAME, "SRV", [])


@pytest.mark.parametrize(
    ("begin", "timeout", "says"),
    [
        (trouble_purge, TIMEOUT, "_web._tcp.test.lb: SERVFAIL from 127.0.0.1:{port}"),
        (trouble_freeze, SHORT, "_web._tcp.test.lb: no answer in 1 s from 127.0.0.1:{port}"),
        (trouble_kill, TIMEOUT, "_web._tcp.test.lb: connection refused by 127.0.0.1:{port}"),
        (trouble_nxdomain, TIMEOUT, "_web._tcp.test.lb: no such name (NXDOMAIN)"),
    ],
)
def test_a_server_in_trouble_changes_nothing_but_the_report(knot, begin, timeout, says):
    """Each trouble in its own words, in bounded time; the last good set stays; nothing is left open."""
    rounds = srv(knot, timeout=timeout)
    rounds.ask()
    known = rounds.keeper.endpoints
    begin(knot)
    with leak_check():
        report = rounds.ask()
    assert (report.state, report.problem) == (SourceState.STALE, says.format(port=knot.port))
    assert rounds.keeper.endpoints == known
    assert rounds.took_s < timeout + GENEROUS_S


def test_a_zone_that_is_not_the_servers_is_refused(knot):
    """REFUSED, by the server that said it; of several servers each is named."""
    report = addresses(knot, "orders.example").ask()
    assert report.problem == f"orders.example: REFUSED from {knot.nameserver}"


def test_the_next_server_is_asked_when_one_is_down(knot):
    """A dead one costs no time, a frozen one its share of the limit."""
    with Knot() as other:
        other.kill()
        both = Rounds(DnsSrv(f"{NAME}.test.lb", nameservers=(other.nameserver, knot.nameserver), timeout=TIMEOUT))
        assert both.ask().problem == ""
        other.start()
        other.freeze()
        assert both.ask().problem == ""
        assert len(both.ids) == 4


def test_after_the_trouble_it_is_as_before(knot):
    """A server that thaws is asked as ever, late answers to old questions disturb nobody."""
    rounds = srv(knot, timeout=SHORT)
    knot.freeze()
    assert rounds.ask().state is SourceState.FAILED
    knot.thaw()
    assert rounds.ask().state is SourceState.LIVE
    assert len(rounds.ids) == 4


def test_a_question_that_is_cancelled_leaves_nothing_open(knot):
    """Over UDP, in the middle of waiting for a frozen server."""
    knot.freeze()

    async def cancel():
        rounds = srv(knot)
        async with leak_check():
            with anyio.move_on_after(0.2) as scope:
                await rounds.round()
            assert scope.cancelled_caught

    anyio.run(cancel)
