"""When an answer is asked for again."""

from random import Random

import pytest

from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.keeper import Keeper
from tests.unit.discovery.dns.dns_worlds import Highest, Lowest, said


def pause(ttl, rng, **options):
    """Return the seconds after which a name whose address has this TTL is asked for again."""
    watch = Dns("a.test", 80, family=4, **options).watch(rng)
    return watch.answer((said("a.test", "A", f"a.test {ttl} A 10.0.0.1"),), 0.0).ask_again_s


@pytest.mark.parametrize("ttl", [2, 5, 30, 60, 300])
def test_an_answer_is_asked_for_again_ahead_of_its_expiry(ttl):
    """After 80 to 95 % of its TTL."""
    assert pause(ttl, Lowest()) == pytest.approx(0.80 * ttl)
    assert pause(ttl, Highest()) == pytest.approx(0.95 * ttl)


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_ttl_below_the_floor_counts_as_the_floor(ttl):
    """One second by default; the random part comes on top, and leaves a change visible within TTL + 250 ms."""
    assert pause(ttl, Lowest()) == 1.0
    assert pause(ttl, Highest()) == pytest.approx(1.15)
    assert pause(ttl, Lowest(), min_ttl=10.0) == 10.0


@pytest.mark.parametrize("ttl", [301, 86400, 2**31 - 1])
def test_a_ttl_above_the_ceiling_counts_as_the_ceiling(ttl):
    """300 s by default."""
    assert pause(ttl, Lowest()) == pytest.approx(240.0)
    assert pause(ttl, Highest()) == pytest.approx(285.0)
    assert pause(ttl, Highest(), max_ttl=30.0) == pytest.approx(28.5)


def test_the_smallest_ttl_of_all_records_counts():
    """Of both kinds of addresses."""
    watch = Dns("a.test", 80).watch(Lowest())
    answers = said("a.test", "A", "a.test 100 A 10.0.0.1"), said("a.test", "AAAA", "a.test 10 AAAA ::1")
    assert watch.answer(answers, 0.0).ask_again_s == pytest.approx(8.0)


def test_clients_that_began_together_part():
    """Of 1000 that ask at one moment the next questions are spread evenly over all of 15 % of the TTL.

    In each of 10 equal slots are 100 on average with a deviation of 9.5, so 5 deviations are 48.
    """
    rng = Random(7)
    pauses = [pause(100, rng) for _ in range(1000)]
    slots = [sum(80 + 1.5 * n <= one < 80 + 1.5 * (n + 1) for one in pauses) for n in range(10)]
    assert sum(slots) == 1000
    assert all(52 <= one <= 148 for one in slots)


def test_failed_connections_bring_the_question_forward_at_most_once_a_second():
    """However many fail, and not while the source itself fails."""
    keeper = Keeper(Dns("a.test", 80, family=4), Random(1))
    answer = (said("a.test", "A", "a.test 300 A 10.0.0.1"),)
    keeper.answer(answer, 0.0)
    assert keeper.hurry(10.0)
    assert keeper.due == 10.0
    keeper.answer(answer, 10.1)
    assert not keeper.hurry(10.5)
    assert keeper.due > 200.0
    assert keeper.hurry(11.0)
    keeper.failed(RuntimeError(), 11.1)
    assert not keeper.hurry(20.0)
