"""DNS answers that no real server gives on demand: wrong, late, in pieces, in circles."""

import anyio
import dns.flags
import dns.message
import pytest

from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.keeper import SourceState
from tests.rigs.dns_rounds import Rounds
from tests.rigs.leaks import leak_check
from tests.rigs.scripted_dns import Pieces, ScriptedDns, answer, silent

NAME = "orders.test"
RECORD = f"{NAME}. 60 IN A 10.0.0.1"
TIMEOUT = 10.0
SHORT = 1.0
"""For questions that are not to be answered."""
GENEROUS_S = 10.0


def good(request, transport):
    """The right answer."""
    return answer(request, RECORD)


def ask(server, source=Dns, *arguments, **options):
    """One round with one server, and what is known then."""
    options = {"family": 4, "timeout": TIMEOUT, **options}
    rounds = Rounds(source(*(arguments or (NAME, 80)), nameservers=(server.nameserver,), **options))
    with leak_check(ignore_threads=("scripted dns", "Thread-")):
        rounds.ask()
    assert rounds.took_s < options["timeout"] + GENEROUS_S
    return rounds


def wrong_id(request):
    said = answer(request, f"{NAME}. 60 IN A 6.6.6.6")
    said.id ^= 0x5555
    return said.to_wire()


def wrong_question(request):
    other = dns.message.make_query("other.test.", "A", id=request.id)
    return answer(other, "other.test. 60 IN A 6.6.6.6").to_wire()


@pytest.mark.parametrize("wrong", [wrong_id, wrong_question, lambda request: b"\0", lambda request: b"\xff" * 40])
def test_answers_to_something_else_are_not_heard(wrong):
    """Somebody who guesses does not get through, and does not stop the right answer from coming through."""
    with ScriptedDns(lambda request, _: [wrong(request), answer(request, RECORD).to_wire()]) as server:
        assert ask(server).ids == ["10.0.0.1:80"]
        server.script = lambda request, _: wrong(request)
        assert ask(server, timeout=SHORT).keeper.report.problem == f"{NAME}: no answer in 1 s from {server.nameserver}"


def test_a_server_that_does_not_know_edns_is_asked_without():
    """It says FORMERR to what it does not know; others are asked for at most 1232 bytes over UDP."""
    with ScriptedDns(
        lambda request, _: answer(request, rcode="FORMERR") if request.edns >= 0 else good(request, _)
    ) as server:
        assert ask(server).ids == ["10.0.0.1:80"]
        assert [one.payload_bytes for one in server.asked] == [1232, 0]
        server.script = lambda request, _: answer(request, rcode="FORMERR")
        assert ask(server).keeper.report.problem == f"{NAME}: FORMERR from {server.nameserver}"


def test_a_truncated_answer_is_asked_for_again_over_tcp():
    """The part that came is not used."""

    def script(request, transport):
        if transport == "udp":
            return answer(request, f"{NAME}. 60 IN A 10.0.0.9", truncated=True).to_wire()
        return answer(request, RECORD, f"{NAME}. 60 IN A 10.0.0.2")

    with ScriptedDns(script) as server:
        assert ask(server).ids == ["10.0.0.1:80", "10.0.0.2:80"]
        assert [one.transport for one in server.asked] == ["udp", "tcp"]


def test_an_answer_that_is_truncated_even_over_tcp_is_a_failure():
    """A short set would be worse than an old one; and nobody goes round in a circle."""
    with ScriptedDns(lambda request, _: answer(request, RECORD, truncated=True).to_wire()) as server:
        report = ask(server).keeper.report
        assert report.state is SourceState.FAILED
        assert "truncated even over TCP" in report.problem
        assert server.nameserver in report.problem
        assert len(server.asked) <= 4


def over_tcp(pieces):
    """A script that truncates over UDP, and sends over TCP what `pieces` makes of the message with its length."""

    def script(request, transport):
        said = answer(request, RECORD, truncated=transport == "udp").to_wire()
        return said if transport == "udp" else pieces(len(said).to_bytes(2, "big") + said)

    return script


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        (lambda wire: Pieces([wire[:-8]]), "connection closed by"),
        (lambda wire: Pieces([wire[:1]]), "connection closed by"),
        (lambda wire: Pieces([]), "connection closed by"),
        (lambda wire: Pieces([bytes([one]) for one in wire], 0.2), "no answer"),
        (lambda wire: None, "no answer"),
        (lambda wire: b"\xff" * 30, "malformed"),
    ],
    ids=["half", "a byte", "nothing", "slow", "silent", "nonsense"],
)
def test_a_tcp_answer_that_does_not_come_whole_is_a_failure_in_time(pieces, says):
    """Half of it, a byte at a time, or nothing at all: the limit holds for the sum of it."""
    with ScriptedDns(over_tcp(pieces)) as server:
        report = ask(server, timeout=SHORT if says == "no answer" else TIMEOUT).keeper.report
        assert report.state is SourceState.FAILED
        assert says in report.problem
        assert server.nameserver in report.problem


def test_a_tcp_answer_in_pieces_is_put_together():
    """As long as all of it comes in time."""
    with ScriptedDns(over_tcp(lambda wire: Pieces([wire[:1], wire[1:20], wire[20:]], 0.01))) as server:
        assert ask(server).ids == ["10.0.0.1:80"]


def test_a_cancelled_tcp_question_leaves_nothing_open():
    """In the middle of an answer that does not come."""
    with ScriptedDns(over_tcp(lambda wire: None)) as server:

        async def cancel():
            rounds = Rounds(Dns(NAME, 80, nameservers=(server.nameserver,), family=4, timeout=30.0))
            async with leak_check(ignore_threads=("scripted dns", "Thread-")):
                async with anyio.create_task_group() as group:
                    group.start_soon(rounds.round)
                    with anyio.fail_after(GENEROUS_S):
                        while len(server.asked) < 2:
                            await anyio.sleep(0.01)
                    group.cancel_scope.cancel()

        anyio.run(cancel)


def test_a_chain_of_aliases_is_followed_in_one_answer_and_over_several():
    """A server that follows it sends the chain; one that does not is asked for the next link."""
    links = [f"{NAME}. 60 IN CNAME a.test.", "a.test. 5 IN CNAME b.test.", "b.test. 60 IN A 10.0.0.1"]
    with ScriptedDns(lambda request, _: answer(request, *links)) as server:
        rounds = ask(server)
        assert (rounds.ids, len(server.asked)) == (["10.0.0.1:80"], 1)

    def link_by_link(request, transport):
        return answer(request, *(one for one in links if one.startswith(f"{request.question[0].name} ")))

    with ScriptedDns(link_by_link) as server:
        rounds = ask(server)
        assert (rounds.ids, [one.name for one in server.asked]) == (["10.0.0.1:80"], [f"{NAME}.", "a.test.", "b.test."])


def circle(request, transport):
    """Two aliases, each of the other, in one answer."""
    return answer(request, f"{NAME}. 60 IN CNAME a.test.", f"a.test. 60 IN CNAME {NAME}.")


def endless(request, transport):
    """A new alias for each question."""
    name = request.question[0].name.to_text()
    return answer(request, f"{name} 60 IN CNAME x{name}")


@pytest.mark.parametrize(("script", "says"), [(circle, "malformed"), (endless, "more than 8 aliases in a row")])
def test_aliases_without_an_end_are_a_failure(script, says):
    """Not a loop."""
    with ScriptedDns(script) as server:
        assert says in ask(server).keeper.report.problem
        assert len(server.asked) <= 8


@pytest.mark.parametrize(("ttl", "at_least", "at_most"), [(0, 1.0, 1.15), (2**31 - 1, 240.0, 285.0), (10, 8.0, 9.5)])
def test_ttls_of_all_sizes_are_kept_within_bounds(ttl, at_least, at_most):
    """From the message to the time of the next question."""
    with ScriptedDns(lambda request, _: answer(request, f"{NAME}. {ttl} IN A 10.0.0.1")) as server:
        keeper = ask(server).keeper
        assert at_least <= keeper.due - keeper.report.answered_at <= at_most


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_half_an_answer_is_used_and_told(rcode):
    """A is answered, AAAA is not: the endpoints that are known are used."""

    def script(request, transport):
        return (
            good(request, transport) if request.question[0].rdtype == dns.rdatatype.A else answer(request, rcode=rcode)
        )

    with ScriptedDns(script) as server:
        rounds = ask(server, family=None)
        assert rounds.ids == ["10.0.0.1:80"]
        assert rounds.keeper.report.problem == f"AAAA of {NAME}: {rcode} from {server.nameserver}; there are none"


def test_a_and_aaaa_are_never_of_two_names():
    """The search list is gone through for both together: an AAAA denied by mistake leads to no other domain."""

    def script(request, transport):
        question = request.question[0]
        if question.name.to_text() == "orders.one." and question.rdtype == dns.rdatatype.A:
            return answer(request, "orders.one. 60 IN A 10.0.0.1")
        if question.name.to_text() == "orders.two.":
            return answer(request, "orders.two. 60 IN AAAA 2001:db8::66")
        return answer(request, rcode="NXDOMAIN")

    with ScriptedDns(script) as server:
        assert ask(server, Dns, "orders", 80, family=None, search=("one", "two")).ids == ["10.0.0.1:80"]
        assert {one.name for one in server.asked} == {"orders.one."}


def test_targets_without_addresses_in_the_answer_are_asked_for_in_one_go():
    """More of them than are asked at one time; the additional section may speak of others, in any order."""
    targets = [f"b{n}.test." for n in range(40)]

    def script(request, transport):
        question = request.question[0]
        name = question.name.to_text()
        if question.rdtype == dns.rdatatype.SRV:
            records = [f"{name} 60 IN SRV 1 1 80 {one}" for one in targets]
            given = [
                "stranger.test. 60 IN A 6.6.6.6",
                f"{targets[7]} 60 IN A 10.0.1.7",
                f"{targets[3]} 60 IN A 10.0.1.3",
            ]
            return answer(request, *records, additional=given)
        return answer(request, f"{name} 60 IN A 10.0.0.{targets.index(name)}")

    with ScriptedDns(script) as server:
        rounds = ask(server, DnsSrv, "_web._tcp.test")
        expected = {f"10.0.{int(n in (3, 7))}.{n}:80" for n in range(40)}
        assert set(rounds.ids) == expected
        assert len(server.asked) == 39


def test_a_silent_server_costs_no_more_than_the_limit_however_many_targets_there_are():
    """The limit is for the whole query, and says so for each of them."""

    def script(request, transport):
        if request.question[0].rdtype == dns.rdatatype.SRV:
            return answer(request, *(f"_web._tcp.test. 60 IN SRV 1 1 80 b{n}.test." for n in range(20)))
        return silent(request, transport)

    with ScriptedDns(script) as server:
        report = ask(server, DnsSrv, "_web._tcp.test", timeout=SHORT).keeper.report
        assert report.state is SourceState.FAILED
        assert f"A of b0.test: no answer in 1 s from {server.nameserver}" in report.problem
