"""Where the membership comes from."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lbkit.discovery.base import Combination, Discovery, Found, Part, Run, Source, Upkeep, Watch
from lbkit.discovery.callback import Callback
from lbkit.discovery.combine import Fallback, Merged
from lbkit.discovery.consul.check import CheckStatus, HttpCheck, TcpCheck, TtlCheck
from lbkit.discovery.consul.consul import Consul
from lbkit.discovery.consul.query import ConsulQuery
from lbkit.discovery.consul.registrar import RegistrationState
from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.file.file import File
from lbkit.discovery.keeper import SourceState
from lbkit.discovery.static import Static
from lbkit.discovery.subset import Subset
from lbkit.discovery.target.target import as_discovery, parse_target

if TYPE_CHECKING:
    # What it does is done on a floor above, so it is looked for when it is used.
    from lbkit.runtime.registration import Registration, registration

__all__ = [
    "Callback",
    "CheckStatus",
    "Combination",
    "Consul",
    "ConsulQuery",
    "Discovery",
    "Dns",
    "DnsSrv",
    "Fallback",
    "File",
    "Found",
    "HttpCheck",
    "Merged",
    "Part",
    "Registration",
    "RegistrationState",
    "Run",
    "Source",
    "SourceState",
    "Static",
    "Subset",
    "TcpCheck",
    "TtlCheck",
    "Upkeep",
    "Watch",
    "as_discovery",
    "parse_target",
    "registration",
]


if not TYPE_CHECKING:  # so that type checkers know the names there are

    def __getattr__(name: str) -> Any:
        if name not in ("Registration", "registration"):
            raise AttributeError(f"module 'lbkit.discovery' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module("lbkit.runtime.registration"), name)
        return value
