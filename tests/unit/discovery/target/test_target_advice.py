"""What is advised for a target that is written as people write one at first: it is right, and is not refused itself."""

import re

import pytest

from lbkit.discovery import Fallback, as_discovery, parse_target
from lbkit.errors import ConfigError


def said_of(value):
    with pytest.raises(ConfigError) as caught:
        as_discovery(value)
    return str(caught.value).split("\n")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[::1]", "endpoint '[::1]' has no port: write [::1]:8080"),
        ("10.0.0.1", "endpoint '10.0.0.1' has no port: write 10.0.0.1:8080"),
        ("orders", "endpoint 'orders' has no port: write orders:8080, or dns://orders:8080 to look the name up"),
        ("dns://10.0.0.1:8080", "an address needs no DNS: write 10.0.0.1:8080"),
        ("dns://10.0.0.1", "an address needs no DNS: write 10.0.0.1:8080"),
        ("dns://10.0.0.1:http", "an address needs no DNS: write 10.0.0.1:8080"),
        ("dns://10.0.0.53/10.0.0.1:81", "an address needs no DNS: write 10.0.0.1:81"),
        ("dns://[::1]:81", "an address needs no DNS: write [::1]:81"),
        ("dns://::1:81", "an address needs no DNS: write [::1]:81"),
        ("dns://[::1]", "an address needs no DNS: write [::1]:8080"),
        ("dns://o.internal:81/", "stands the nameserver that is asked: without one write dns://o.internal:81, and"),
        ("dns://o.internal:81/path", "without one write dns://o.internal:81, and nothing behind it"),
        ("dns://o.internal/", "without one write dns://o.internal:8080, and nothing behind it"),
        ("dns+srv://_http._tcp.o/", "without one write dns+srv://_http._tcp.o, and nothing behind it"),
        ("consul://orders/", "stands the agent that is asked: without one write consul://orders, and nothing"),
        ("consul://orders:8500", "no service: write consul://orders, or consul://orders:8500/SERVICE"),
        ("consul://orders:8500/", "no service: write consul://orders, or consul://orders:8500/SERVICE"),
        ("consul:orders:8500", "no service: write consul://orders, or consul://orders:8500/SERVICE"),
        ("consul://[::1]:8500", "no service: write consul://[::1]:8500/SERVICE"),
        ("consul+https://orders:8501", "no service: write consul+https://orders:8501/SERVICE"),
        ("consul+https://orders/", "no service: write consul+https://orders/SERVICE"),
        ("consul://10.0.0.1:8500/orders/", "a service has no '/' in its name: write orders alone, or %2F"),
        ("consul://a/v1/health/service/payments", "a service has no '/' in its name: write payments alone"),
        ("10.0.0.1:8080?weight=2", 'write Endpoint.parse("10.0.0.1:8080", weight=2), or list the endpoints in a file'),
        ("10.0.0.1:8080?max_ttl=5", 'an endpoint has no options behind a "?"'),
        ("./orders.json", "for a file write file:./orders.json"),
        ("/tmp/orders.toml?every=5", "for a file write file:/tmp/orders.toml?every=5"),
        ("/etc/orders", "for a file write file:/etc/orders?format=json"),
        ("../orders?every=5", "for a file write file:../orders?every=5&format=json"),
        ("orders.json", "for a file write file:orders.json"),
        ("/run/orders.sock", "for a unix socket write unix:/run/orders.sock"),
        ('"10.0.0.1:8080"', "a target stands without quotes"),
        ("'dns://orders:80'", "a target stands without quotes"),
        ("$ORDERS", "write env:ORDERS"),
        ("${ORDERS_TARGET}", "write env:ORDERS_TARGET"),
    ],
)
def test_the_advice_is_a_target_itself(monkeypatch, text, message):
    """It names what was meant, and every target in it can be read."""
    monkeypatch.setenv("ORDERS", "a:80")
    monkeypatch.setenv("ORDERS_TARGET", "a:80")
    said = said_of(text)
    assert message in said
    advice = re.search(r"write (.*)", said)
    for target in re.findall(r"[a-z+]+:\S*[^\s,]|[\d.\[][\w.:\[\]]+:\d+", advice[1]) if advice else ():
        assert parse_target(target)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["10.0.0.1:8080", "dns://a:80"], "item 1 of the list: an endpoint's URL starts with http:// or https://"),
        (["consul://me:hunter2@p", "a:80"], "item 0 of the list: an endpoint's URL starts with http://"),
        (["dns://a:80"], "stands alone, or in Merged(one, other) or Fallback(one, other)"),
        (["a:80,b:80"], "an endpoint is one address: write each of several as a text of its own"),
        (["a:80", "b:80,c:80"], "item 1 of the list: an endpoint is one address"),
    ],
)
def test_an_item_of_a_list_is_named(items, message):
    """By its place, and no credentials are repeated; a list within a combination is no different."""
    for said in (said_of(items), said_of_fallback(items)):
        assert message in said
        assert "hunter2" not in said


def said_of_fallback(items):
    with pytest.raises(ConfigError) as caught:
        Fallback(items, "a:80")
    return str(caught.value)


@pytest.mark.parametrize("text", ["/tmp/me:hunter2@o.json", "a:80?password=hunter2", '"http://me:hunter2@o"'])
def test_advice_never_repeats_what_may_be_credentials(text):
    """It says PATH instead, or nothing of it."""
    assert "hunter2" not in said_of(text)


def test_a_service_may_have_a_slash_in_its_name():
    """Encoded, and shown so."""
    made = parse_target("consul://10.0.0.5/team%2Forders")
    assert made.service == "team/orders"
    assert parse_target(str(made)) == made
