"""Where the membership comes from."""

from __future__ import annotations

import importlib
from typing import Any

from lbkit.discovery.callback import Callback
from lbkit.discovery.combine import Fallback, Merged
from lbkit.discovery.consul import Consul
from lbkit.discovery.consul_check import CheckStatus, HttpCheck, TcpCheck, TtlCheck
from lbkit.discovery.consul_query import ConsulQuery
from lbkit.discovery.consul_registrar import RegistrationState
from lbkit.discovery.dns import Dns
from lbkit.discovery.file import File
from lbkit.discovery.srv import DnsSrv
from lbkit.discovery.static import Static
from lbkit.discovery.subset import Subset
from lbkit.discovery.target import as_discovery, parse_target

__all__ = [
    "Callback",
    "CheckStatus",
    "Consul",
    "ConsulQuery",
    "Dns",
    "DnsSrv",
    "Fallback",
    "File",
    "HttpCheck",
    "Merged",
    "RegistrationState",
    "Static",
    "Subset",
    "TcpCheck",
    "TtlCheck",
    "as_discovery",
    "parse_target",
    "registration",
]


def __getattr__(name: str) -> Any:
    if name != "registration":
        raise AttributeError(f"module 'lbkit.discovery' has no attribute {name!r}")
    # What it does is done on a floor above, so it is looked for when it is used.
    value = globals()[name] = importlib.import_module("lbkit.runtime.registration").registration
    return value
