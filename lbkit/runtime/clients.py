"""Who carries out the queries of the discovery machines: one client for each kind of query.

A client is made for one source, by the first query of its kind, and lives until the source is no longer followed. The
modules are imported when they are needed, for some of them need packages that others do without.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import anyio

from lbkit.discovery.base import Combination, Discovery, Run
from lbkit.discovery.callback import CallFunction
from lbkit.discovery.consul.reply import AgentRequest
from lbkit.discovery.dns.dns import Dns
from lbkit.discovery.dns.records import DnsQuery
from lbkit.discovery.dns.srv import DnsSrv
from lbkit.discovery.file.file import ReadFile
from lbkit.errors import ConfigError, DiscoveryError
from lbkit.runtime.engine import ENGINE
from lbkit.runtime.worker import Worker

_NO_DNS = "DNS needs the package dnspython: pip install 'lbkit-client[dns]'"


class Client(Protocol):
    """Does the input and output for one source, on the engine's event loop."""

    async def ask(self, query: Any) -> Any:
        """Carry out a query and return the reply.

        Raises:
            DiscoveryError: It failed; the text says how, and repeats no credentials.
        """

    async def aclose(self) -> None:
        """Let go of what is open."""


MISHAPS = (Exception, SystemExit, asyncio.CancelledError)
"""What a user's function may raise without ending more than the query."""


def raise_on(error: BaseException) -> NoReturn:
    """Raise what is to be said of an exception that a user's function raised; our own cancellation goes on as it is.

    Raises:
        DiscoveryError: With the type's name. Its text may hold secrets; the exception is the cause.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    raise DiscoveryError(f"the function raised {type(error).__name__}") from error


class RunClient:
    """Runs functions."""

    def __init__(self) -> None:
        self._worker = Worker()

    async def ask(self, query: Run) -> Any:
        """Run the query's function: on the loop if it is async, otherwise in a worker thread.

        An iterator that it returns is read to its end there, for a generator may block too.

        Raises:
            DiscoveryError: It took too long, or raised. The text of what it raised is not repeated, for it may hold
                secrets; the exception is the cause. A DiscoveryError of its own passes.
        """
        try:
            with anyio.fail_after(query.timeout) as scope:
                if inspect.iscoroutinefunction(query.function):
                    return await query.function()
                result = await self._worker.run(lambda: _run(query.function))
                return await result if inspect.isawaitable(result) else result
        except DiscoveryError:
            raise
        except MISHAPS as error:
            if scope.cancelled_caught:
                raise DiscoveryError(f"no answer in {query.timeout:g} s") from error
            raise_on(error)

    async def aclose(self) -> None:
        """Nothing is open."""


def _run(function: Callable[[], Any]) -> Any:
    result = function()
    return tuple(result) if isinstance(result, Iterator) else result


def check_packages(discovery: Discovery) -> None:
    """Refuse a source whose package is not installed, before anybody waits for it.

    Raises:
        ConfigError: The package is missing; the text says how it is installed.
    """
    if isinstance(discovery, Combination):
        for one in discovery.sources:
            check_packages(one)
    elif isinstance(discovery, Dns | DnsSrv) and importlib.util.find_spec("dns") is None:
        raise ConfigError(f"{discovery}: {_NO_DNS}")


def make_client(query: Any) -> Client:
    """Return the client for queries of this kind. Nobody forks meanwhile: see `engine` for why.

    Raises:
        DiscoveryError: There is none, or it needs a package that is not installed.
    """
    with ENGINE.hold_off_forks():
        return _import_client(query)


def _import_client(query: Any) -> Client:
    if isinstance(query, Run):
        return RunClient()
    if isinstance(query, DnsQuery):
        try:
            from lbkit.runtime.dns_client import DnsClient  # noqa: PLC0415 - needs a package that others do without
        except ImportError:
            raise DiscoveryError(_NO_DNS) from None
        return DnsClient()
    if isinstance(query, AgentRequest):
        from lbkit.runtime.consul_client import AgentClient  # noqa: PLC0415 - httpx takes long to import

        return AgentClient()
    if isinstance(query, ReadFile):
        from lbkit.runtime.file_client import FileClient  # noqa: PLC0415 - as all of these

        return FileClient()
    if isinstance(query, CallFunction):
        from lbkit.runtime.callback_client import CallbackClient  # noqa: PLC0415 - it builds upon RunClient here

        return CallbackClient()
    raise DiscoveryError(f"a watch asked for {type(query).__name__}, which nobody carries out: return Run(function)")
