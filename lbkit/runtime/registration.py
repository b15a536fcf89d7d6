"""Registers this process's service with Consul while a `with` block runs, in the engine's background thread."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from lbkit.discovery.consul.access import Access
from lbkit.discovery.consul.check import Check, CheckStatus, TtlCheck
from lbkit.discovery.consul.registrar import RegistrationReport, RegistrationState
from lbkit.discovery.consul.service import Service, ServiceRequests
from lbkit.errors import ConfigError, DiscoveryError
from lbkit.runtime.engine import ENGINE, Job
from lbkit.runtime.registration_loop import Health, RegistrationLoop

LEAVE_S = 5.0
"""Longest time to leave in, besides `drain_s`, in seconds; then the agent is left as it is."""
POLL_S = 0.01


class Registration:
    """A service's registration; `registration` makes one. It is used once, by `with`, `async with`, or `open`.

    Nothing that becomes of Consul raises once it has begun: `state` and `problem` tell, and the log.

    Attributes:
        id: The id under which Consul knows this instance.
    """

    def __init__(
        self, requests: ServiceRequests, *, health: Health | None, drain_s: float, wait: bool, start_timeout: float
    ) -> None:
        self.id = requests.service.id
        self._has_ttl = isinstance(requests.service.check, TtlCheck)
        self._loop = RegistrationLoop(requests, health)
        self._drain_s = drain_s
        self._wait = wait
        self._start_timeout = start_timeout
        self._job: Job | None = None
        self._pid = 0

    @property
    def state(self) -> RegistrationState:
        """Where it stands."""
        return self._report.state

    @property
    def problem(self) -> str:
        """What is wrong, with Consul's own words; empty where all is well."""
        return self._report.problem

    @property
    def _report(self) -> RegistrationReport:
        if self._is_inherited:
            return RegistrationReport(RegistrationState.INHERITED, "the process that forked this one registers")
        return self._loop.report

    @property
    def _is_inherited(self) -> bool:
        return self._job is not None and self._pid != os.getpid()

    def set_status(self, status: CheckStatus | str, output: str = "") -> None:
        """Say how the service is: "passing", "warning" or "critical", with a text for people; sent at once.

        It stays until it is said again. In the child of a fork it does nothing.

        Raises:
            ConfigError: It is none of these, or Consul checks the service itself: use `maintenance` then.
        """
        if not self._has_ttl:
            raise ConfigError("set_status goes with a TtlCheck: with others Consul looks itself; use maintenance()")
        status = CheckStatus.of(status)
        self._tell(lambda: self._loop.say(status, output))

    def maintenance(self, on: bool, reason: str = "") -> None:
        """Have Consul keep the service out of use, or no longer; it stays registered. In the child of a fork: nothing.

        It stays so if the agent loses its state, and does not wait for the agent.
        """
        wanted = (reason or "lbkit: maintenance") if on else None
        self._tell(lambda: self._loop.maintain(wanted))

    def open(self) -> None:
        """Begin to register, in the background. `with` does it, and waits where `wait` says so.

        Raises:
            ConfigError: It was opened before.
        """
        if self._job is not None:
            raise ConfigError(f"the registration of {self.id} was used before: make a new one")
        self._pid = os.getpid()
        self._job = ENGINE.start(f"lbkit: registration of {self.id}", self._loop.run)

    def close(self) -> None:
        """Drain and deregister: maintenance on, `drain_s` of time, and out. In the child of a fork it does nothing.

        Takes at most `drain_s` and five seconds, or less where Consul does not answer; closing again does nothing.
        """
        self._leave(self._drain_s)

    async def aclose(self) -> None:
        """Do what `close` does, without blocking an event loop. Cancellation does not cut it short."""
        with anyio.CancelScope(shield=True):
            await self._leave_in_thread(self._drain_s)

    def _leave(self, drain_s: float) -> None:
        job = self._job
        if job is None or self._is_inherited:
            return
        job.soon(lambda: self._loop.leave(drain_s))
        if not job.join(drain_s + LEAVE_S):
            job.close()
            job.join()

    async def _leave_in_thread(self, drain_s: float) -> None:
        # With a limit of its own: all of the application's threads may be busy, perhaps waiting for this.
        await anyio.to_thread.run_sync(self._leave, drain_s, limiter=anyio.CapacityLimiter(1))

    def _tell(self, wish: Callable[[], None]) -> None:
        if self._job is None:
            wish()
        elif not self._is_inherited:
            self._job.soon(wish)

    def _until_registered(self) -> Iterator[float]:
        end = time.monotonic() + self._start_timeout
        while self._wait and self.state is not RegistrationState.REGISTERED:
            if time.monotonic() >= end:
                problem = self.problem or f"no answer in {self._start_timeout:g} s"
                raise DiscoveryError(f"{self.id} is not registered: {problem}")
            yield POLL_S

    def __enter__(self) -> Self:
        self.open()
        try:
            for nap_s in self._until_registered():
                time.sleep(nap_s)
        except BaseException:
            self._leave(0.0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.open()
        try:
            for nap_s in self._until_registered():
                await anyio.sleep(nap_s)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._leave_in_thread(0.0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<registration of {self.id!r}, {self.state.value}>"


def registration(
    name: str,
    port: int,
    *,
    address: str | None = None,
    id: str | None = None,  # noqa: A002 - Consul's word
    tags: Sequence[str] = (),
    meta: Mapping[str, str] | None = None,
    weights: tuple[int, int] = (1, 1),
    check: Check | None = None,
    health: Health | None = None,
    critical_timeout: float | None = 600.0,
    drain_s: float = 5.0,
    wait: bool = False,
    start_timeout: float = 10.0,
    agent: str | Sequence[str] | None = None,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    verify: bool = True,
    ca: str | os.PathLike[str] | None = None,
    cert: str | tuple[str, str] | None = None,
    tls_server_name: str | None = None,
    namespace: str | None = None,
    partition: str | None = None,
) -> Registration:
    """Register this process's service in Consul for as long as a `with` or `async with` block runs.

        with lbkit.discovery.registration("orders", 8080, tags=["v2"]):
            serve()                                          # must still answer while the block ends: it drains

    If the agent is not there, or loses its state, it is tried again in the background. A process that is killed leaves
    the block without draining: have SIGTERM raise SystemExit. A fork of this process registers nothing of its own.

    Args:
        name: Of the service.
        port: On which it listens.
        address: Where clients reach it; None for the address of the agent's node.
        id: Of this instance, unique on its agent: name, host and port by default. What is left of an earlier run under
            the same id is replaced, its maintenance included.
        tags: For clients to choose by.
        meta: Pairs of text for clients; `{"zone": "eu-1"}` is the zone that lbkit's clients see.
        weights: Share of the requests when passing, and when warning.
        check: `TtlCheck(10.0)` by default: this process says that it is well. `HttpCheck` and `TcpCheck` have Consul's
            agent look.
        health: With a TtlCheck: a function, sync (it runs in a thread) or async, called before each beat. It returns
            "passing", "warning" or "critical", or that and a text. What raises, or takes longer than from one beat to
            the next, is critical.
        critical_timeout: Seconds after which Consul removes an instance that is critical, at least 60; None for never.
        drain_s: Seconds between maintenance and deregistration, for clients to learn of it and end their requests.
            lbkit's clients know at once; those that use DNS after its TTL.
        wait: Whether entering the block waits until the agent has taken the registration.
        start_timeout: Longest such wait, in seconds.
        agent: As for `Consul`. Of several agents one is used, and the next after it has failed twice.
        token: As for `Consul`, and so are all that follow. It needs `service:write`.
        token_file: File with the token.
        verify: Whether an https agent's certificate is verified.
        ca: File or directory with the authorities.
        cert: Our certificate.
        tls_server_name: Name that the agent's certificate must have.
        namespace: Of Consul Enterprise.
        partition: Of Consul Enterprise.

    Raises:
        ConfigError: An argument is wrong; here, at construction.
        DiscoveryError: With `wait`, on entering the block: not registered in time, and why.
    """
    check = TtlCheck() if check is None else check
    identity = f"{name}-{address or socket.gethostname()}-{port}" if id is None else id
    service = Service(
        name, port, identity, address, tags, {} if meta is None else meta, weights, check,
        critical_timeout, namespace, partition,
    )  # fmt: skip
    access = Access.of(
        "registration", agent=agent, token=token, token_file=token_file, verify=verify, ca=ca, cert=cert,
        tls_server_name=tls_server_name,
    )  # fmt: skip
    if health is not None and not (callable(health) and isinstance(check, TtlCheck)):
        raise ConfigError("registration: health is a function, and goes with a TtlCheck alone")
    for label, value in (("drain_s", drain_s), ("start_timeout", start_timeout)):
        if not (isinstance(value, int | float) and 0 <= value < math.inf):
            raise ConfigError(f"registration: {label} is at least 0 seconds, not {value!r}")
    return Registration(
        ServiceRequests(service, access), health=health, drain_s=drain_s, wait=wait, start_timeout=start_timeout
    )
