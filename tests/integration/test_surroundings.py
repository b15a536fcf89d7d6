"""What surrounds a call: proxies in the environment, context variables, the same seed, and several libraries at once."""

import contextlib
import contextvars
import random

import anyio
import httpx
import httpx2
import pytest

import lbkit.httpx
import lbkit.httpx2
from lbkit import CircuitBreaker, Cluster, ClusterClosed, RetryPolicy
from lbkit.events import EndpointAdded, StandingChanged
from lbkit.testing import ManualClock, Script, refused
from tests.rigs.ports import free_port
from tests.rigs.replica import replicas


def test_a_proxy_in_the_environment_goes_past_the_balancer_unless_it_is_not_trusted(monkeypatch):
    """It is httpx that sends such requests to the proxy; `trust_env=False` keeps them (HT-20, docs/howto-httpx.md)."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with replicas(1) as [one]:
        cluster = Cluster("orders", [one.address])
        with httpx.Client(transport=lbkit.httpx.BalancedTransport(cluster), trust_env=False) as client:
            assert client.get("http://orders/").status_code == 200
        assert cluster.stats().calls == 1
        mounts = {"all://orders": lbkit.httpx.BalancedTransport(cluster)}
        with httpx.Client(mounts=mounts) as client:
            assert client.get("http://orders/").status_code == 200  # a mount for the name is nearer than the proxy's
        assert cluster.stats().calls == 2


def test_listeners_see_the_context_variables_of_the_caller():
    """A request id that logging reads from the context is there when an event is told (RL-8)."""
    request_id = contextvars.ContextVar("request_id", default="none")
    seen = []
    cluster = Cluster("orders", [f"127.0.0.1:{free_port()}"], retry=RetryPolicy(attempts=5))
    cluster.subscribe(lambda event: seen.append(request_id.get()) if isinstance(event, StandingChanged) else None)

    async def main():
        request_id.set("r-1")
        transport = lbkit.httpx.AsyncBalancedTransport(cluster)
        async with httpx.AsyncClient(transport=transport, base_url="http://orders", trust_env=False) as client:
            with contextlib.suppress(httpx.ConnectError):
                await client.get("/")

    anyio.run(main)
    assert seen == ["r-1"]


def test_the_same_seed_and_times_make_the_same_choices():
    """Choices, open times and their jitter follow from the clock and the source of randomness alone (RL-9)."""

    def run(seed):
        clock = ManualClock()
        script = Script({"a:80": [200], "b:80": [refused()], "c:80": [200]})
        cluster = Cluster(
            "orders", ["a:80", "b:80", "c:80"], clock=clock, rng=random.Random(seed), scheduler="least_request",
            retry=RetryPolicy(wait=lambda _: 0.0),
        )  # fmt: skip
        opened = []
        cluster.subscribe(lambda event: opened.append(event.for_s) if isinstance(event, StandingChanged) else None)
        transport = lbkit.httpx.BalancedTransport(cluster, inner=script.httpx())
        with httpx.Client(transport=transport, base_url="http://orders") as client:
            for _ in range(200):
                client.get("/")
                clock.advance(0.05)
        return script.log, opened

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_both_libraries_work_side_by_side_over_one_cluster():
    """One process may be on its way from httpx to httpx2 (HT-18)."""
    with replicas(2) as some:
        cluster = Cluster("orders", [one.address for one in some])
        with (
            httpx.Client(transport=lbkit.httpx.BalancedTransport(cluster), base_url="http://orders") as one,
            httpx2.Client(transport=lbkit.httpx2.BalancedTransport(cluster), base_url="http://orders") as other,
        ):
            for _ in range(10):
                assert one.get("/").status_code == other.get("/").status_code == 200
        assert cluster.stats().calls == 20


def test_stats_show_every_endpoint_and_no_other():
    """State, reason, times, load and weight of the live ones; what has left is gone (RL-7)."""
    cluster = Cluster("orders", ["a:80", "b:80"])
    cluster.drain("b:80")
    assert {one.endpoint: (one.state, one.cause) for one in cluster.stats().endpoints} == {
        "a:80": ("ready", ""),
        "b:80": ("draining", "drain"),
    }
    for number in range(50):
        cluster.update("a:80", f"c{number}:80")
    assert [one.endpoint for one in cluster.stats().endpoints] == ["a:80", "c49:80"]


def test_a_listener_may_use_the_cluster_from_the_first_event_on():
    """Events of opening are told after all locks: draining what was added is allowed."""
    cluster = Cluster("orders", ["a:80", "b:80"])
    cluster.subscribe(lambda event: cluster.drain("b:80") if event == EndpointAdded("orders", "b:80") else None)
    cluster.open()
    assert [one.state for one in cluster.stats().endpoints] == ["ready", "draining"]


def test_a_closed_cluster_is_a_connect_error_to_the_client():
    """Existing `except httpx.TransportError` keeps working."""
    cluster = Cluster("orders", ["a:80"])
    cluster.close()
    client = httpx.Client(transport=lbkit.httpx.BalancedTransport(cluster), base_url="http://orders")
    with pytest.raises(httpx.ConnectError, match="orders was closed") as caught:
        client.get("/")
    assert isinstance(caught.value, ClusterClosed)


def test_no_url_is_repeated_in_an_error():
    """Credentials and queries stay out of messages."""
    transport = lbkit.httpx.BalancedTransport(Cluster("orders", ["a:80"]))
    with (
        httpx.Client(transport=transport, trust_env=False) as client,
        pytest.raises(httpx.UnsupportedProtocol) as caught,
    ):
        client.get("ftp://user:secret@orders/x?token=secret")
    assert "secret" not in str(caught.value)


def test_a_retry_does_not_wait_where_failing_open_knows_another_endpoint():
    """With all circuits open the second attempt goes to the other endpoint at once."""
    script = Script({"a:80": [refused()], "b:80": [refused()]})
    waits = []
    policy = RetryPolicy(attempts=2, wait=lambda state: waits.append(state) or 0.0)
    cluster = Cluster(
        "orders", ["a:80", "b:80"], retry=policy, breaker=CircuitBreaker(failures=1, open_s=60, open_max_s=60)
    )
    transport = lbkit.httpx.BalancedTransport(cluster, inner=script.httpx())
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError):
                client.get("/")
    assert not waits
    assert sorted(script.log[-2:]) == ["a:80", "b:80"]
