"""The part of a registration that goes on in the engine's thread: sends what the registrar says, when it says so."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import anyio

from lbkit.balancer.log import logger
from lbkit.discovery.base import Run
from lbkit.discovery.consul.check import CheckStatus
from lbkit.discovery.consul.registrar import Registrar, RegistrationReport, RegistrationState
from lbkit.discovery.consul.service import ServiceRequests
from lbkit.errors import DiscoveryError
from lbkit.runtime.clients import Client, RunClient, make_client

_FINE = (RegistrationState.REGISTERED, RegistrationState.DRAINING, RegistrationState.CLOSED)

Health = Callable[[], Any | Awaitable[Any]]


class RegistrationLoop:
    """Carries a registrar's requests out. All methods are for the engine's thread; `report` is for any."""

    def __init__(self, requests: ServiceRequests, health: Health | None) -> None:
        self._id = requests.service.id
        self._health_s = requests.service.check.beat_s
        self._registrar = Registrar(requests, Random())
        self._health = health
        self._health_client = RunClient()
        self._client: Client | None = None
        self._wake: anyio.Event | None = None
        self._request_scope: anyio.CancelScope | None = None
        self._told = self._registrar.report

    @property
    def report(self) -> RegistrationReport:
        """Where the registration stands."""
        return self._registrar.report

    def say(self, status: CheckStatus, output: str) -> None:
        """Hear from the application how it is."""
        self._registrar.say(status, output, time.monotonic())
        self._rouse()

    def maintain(self, reason: str | None) -> None:
        """Hear that maintenance is wanted, for a reason, or no longer."""
        self._registrar.maintain(reason, time.monotonic())
        self._rouse()

    def leave(self, drain_s: float) -> None:
        """Begin to leave. What is under way is cut off; `run` ends in time."""
        if self._registrar.leave(drain_s, time.monotonic()):
            if self._request_scope is not None:
                self._request_scope.cancel()
            self._rouse()

    async def run(self) -> None:
        """Go on until the service has left."""
        registrar = self._registrar
        try:
            while registrar.due < math.inf:
                delay_s = registrar.due - time.monotonic()
                if delay_s > 0:
                    self._wake = anyio.Event()
                    with anyio.move_on_after(delay_s):
                        await self._wake.wait()
                else:
                    with anyio.CancelScope() as self._request_scope:
                        await self._request()
                    self._request_scope = None
                self._publish()
        finally:
            registrar.give_up()
            self._publish()
            if self._client is not None:
                with anyio.CancelScope(shield=True):
                    await self._client.aclose()

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _request(self) -> None:
        registrar = self._registrar
        if self._health is not None and registrar.asks_health:
            registrar.feel(*await self._feel(self._health))
        query = registrar.query(time.monotonic())
        try:
            if self._client is None:
                self._client = make_client(query)
            reply = await self._client.ask(query)
        except DiscoveryError as error:
            registrar.failed(str(error), time.monotonic())
        except Exception as error:  # noqa: BLE001 - it is logged
            logger.debug("registration of %s: a request failed", self._id, exc_info=error)
            registrar.failed(type(error).__name__, time.monotonic())
        else:
            registrar.answer(reply, time.monotonic())

    async def _feel(self, health: Health) -> tuple[CheckStatus, str]:
        try:
            found = await self._health_client.ask(Run(health, self._health_s))
            status, output = found if isinstance(found, tuple) else (found, "")
            return CheckStatus.of(status), str(output)
        except Exception as error:  # noqa: BLE001 - an application that cannot say how it is, is not well
            return CheckStatus.CRITICAL, f"health: {error}"

    def _publish(self) -> None:
        report = self._registrar.report
        if report == self._told:
            return
        self._told = report
        level = logging.INFO if report.state in _FINE and not report.problem else logging.WARNING
        problem = f": {report.problem}" if report.problem else ""
        more = {"lbkit_service": self._id, "lbkit_state": report.state.value, "lbkit_problem": report.problem}
        logger.log(level, "registration of %s is %s%s", self._id, report.state.value, problem, extra=more)
