"""Who carries out the queries of the discovery machines: one client for each kind of query.

A client is made for one source, by the first query of its kind, and lives until the source is no longer followed. The
modules are imported when they are needed, for some of them need packages that others do without.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import anyio
import anyio.to_thread

from lbkit.discovery.base import Run
from lbkit.discovery.consul_reply import AgentRequest
from lbkit.discovery.dns_records import DnsQuery
from lbkit.errors import DiscoveryError


class Client(Protocol):
    """Does the input and output for one source, on the engine's event loop."""

    async def ask(self, query: Any) -> Any:
        """Carry out a query and return the reply.

        Raises:
            DiscoveryError: It failed; the text says how, and repeats no credentials.
        """

    async def aclose(self) -> None:
        """Let go of what is open."""


class RunClient:
    """Runs functions."""

    async def ask(self, query: Run) -> Any:
        """Run the query's function: on the loop if it is async, otherwise in a worker thread."""
        try:
            with anyio.fail_after(query.timeout):
                if inspect.iscoroutinefunction(query.function):
                    return await query.function()
                result = await anyio.to_thread.run_sync(query.function, abandon_on_cancel=True)
                return await result if inspect.isawaitable(result) else result
        except TimeoutError as error:
            if query.timeout is None:
                raise
            raise DiscoveryError(f"no answer in {query.timeout:g} s") from error

    async def aclose(self) -> None:
        """Nothing is open."""


def make_client(query: Any) -> Client:
    """Return the client for queries of this kind.

    Raises:
        DiscoveryError: There is none, or it needs a package that is not installed.
    """
    if isinstance(query, Run):
        return RunClient()
    if isinstance(query, DnsQuery):
        try:
            from lbkit.runtime.dns_client import DnsClient  # noqa: PLC0415 - needs a package that others do without
        except ImportError:
            raise DiscoveryError("DNS needs the package dnspython: pip install 'lbkit-client[dns]'") from None
        return DnsClient()
    if isinstance(query, AgentRequest):
        from lbkit.runtime.consul_client import AgentClient  # noqa: PLC0415 - httpx takes long to import

        return AgentClient()
    raise DiscoveryError(f"a watch asked for {type(query).__name__}, which nobody carries out: return Run(function)")
