"""What the configs for Consul have in common: their checks, and their name in the manner of a target string."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

from lbkit.discovery.allow import Allow
from lbkit.discovery.checks import check_limit
from lbkit.discovery.consul.access import DEFAULT_AGENT, Access, Secret
from lbkit.errors import ConfigError

_TEXTS = (
    "filter", "datacenter", "namespace", "partition", "near", "tagged_address", "zone_key", "server_name",
    "tls_server_name",
)  # fmt: skip


_SURROGATE = re.compile("[\ud800-\udfff]")


def check_name(label: str, name: str) -> None:
    """Refuse a name that is none.

    Raises:
        ConfigError: It is no text, empty, or a step in a path.
    """
    # "." and ".." would be steps in the path of a URL.
    if not isinstance(name, str) or name.strip() in ("", ".", "..") or _SURROGATE.search(name):
        raise ConfigError(f'{label} is a name such as "orders", not {name!r}')


def check_freshness(label: str, max_stale: float, max_age: float | None, *, cached: bool) -> None:
    """Refuse ages that are none.

    Raises:
        ConfigError: One is out of range, or goes with no other option.
    """
    check_limit(f"{label}: max_stale", max_stale)
    if max_age is not None:
        check_limit(f"{label}: max_age", max_age)
        if not cached:
            raise ConfigError(f"{label}: max_age goes with cached=True")


def settle(label: str, config: Any) -> None:
    """Find out how a config's agents are reached, hide its token, and make its values hashable.

    Raises:
        ConfigError: What is said of the agents, the token, TLS, `empty_grace` or `allow` is wrong, or what should be
            text is not.
    """
    for name in _TEXTS:
        value = getattr(config, name, None)
        if not isinstance(value, str) and (value is not None or name == "zone_key"):
            raise ConfigError(f"{label}: {name} is text, not {type(value).__name__}")
    names = ("agent", "token", "token_file", "verify", "ca", "cert", "tls_server_name")
    access = Access.of(label, **{name: getattr(config, name) for name in names})
    check_limit(f"{label}: empty_grace", config.empty_grace)
    changes: dict[str, Any] = {"access": access, "allow": Allow.of(config.allow).texts}
    if isinstance(config.token, str):
        changes["token"] = Secret(config.token.strip())
    if config.agent is not None:
        changes["agent"] = access.agents
    for name, value in changes.items():
        object.__setattr__(config, name, value)


def target(scheme: str, name: str, access: Access, choices: list[tuple[str, str]]) -> str:
    """Return a source's name in the manner of a target string, without credentials."""
    where, params = "", choices
    if access.agents != (DEFAULT_AGENT,):
        if all(agent.startswith("http://") for agent in access.agents):
            where = ",".join(agent.removeprefix("http://") for agent in access.agents) + "/"
        else:
            params = [*(("agent", agent) for agent in access.agents), *choices]
    query = f"?{urlencode(params, safe=':/', quote_via=quote)}" if params else ""
    return f"{scheme}://{where}{quote(name, safe='')}{query}"
