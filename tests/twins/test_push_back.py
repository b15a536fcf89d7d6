"""Endpoints that push back: 503 and 429, and Retry-After in every form."""

import contextlib
import email.utils
import time

import pytest

from lbkit import (
    Cluster,
)
from tests.rigs.faulty import FaultServer
from tests.twins.twin import addresses, twin


@contextlib.contextmanager
def answering(replica, **changes):
    """A replica that answers otherwise for a while."""
    replica.control(**changes)
    try:
        yield
    finally:
        replica.control(status=0, retry_after=None, delay_ms=0)


@twin
async def test_a_503_with_retry_after_pauses_the_endpoint_and_goes_elsewhere(face, pair):
    """HT-11: one request finds out, those after it do not go there, and it is no failure."""
    with FaultServer("retry_after_503") as busy:
        busy.pace.retry_after_s = 30
        cluster = Cluster("orders", [busy.address, pair[0].address], scheduler="round_robin")
        async with face.balanced(cluster) as client:
            assert {(await client.get()).status_code for _ in range(10)} == {200}
        states = {one.endpoint: one for one in cluster.stats().endpoints}
        assert (states[busy.address].state, states[busy.address].failures) == ("paused", 0)
        assert 25 < states[busy.address].until_s <= 30
        assert len(busy.requests) == 1


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("7", 5, 7), ("100000", 299, 300), ("-5", None, None), ("soon", None, None), ("date", 5, 8), ("no zone", 5, 8)],
)
@twin
async def test_retry_after_is_read_in_every_form(face, pair, text, low, high):
    """HT-12: seconds, capped at 300; a date with and without zone; negative and senseless values pause nothing."""
    when = time.time() + 8
    if text == "date":
        text = email.utils.formatdate(when, usegmt=True)
    elif text == "no zone":
        text = email.utils.formatdate(when, usegmt=True).removesuffix(" GMT")
    with FaultServer("retry_after_503") as busy:
        busy.pace.retry_after_s = text
        cluster = Cluster("orders", [busy.address, pair[0].address], scheduler="first")
        async with face.balanced(cluster) as client:
            assert (await client.get()).status_code == 200
        state = cluster.stats().endpoints[0]
        if low is None:
            assert state.state == "ready"
        else:
            assert state.state == "paused"
            assert low <= state.until_s <= high


@twin
async def test_429_pauses_like_503_and_other_client_errors_never_count(face, pair):
    """HT-11: 405, 413, 422 and 499 say nothing about the endpoint; 299 is success; 429 is pushed back."""
    cluster = Cluster("orders", addresses(pair[:1]))
    async with face.balanced(cluster) as client:
        for status in (400, 401, 403, 404, 405, 409, 413, 418, 422, 499, 299, 501, 505):
            for _ in range(3):
                assert (await client.get(f"/status/{status}")).status_code == status
        assert (cluster.stats().failures, cluster.stats().endpoints[0].state) == (0, "ready")
        answer = await client.get("/status/429?retry_after=9")
        assert answer.status_code == 429
        assert (cluster.stats().failures, cluster.stats().endpoints[0].state) == (0, "paused")
