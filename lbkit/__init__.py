"""Client-side load balancing for Python.

    from lbkit import Cluster, Static
    from lbkit.httpx import BalancedTransport

    orders = Cluster("orders", Static("10.0.0.1:8080", "10.0.0.2:8080"))
    client = httpx.Client(transport=BalancedTransport(orders), base_url="http://orders")

Public names are imported when they are first used, so that `import lbkit` loads no third-party package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbkit.balancer.empty import FailClosed, FailOpen, Wait
    from lbkit.breaker import CircuitBreaker
    from lbkit.core.endpoint import Endpoint, Snapshot
    from lbkit.core.outcome import Outcome, Result
    from lbkit.discovery import Callback, Consul, Dns, DnsSrv, Fallback, File, Merged, Static, Subset
    from lbkit.errors import (
        CircuitOpen,
        ClusterClosed,
        ConfigError,
        DeadlineExceeded,
        DiscoveryError,
        LbkitError,
        LeaseMisuse,
        NoEndpointAvailable,
        NotReady,
    )
    from lbkit.health import OutlierDetection
    from lbkit.retry import RetryBudget, RetryPolicy
    from lbkit.runtime.cluster import Cluster
    from lbkit.runtime.guard import Guard

_HOMES = {
    "Callback": "lbkit.discovery",
    "CircuitBreaker": "lbkit.breaker",
    "CircuitOpen": "lbkit.errors",
    "Cluster": "lbkit.runtime.cluster",
    "ClusterClosed": "lbkit.errors",
    "ConfigError": "lbkit.errors",
    "Consul": "lbkit.discovery",
    "DeadlineExceeded": "lbkit.errors",
    "DiscoveryError": "lbkit.errors",
    "Dns": "lbkit.discovery",
    "DnsSrv": "lbkit.discovery",
    "Endpoint": "lbkit.core.endpoint",
    "FailClosed": "lbkit.balancer.empty",
    "FailOpen": "lbkit.balancer.empty",
    "Fallback": "lbkit.discovery",
    "File": "lbkit.discovery",
    "Guard": "lbkit.runtime.guard",
    "LbkitError": "lbkit.errors",
    "LeaseMisuse": "lbkit.errors",
    "Merged": "lbkit.discovery",
    "NoEndpointAvailable": "lbkit.errors",
    "NotReady": "lbkit.errors",
    "Outcome": "lbkit.core.outcome",
    "OutlierDetection": "lbkit.health",
    "Result": "lbkit.core.outcome",
    "RetryBudget": "lbkit.retry",
    "RetryPolicy": "lbkit.retry",
    "Snapshot": "lbkit.core.endpoint",
    "Static": "lbkit.discovery",
    "Subset": "lbkit.discovery",
    "Wait": "lbkit.balancer.empty",
}

__all__ = [
    "Callback",
    "CircuitBreaker",
    "CircuitOpen",
    "Cluster",
    "ClusterClosed",
    "ConfigError",
    "Consul",
    "DeadlineExceeded",
    "DiscoveryError",
    "Dns",
    "DnsSrv",
    "Endpoint",
    "FailClosed",
    "FailOpen",
    "Fallback",
    "File",
    "Guard",
    "LbkitError",
    "LeaseMisuse",
    "Merged",
    "NoEndpointAvailable",
    "NotReady",
    "Outcome",
    "OutlierDetection",
    "Result",
    "RetryBudget",
    "RetryPolicy",
    "Snapshot",
    "Static",
    "Subset",
    "Wait",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        hint = "; it is in lbkit.httpx and lbkit.httpx2" if name.endswith("Transport") else ""
        raise AttributeError(f"module 'lbkit' has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
