"""10,000 POSTs across all faults: one may fail, none is executed twice (the servers keep the ledger)."""

import itertools
from collections import Counter

import anyio
import pytest

from lbkit import CircuitBreaker, Cluster, RetryBudget, RetryPolicy
from tests.rigs.certs import Authority
from tests.rigs.fault_modes import CONNECT_MODES, REQUEST_MODES
from tests.rigs.faulty import FaultServer
from tests.rigs.h2server import h2_servers
from tests.rigs.ledger import Ledger
from tests.rigs.replica import replicas
from tests.twins.faces import Face, in_flight

HTTP2_MODES = (
    "refused_stream", "goaway_below", "goaway_zero", "goaway_graceful", "rst_internal", "rst_in_body", "calm", "ok",
)  # fmt: skip
SLOW = {"never_answer", "slow_headers", "slow_body", "stall_on_accept", "accept_queue_full"}
FAST = sorted({*REQUEST_MODES, *CONNECT_MODES} - SLOW)
POLICY = RetryPolicy(per_try_timeout=0.2, deadline=2.0)
BUDGET = RetryBudget(ratio=1.0, floor=1000)
EXPOSED = CircuitBreaker(failures=10**6)
"""Every other POST meets the fault: a breaker would soon keep them away from it."""


async def post_all(face, client, ids, workers, numbers):
    """Send each id once, from several workers; returns how the calls ended."""
    ends = Counter()

    async def work():
        for number in ids:
            try:
                headers = {"X-Order-Id": f"{numbers}-{number}"}
                response = await client.post("/orders", headers=headers, content=b"x" * 50)
                ends[response.status_code] += 1
            except face.http.TransportError as error:
                ends[type(error).__name__] += 1

    assert await face.together(*[work] * workers) == [None] * workers
    return ends


def check(ledger, prefix, ends, sent):
    assert sum(ends.values()) == sent
    assert not ledger.duplicates(), ledger.duplicates()
    executed = sum(1 for order in ledger.counts() if order.startswith(prefix))
    assert executed >= ends[201], "an order that was confirmed is in the ledger"


@pytest.mark.parametrize("face", [Face("httpx", "asyncio"), Face("httpx", "sync"), Face("httpx2", "asyncio")], ids=str)
def test_no_post_is_executed_twice_over_http1(face, tmp_path):
    """Half of the replicas are faulty, in every way in turn; 2,700 POSTs a face."""
    ledger = Ledger(tmp_path / "ledger")

    async def scenario():
        async with face.balanced(made) as client:
            for mode in (*FAST, *sorted(SLOW)):
                count = 20 if mode in SLOW else 2600 // len(FAST)
                with FaultServer(mode, ledger=ledger) as bad:
                    made.update(*[replica.address for replica in good], bad.address)
                    ids = iter(range(count))
                    ends = await post_all(face, client, ids, 10, mode)
                    check(ledger, mode, ends, count)
                    total.update(ends)
        assert in_flight(made) == 0

    total = Counter()
    with replicas(1, ledger=ledger) as good:
        options = {"retry": POLICY, "budget": BUDGET, "breaker": EXPOSED, "scheduler": "round_robin"}
        made = Cluster("orders", [good[0].address], **options)
        face.run(scenario)
    assert sum(total.values()) >= 2600 and total[201] > 1000


@pytest.mark.parametrize("face", [Face("httpx", "asyncio"), Face("httpx", "sync"), Face("httpx2", "trio")], ids=str)
def test_no_post_is_executed_twice_over_http2(face, tmp_path):
    """No POST fails for a refused stream or a server that leaves in good order; resets are not sent again. 1,600 POSTs."""
    ledger = Ledger(tmp_path / "ledger")
    authority = Authority(tmp_path)

    async def scenario():
        options = {"verify": authority.client_context(), "http2": True}
        async with face.balanced(made, client={"base_url": "https://orders.test"}, **options) as client:
            for mode in HTTP2_MODES:
                bad.control(mode=mode)
                ends = await post_all(face, client, iter(range(200)), 10, mode)
                check(ledger, mode, ends, 200)
                if mode in ("refused_stream", "goaway_graceful", "ok"):
                    assert ends == {200: 200}, (mode, ends)
                elif mode.startswith("rst"):
                    assert ends[200] < 200, "the fault was not met"

    with h2_servers(2, tls=authority.issue("orders.test"), ledger=ledger) as [good, bad]:
        addresses = [good.address, bad.address]
        made = Cluster("orders", addresses, retry=POLICY, budget=BUDGET, breaker=EXPOSED, scheduler="round_robin")
        face.run(scenario)


@pytest.mark.parametrize("face", [Face("httpx", "asyncio"), Face("httpx", "sync")], ids=str)
def test_no_post_is_executed_twice_when_processes_die(face, tmp_path):
    """Three replicas are killed, frozen and restarted under 400 POSTs each time."""
    ledger = Ledger(tmp_path / "ledger")

    async def scenario():
        async with face.balanced(made) as client:
            for turn, victim in enumerate(itertools.islice(itertools.cycle(some), 3)):
                ids = iter(range(400))

                async def sender(ids=ids, turn=turn):
                    return await post_all(face, client, ids, 8, f"turn{turn}")

                async def harm(victim=victim, turn=turn):
                    await face.sleep(0.05)
                    victim.freeze() if turn == 1 else victim.kill()

                ends, _ = await face.together(sender, harm)
                check(ledger, f"turn{turn}", ends, 400)
                victim.thaw() if turn == 1 else None
                if turn != 1:
                    victim.start(wait=True) if face.sync else await anyio.to_thread.run_sync(victim.start)

    with replicas(3, ledger=ledger, delay_ms=1) as some:
        made = Cluster("orders", [one.address for one in some], retry=POLICY, budget=BUDGET)
        face.run(scenario)
