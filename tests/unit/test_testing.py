"""What lbkit gives to its users' tests."""

import random

import httpx
import httpx2
import pytest

import lbkit.httpx
import lbkit.httpx2
from lbkit import Cluster, ConfigError
from lbkit.testing import Fault, ManualClock, Reply, Script, no_answer, refused


def test_a_manual_clock_moves_forward_only_when_it_is_told_to():
    """And refuses to go back, without having moved."""
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    clock.advance(2.5)
    with pytest.raises(ConfigError, match="only goes forward"):
        clock.advance(-1)
    assert clock() == 7.5


@pytest.mark.parametrize(
    ("http", "transport", "inner"),
    [
        (httpx, lbkit.httpx.BalancedTransport, Script.httpx),
        (httpx2, lbkit.httpx2.BalancedTransport, Script.httpx2),
    ],
)
def test_a_script_drives_each_endpoint_and_repeats_its_last_step(http, transport, inner):
    """A refused connection and a 503 go to the other endpoint; the log says who was asked."""
    script = Script({"a:80": [refused(), 503, 200], "b:80": [Reply(200, {"x": "1"}, b"from b")]})
    cluster = Cluster("orders", ["a:80", "b:80"], scheduler="first", rng=random.Random(1))
    client = http.Client(transport=transport(cluster, inner=inner(script)), base_url="http://orders")
    assert [client.get("/").text for _ in range(4)] == ["from b", "from b", "", ""]
    assert script.log == ["a:80", "b:80", "a:80", "b:80", "a:80", "a:80"]


def test_a_scripted_timeout_is_not_sent_again_for_a_post():
    """It may have been acted on."""
    script = Script({"a:80": [no_answer()], "b:80": [200]})
    cluster = Cluster("orders", ["a:80", "b:80"], scheduler="first")
    transport = lbkit.httpx.BalancedTransport(cluster, inner=script.httpx())
    client = httpx.Client(transport=transport, base_url="http://orders")
    with pytest.raises(httpx.ReadTimeout):
        client.post("/")
    assert script.log == ["a:80"]
    assert client.get("/").status_code == 200


def test_a_script_that_makes_no_sense_says_so():
    """No steps, a step of another kind, an endpoint that it does not know."""
    with pytest.raises(ConfigError, match="at least one"):
        Script({"a:80": []})
    with pytest.raises(ConfigError, match="a step is a status, a Reply or a Fault, not '200'"):
        Script({"a:80": ["200"]})
    with pytest.raises(ConfigError, match=r'not RuntimeError\(\); an error is written by its name .*: Fault\("Conn'):
        Script({"a:80": [RuntimeError()]})
    with pytest.raises(ConfigError, match="no endpoint 'b:80'; it has a:80"):
        Script({"a:80": [200]}).next_step("b:80")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Timeout", "httpx has no exception 'Timeout' that a request may raise"),
        ("HTTPStatusError", "has no exception 'HTTPStatusError'"),
        ("ConnectEror", "did you mean 'ConnectError'"),
        (httpx.ReadError, "has no exception <class 'httpx.ReadError'>"),
    ],
)
def test_a_fault_that_the_library_does_not_have_is_refused_before_the_first_request(name, message):
    """With the name that was meant."""
    script = Script({"a:80": [200, Fault(name)]})
    with pytest.raises(ConfigError, match=message):
        script.httpx()
