"""What the demo is run with: the command line's wishes, and settings of lbkit that suit a service of 15 ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lbkit.breaker import CircuitBreaker
from lbkit.discovery import Static
from lbkit.retry import RetryPolicy
from lbkit.runtime.cluster import Cluster

SERVICE_S = 0.015
"""A well replica's mean time to an answer; a slow one's is then 0.3 s, which an attempt may just take."""
PATIENCE_S = 2.0
"""How long either application waits for a request: lbkit's deadline, and both clients' timeout."""
RETRY = RetryPolicy(attempts=4, per_try_timeout=0.5, deadline=PATIENCE_S)
DEFAULT_SCHEDULER = "shortest_expected_delay"
CLUSTER_NAME = "shop"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        seconds: Of traffic.
        rate: Requests per second to each client.
        json: Whether a machine is to read the result.
    """

    seconds: float = 20.0
    replicas: int = 4
    rate: float = 100.0
    scheduler: str = DEFAULT_SCHEDULER
    json: bool = False

    def breaker(self) -> CircuitBreaker:
        """Return a breaker that finds a replica that is back within a twentieth of the demo."""
        open_max_s = max(0.25, round(self.seconds / 20, 2))
        return CircuitBreaker(failures=3, open_s=open_max_s / 2, open_max_s=open_max_s)

    def cluster(self, addresses: Sequence[str]) -> Cluster:
        """Make the cluster that `code` shows."""
        return Cluster(CLUSTER_NAME, Static(*addresses), scheduler=self.scheduler, retry=RETRY, breaker=self.breaker())

    def code(self, addresses: Sequence[str]) -> list[str]:
        """Write what the application with lbkit does, as code for 80 columns."""
        shown = ", ".join(f'"{address}"' for address in addresses[:2])
        more = ", ..." if len(addresses) > 2 else ""
        breaker = self.breaker()
        lines = [f'cluster = Cluster("{CLUSTER_NAME}", Static({shown}{more}),']
        if self.scheduler != DEFAULT_SCHEDULER:
            lines.append(f'    scheduler="{self.scheduler}",')
        timing = f"per_try_timeout={RETRY.per_try_timeout}, deadline={RETRY.deadline}"
        opening = f"open_s={breaker.open_s:g}, open_max_s={breaker.open_max_s:g}"
        lines += [
            f"    retry=RetryPolicy(attempts={RETRY.attempts}, {timing}),",
            f"    breaker=CircuitBreaker(failures={breaker.failures}, {opening}))",
            f'client = httpx.AsyncClient(base_url="http://{CLUSTER_NAME}", timeout={PATIENCE_S},',
            "    transport=AsyncBalancedTransport(cluster))",
        ]
        return lines
