"""Where the membership comes from."""

from __future__ import annotations

from lbkit.discovery.callback import Callback
from lbkit.discovery.combine import Fallback, Merged
from lbkit.discovery.consul import Consul
from lbkit.discovery.consul_query import ConsulQuery
from lbkit.discovery.dns import Dns
from lbkit.discovery.file import File
from lbkit.discovery.srv import DnsSrv
from lbkit.discovery.static import Static
from lbkit.discovery.subset import Subset
from lbkit.discovery.target import as_discovery, parse_target

__all__ = [
    "Callback",
    "Consul",
    "ConsulQuery",
    "Dns",
    "DnsSrv",
    "Fallback",
    "File",
    "Merged",
    "Static",
    "Subset",
    "as_discovery",
    "parse_target",
]
