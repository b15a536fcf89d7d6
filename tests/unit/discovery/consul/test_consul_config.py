"""The configs for Consul: what is refused, where defaults come from, and that a token shows nowhere."""

import copy
import dataclasses
import pickle
import traceback
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lbkit.discovery.consul.access import Access, Secret
from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.query import ConsulQuery
from lbkit.discovery.target.target import parse_target
from lbkit.errors import ConfigError

TOKEN = "7a0b6b2e-tell-nobody"
ENVIRONMENT = ("CONSUL_HTTP_ADDR", "CONSUL_HTTP_SSL", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def agents(**environment: str) -> tuple[str, ...]:
    return Access.of("Consul", environment=environment).agents


def test_without_anything_the_local_agent_is_asked() -> None:
    """That is where Consul's agents are."""
    assert agents() == ("http://127.0.0.1:8500",)


@pytest.mark.parametrize(
    ("environment", "agent"),
    [
        ({"CONSUL_HTTP_ADDR": "10.0.0.1:8500"}, "http://10.0.0.1:8500"),
        ({"CONSUL_HTTP_ADDR": "10.0.0.1:8501", "CONSUL_HTTP_SSL": "true"}, "https://10.0.0.1:8501"),
        ({"CONSUL_HTTP_ADDR": "http://[::1]:8500", "CONSUL_HTTP_SSL": "true"}, "http://[::1]:8500"),
        ({"CONSUL_HTTP_ADDR": "https://consul.internal"}, "https://consul.internal:443"),
        ({"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"}, "unix:/run/consul.sock"),
    ],
)
def test_the_address_may_come_from_the_environment(environment: dict[str, str], agent: str) -> None:
    """It is read as Consul's own tools read it; without TLS where they use it the token would be sent in clear."""
    assert agents(**environment) == (agent,)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agent and token, also an empty token and a token file."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://other:1")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "other")
    assert Consul("web", agent="a:8500", token=TOKEN).access == Access(("http://a:8500",), Secret(TOKEN))
    assert Consul("web", token="").access.token is None
    assert Consul("web", token_file="/t").access == Access(("http://other:1",), None, "/t")
    assert Consul("web").access.token == Secret("other")


def test_the_environments_token_file_wins_over_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Consul's own client; and a token that is given wins over both."""
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "other")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN_FILE", "/run/token")
    access = Consul("web").access
    assert (access.token, access.token_file) == (None, "/run/token")
    assert Consul("web", token=TOKEN).access.token_file is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"service": ""}, "service is a name"),
        ({"service": 5}, "service is a name"),
        ({"agent": []}, "agent is empty"),
        ({"agent": "http://user:pass@a:8500"}, "no credentials"),
        ({"agent": "http://a:8500/v1"}, "no path"),
        ({"agent": "ftp://a:8500"}, "http"),
        ({"agent": "a"}, "no port"),
        ({"agent": 5}, "agent is a tuple of texts"),
        ({"tags": "v2"}, "tags is a tuple of texts"),
        ({"tags": 5}, "tags is a tuple of texts"),
        ({"tags": [5]}, "tags is a tuple of texts"),
        ({"filter": 5}, "filter is text, not int"),
        ({"near": 5}, "near is text, not int"),
        ({"zone_key": None}, "zone_key is text, not NoneType"),
        ({"wait": "60"}, "wait must be from 1 to 600 seconds, not '60'"),
        ({"wait": 0.5}, "from 1 to 600"),
        ({"wait": 601}, "from 1 to 600"),
        ({"wait": float("nan")}, "from 1 to 600"),
        ({"max_stale": -1}, "max_stale"),
        ({"max_stale": "1"}, "max_stale must be at least 0 seconds, or inf, not '1'"),
        ({"max_age": 5.0}, "cached=True"),
        ({"cached": True, "max_age": -5.0}, "at least 0"),
        ({"empty_grace": -1.0}, "empty_grace"),
        ({"cached": True, "max_age": "5"}, "max_age must be at least 0"),
        ({"allow": "10.0.0.0/8"}, "allow"),
        ({"allow": 5}, "allow is a tuple of texts"),
        ({"token": "a", "token_file": "b"}, "not both"),
        ({"token": "a\nb"}, "no header can carry"),
        ({"token": "täken"}, "no header can carry"),
        ({"token": 5}, "token is text"),
        ({"ca": "ca.pem"}, "for https:// agents"),
        ({"agent": "http://a:1", "verify": False}, "for https:// agents"),
        ({"agent": "https://a:1", "cert": ("a", "b", "c")}, "cert is a file"),
    ],
)
def test_a_wrong_option_is_refused_at_construction(options: dict[str, Any], says: str) -> None:
    """With the name of the config and what to write; and without the credentials."""
    with pytest.raises(ConfigError, match=says) as caught:
        Consul(**{"service": "web", **options})
    text = str(caught.value)
    assert text.startswith(("Consul", "allow"))
    assert "pass" not in text and "a\nb" not in text and "täken" not in text


def test_a_wrong_address_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody looks for it in the code."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://user:pass@a:8500")
    with pytest.raises(ConfigError, match="CONSUL_HTTP_ADDR") as caught:
        Consul("web")
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0.5}, {"every": float("inf")}, {"every": "10"}, {"query": " "}, {"max_stale": -1}, {"datacenter": 1},
    ],
)  # fmt: skip
def test_a_wrong_prepared_query_is_refused(options: dict[str, Any]) -> None:
    """Like a wrong service."""
    with pytest.raises(ConfigError, match="ConsulQuery"):
        ConsulQuery(**{"query": "nearest", **options})


def _shown(config: Any) -> str:
    """Everything by which a config, its machine and its request may show themselves."""
    machine = config.watch(Random(1))
    request = machine.query(0.0)
    values = (config, request, config.access, config.upkeep, copy.deepcopy(config), dataclasses.replace(config))
    texts = [f"{one!r} {one!s} {one:}" for one in values]
    texts += [repr(dataclasses.asdict(config)), repr(dataclasses.astuple(config))]
    try:
        raise RuntimeError(config, request)
    except RuntimeError:
        texts.append(traceback.format_exc())
    return "\n".join(texts)


@pytest.mark.parametrize("kind", [Consul, ConsulQuery])
def test_a_token_shows_nowhere(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in text nor in copies as dicts, whether given or from the environment."""
    assert TOKEN not in _shown(kind("web", token=f" {TOKEN}\n"))
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", TOKEN)
    config = kind("web")
    assert TOKEN not in _shown(config)
    assert config.access.token is not None and config.access.token.reveal() == TOKEN


def test_a_token_is_not_pickled() -> None:
    """A pickle is often a file or a message; the error says what to do instead."""
    with pytest.raises(TypeError, match="token_file or CONSUL_HTTP_TOKEN") as caught:
        pickle.dumps(Consul("web", token=TOKEN))
    assert TOKEN not in str(caught.value)
    config = Consul("web", tags=["v2"])
    assert pickle.loads(pickle.dumps(config)) == config


def test_an_allow_list_may_be_any_iterable() -> None:
    """One that can be read only once must not end up as a list that allows everything."""
    config = Consul("web", allow=(one for one in ["10.0.0.0/8"]))  # type: ignore[arg-type]
    assert config.allow == ("10.0.0.0/8",)


def test_configs_are_values() -> None:
    """Equal and hashable whatever kind of sequence was given; another token is another config."""
    one, other = (Consul("web", agent=kind(["a:1", "b:1"]), tags=kind(["v2"]), token=TOKEN) for kind in (list, tuple))
    assert one == other and hash(one) == hash(other)
    assert one != dataclasses.replace(one, token="x")
    assert dataclasses.replace(one, tags=()).access == one.access


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Consul("orders"), "consul://orders"),
        (lambda: Consul("orders", tags=["v2", "a b"]), "consul://orders?tag=v2&tag=a%20b"),
        (lambda: Consul("orders", agent=["a:1", "http://[::1]:2"]), "consul://a:1,[::1]:2/orders"),
        (lambda: Consul("orders", agent="https://a:1", datacenter="dc2"), "consul://orders?agent=https://a:1&dc=dc2"),
        (
            lambda: Consul("orders", agent="unix:/run/c.sock", warning=True),
            "consul://orders?agent=unix:/run/c.sock&warning=true",
        ),
        (lambda: ConsulQuery("nearest", near="_agent"), "consul+query://nearest?near=_agent"),
    ],
)
def test_a_config_names_itself_like_a_target(make: Any, name: str) -> None:
    """In statistics and messages; and what it is called leads to the same config."""
    assert str(make()) == name
    assert parse_target(name) == make()


def test_tls_options_belong_to_https_agents(tmp_path: Path) -> None:
    """They are kept as texts, so that a config is hashable."""
    access = Consul("web", agent=["https://a:1", "unix:/x"], ca=tmp_path, cert=(tmp_path, "key"), verify=False).access
    assert (access.ca, access.cert, access.verify) == (str(tmp_path), (str(tmp_path), "key"), False)


def test_only_a_prepared_query_is_hurried() -> None:
    """A watched service tells changes by itself."""
    assert Consul("web").upkeep.hurry_s == float("inf")
    assert ConsulQuery("web", every=60).upkeep.hurry_s == 5.0
    assert ConsulQuery("web", every=2).upkeep.hurry_s == 2.0
