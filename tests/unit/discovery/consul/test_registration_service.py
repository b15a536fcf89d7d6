"""What an agent is told of a service, and what is refused before it is told."""

import json
import math

import pytest

from lbkit import ConfigError
from lbkit.discovery import CheckStatus, HttpCheck, TcpCheck, TtlCheck
from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.service import Service, ServiceRequests


def register(**service):
    access = Access.of("test", agent="http://a:8500", token="", environment={})
    service = {"name": "web", "port": 80, "id": "w1", "check": TtlCheck(9.0)} | service
    return ServiceRequests(Service(**service), access).register(0, 1.0, CheckStatus.PASSING)


def test_a_registration_says_all_of_the_service():
    """In Consul's words; what is not given is not sent."""
    request = register(
        address="10.0.0.1", tags=("v2",), meta={"zone": "eu"}, weights=(7, 1), namespace="shop", critical_timeout=90
    )
    assert (request.method, request.params) == ("PUT", (("replace-existing-checks", "true"), ("ns", "shop")))
    assert json.loads(request.body) == {
        "ID": "w1", "Name": "web", "Port": 80, "Address": "10.0.0.1", "Tags": ["v2"], "Meta": {"zone": "eu"},
        "Weights": {"Passing": 7, "Warning": 1},
        "Check": {
            "CheckID": "service:w1", "Name": "lbkit: web", "TTL": "9000ms", "Status": "passing",
            "DeregisterCriticalServiceAfter": "90000ms",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("check", "sent"),
    [
        (
            HttpCheck("/health", headers={"X-Key": "k"}),
            {
                "HTTP": "http://[::1]:80/health", "Method": "GET", "Header": {"X-Key": ["k"]}, "TLSSkipVerify": False,
                "Interval": "10000ms", "Timeout": "5000ms",
            },
        ),
        (HttpCheck("https://other/x", verify=False), {"HTTP": "https://other/x", "TLSSkipVerify": True}),
        (TcpCheck(interval=0.5), {"TCP": "[::1]:80", "Interval": "500ms", "Timeout": "5000ms"}),
        (TcpCheck("other:81"), {"TCP": "other:81"}),
    ],
)  # fmt: skip
def test_consul_is_told_where_to_look(check, sent):
    """A path is at the service's own address."""
    found = json.loads(register(check=check, address="::1", critical_timeout=None).body)["Check"]
    assert found | sent == found
    assert "Status" not in found and "DeregisterCriticalServiceAfter" not in found


def test_headers_of_a_check_are_not_shown():
    """They may hold credentials."""
    assert "secret" not in repr(HttpCheck("/health", headers={"Authorization": "secret"}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name is a name"),
        ({"id": 5}, "id is a name"),
        ({"port": 0}, "registration: port must be from 1 to 65535"),
        ({"port": 70000, "address": "a"}, "registration: port must be from 1 to 65535"),
        ({"address": "http://a"}, "host is a name"),
        ({"tags": "v2"}, "tags is a tuple of texts"),
        ({"tags": 5}, "tags is a tuple of texts"),
        ({"meta": 5}, "meta is a dict of texts"),
        ({"meta": {"a b": "c"}}, "a key of meta"),
        ({"meta": {"a": 1}}, r"meta\['a'\] is a text"),
        ({"meta": {f"k{n}": "" for n in range(65)}}, "at most 64 pairs"),
        ({"weights": (0, 1)}, "weights are two whole numbers"),
        ({"weights": 3}, "weights are two whole numbers"),
        ({"check": "ttl"}, "check is a TtlCheck"),
        ({"critical_timeout": 5}, "critical_timeout must be from 60 to 100,000,000 seconds"),
        ({"critical_timeout": "600"}, "critical_timeout must be from 60 to 100,000,000 seconds"),
    ],
)
def test_what_consul_would_refuse_is_refused_at_construction(wrong, said):
    """With what to write instead."""
    with pytest.raises(ConfigError, match=said):
        register(**wrong)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TtlCheck(0.5), "TtlCheck: ttl must be from 1 to 86,400 seconds, not 0.5"),
        (lambda: TtlCheck(math.nan), "ttl must be from 1"),
        (lambda: TtlCheck("10s"), "ttl must be from 1"),
        (lambda: HttpCheck("health"), "url is a URL, or a path"),
        (lambda: HttpCheck(8080), "url is a URL, or a path"),
        (lambda: HttpCheck("/health", interval=0), "HttpCheck: interval must be from 0.1"),
        (lambda: TcpCheck("10.0.0.1"), "TcpCheck: target is host:port, not '10.0.0.1'"),
        (lambda: TcpCheck("http://a:80"), "TcpCheck: target is host:port"),
        (lambda: TcpCheck(8080), "TcpCheck: target is host:port, not 8080"),
        (lambda: TcpCheck(timeout=0), "TcpCheck: timeout must be from 0.1"),
        (lambda: CheckStatus.of("up"), "one of passing, warning, critical, not 'up'"),
    ],
)
def test_a_check_that_cannot_be_is_refused(make, said):
    """With its range."""
    with pytest.raises(ConfigError, match=said):
        make()
