"""How to reach Consul's agents: their addresses, the token and TLS; one value for watching and for registration.

What is not given comes from the environment, from the variables of Consul's own tools: CONSUL_HTTP_ADDR and
CONSUL_HTTP_SSL for the agent, CONSUL_HTTP_TOKEN_FILE and CONSUL_HTTP_TOKEN for the token. What is given always wins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.checks import read_texts
from lbkit.errors import ConfigError

DEFAULT_AGENT = "http://127.0.0.1:8500"
_HIDDEN = "***"
_NOT_IN_TOKENS = re.compile(r"[^\x21-\x7e]")


class Secret:
    """A text that does not show itself, in whatever its owner is printed, formatted or copied to."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not pickled: give it by token_file or CONSUL_HTTP_TOKEN, where it is needed")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the agents are and what they are shown.

    Attributes:
        agents: URLs, `http://host:port`, `https://host:port` or `unix:path`; the first is preferred.
        token: Sent in the X-Consul-Token header; None for none.
        token_file: File that holds the token; read again when it changes.
        verify: Whether the agents' certificates are verified.
        ca: File or directory of the authorities to trust; None for the system's.
        cert: Our own certificate: a file with certificate and key, or the two files.
        tls_server_name: Name that the agents' certificates must have; None for the host of the agent's URL.
    """

    agents: tuple[str, ...]
    token: Secret | None = None
    token_file: str | None = None
    verify: bool = True
    ca: str | None = None
    cert: str | tuple[str, str] | None = None
    tls_server_name: str | None = None

    @classmethod
    def of(
        cls,
        label: str,
        *,
        agent: str | Sequence[str] | None = None,
        token: str | Secret | None = None,
        token_file: str | os.PathLike[str] | None = None,
        verify: bool = True,
        ca: str | os.PathLike[str] | None = None,
        cert: Any = None,
        tls_server_name: str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Access:
        """Check what a user gave to `label`, and fill it up from the environment.

        Raises:
            ConfigError: An agent's address, the token or the TLS options are wrong. The text repeats no credentials.
        """
        if agent is None:
            agents = _default_agents(label, environment)
        else:
            agents = tuple(_url(f"{label}: agent", one) for one in _several(label, agent))
        if not agents:
            raise ConfigError(f'{label}: agent is empty: write agent="{DEFAULT_AGENT}", or leave it out')
        if token is not None and token_file is not None:
            raise ConfigError(f"{label}: give token or token_file, not both")
        if token is None and token_file is None:  # the file first, as in Consul's own client
            token_file = environment.get("CONSUL_HTTP_TOKEN_FILE") or None
            token = environment.get("CONSUL_HTTP_TOKEN") if token_file is None else None
        tls = ca is not None or cert is not None or tls_server_name is not None or not verify
        if tls and not any(one.startswith("https://") for one in agents):
            raise ConfigError(
                f"{label}: verify, ca, cert and tls_server_name are for https:// agents; {agents[0]} is none"
            )
        return cls(
            agents, _secret(label, token), None if token_file is None else os.fspath(token_file),
            verify, None if ca is None else os.fspath(ca), _files(label, cert), tls_server_name,
        )  # fmt: skip


def usable_token(text: str) -> bool:
    """Whether a header can carry this token."""
    return not _NOT_IN_TOKENS.search(text)


def _default_agents(label: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    address = environment.get("CONSUL_HTTP_ADDR", "")
    if not address:
        return (DEFAULT_AGENT,)
    if "://" not in address and environment.get("CONSUL_HTTP_SSL", "").lower() in ("1", "t", "true"):
        address = f"https://{address}"
    return (_url(f"{label}: CONSUL_HTTP_ADDR", address),)


def _several(label: str, agent: str | Sequence[str]) -> tuple[str, ...]:
    return (agent,) if isinstance(agent, str) else read_texts(f"{label}: agent", agent, f'agent=("{DEFAULT_AGENT}",)')


def _url(label: str, text: str) -> str:
    try:
        address = Endpoint.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
    if "," in address.host:
        raise ConfigError(f"{label}: {address.host!r} is no host; several agents are a tuple of texts")
    return address.id if address.path else f"{address.scheme or 'http'}://{address.id}"


def _secret(label: str, token: str | Secret | None) -> Secret | None:
    if isinstance(token, Secret):
        token = token.reveal()
    if token is None:
        return None
    if not isinstance(token, str):
        raise ConfigError(f"{label}: token is text, not {type(token).__name__}")
    token = token.strip()
    if not usable_token(token):
        raise ConfigError(f"{label}: the token holds characters that no header can carry")
    return Secret(token) if token else None


def _files(label: str, cert: Any) -> str | tuple[str, str] | None:
    if cert is None:
        return None
    if isinstance(cert, str | os.PathLike):
        return os.fspath(cert)
    if isinstance(cert, tuple) and len(cert) == 2:
        return os.fspath(cert[0]), os.fspath(cert[1])
    raise ConfigError(f"{label}: cert is a file with certificate and key, or a tuple of the two files")
