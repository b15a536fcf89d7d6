"""The cluster: a named set of replicas, how to choose among them, and their lifecycle."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import tenacity

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.call import Call
from lbkit.balancer.empty import FailClosed, FailOpen, OnEmpty, Wait
from lbkit.balancer.events import Listener
from lbkit.balancer.stats import ClusterStats
from lbkit.breaker import CircuitBreaker
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.discovery import Static
from lbkit.discovery.base import Discovery
from lbkit.discovery.target.target import as_discovery
from lbkit.errors import ClusterClosed, ConfigError, NoEndpointAvailable, NotReady
from lbkit.health import OutlierDetection
from lbkit.retry import RetryBudget, RetryPolicy
from lbkit.retry.policy import check_timeout
from lbkit.runtime import fork
from lbkit.runtime.attempts import Attempts
from lbkit.runtime.clients import check_packages
from lbkit.runtime.engine import Job
from lbkit.runtime.following import Following
from lbkit.scheduler import Scheduler, by_name

READY_POLL_S = 0.01
_PARENTS: list[object] = []
"""In the child of a fork: what belongs to the parent's engine. Collecting it would act on its event loop."""
DEFAULT_WAIT = tenacity.wait_random_exponential(multiplier=0.025, max=0.25)
"""Full jitter from 25 ms doubling to 250 ms: Envoy's figures."""


class Cluster:
    """A set of replicas that a client balances over. Hand it to a transport, or loop over `attempts()`.

    It opens on first use; nothing is started by the constructor. `with cluster:` or `async with cluster:` closes it.
    One cluster may serve any number of transports, threads and event loops, and is right under fork.

    Args:
        name: For messages, logs and statistics.
        discovery: Where the endpoints come from: a target string such as `"dns://orders.internal:8080"` or
            `"consul://orders?tag=v2"`, a list of endpoints, or a source of `lbkit.discovery`.
        scheduler: How to choose, as a config or by name; `ShortestExpectedDelay()` by default. See `lbkit.scheduler`.
        breaker: When a failing endpoint is kept out; `CircuitBreaker()` by default.
        outliers: When an endpoint is kept out for being worse than its siblings, `OutlierDetection()`; None, the
            default, compares nothing. See `lbkit.health`.
        retry: What one call may do; `RetryPolicy()` by default. `RetryPolicy(attempts=1)` is no retry.
        budget: What all calls together may retry; `RetryBudget()` by default.
        on_empty: What happens when no endpoint is ready: `FailOpen()` (the default), `FailClosed()` or `Wait(...)`.
        start_timeout: Seconds that first calls wait for the sources to say something, at least 0; 5 by default. With 0
            they fail at once with `NotReady` until the membership is known. Static endpoints need no waiting.
        clock: Seconds that never go back; for tests.
        rng: Source of all randomness; for tests.

    Raises:
        ConfigError: An argument is wrong; the message says what to write.
    """

    def __init__(
        self,
        name: str,
        discovery: str | Discovery | Sequence[str | Endpoint],
        *,
        scheduler: str | Scheduler = "shortest_expected_delay",
        breaker: CircuitBreaker | None = None,
        outliers: OutlierDetection | None = None,
        retry: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        on_empty: OnEmpty | None = None,
        start_timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a cluster's name is text that messages can show, not {name!r}")
        discovery = as_discovery(discovery)
        check_packages(discovery)
        for kind, value in (
            (CircuitBreaker, breaker), (OutlierDetection, outliers), (RetryPolicy, retry), (RetryBudget, budget),
        ):  # fmt: skip
            if value is not None and not isinstance(value, kind):
                raise ConfigError(f"Cluster({name!r}, ...): expected a {kind.__name__}, not {value!r}")
        if on_empty is not None and not isinstance(on_empty, FailOpen | FailClosed | Wait):
            raise ConfigError(
                f"Cluster({name!r}, ...): on_empty is FailOpen(), FailClosed() or Wait(), not {on_empty!r}"
            )
        if not (isinstance(start_timeout, int | float) and start_timeout >= 0):
            raise ConfigError(f"Cluster({name!r}, ...): start_timeout must be at least 0 s, not {start_timeout!r}")
        self.name = name
        self.retry = retry or RetryPolicy()
        if self.retry.wait is None:
            self.retry = replace(self.retry, wait=DEFAULT_WAIT)
        self._discovery = discovery
        self.balancer = Balancer(
            name,
            scheduler=by_name(scheduler),
            breaker=breaker,
            outliers=outliers,
            budget=budget,
            on_empty=on_empty,
            start_timeout=start_timeout,
            clock=clock,
            rng=rng,
        )
        self._lifecycle = threading.RLock()  # code of the user's, such as a source's, runs in `open` and may use it
        self._open = self._opening = self._closed = False
        self._following: Following | None = None
        fork.register(self)

    def open(self) -> None:
        """Take static endpoints into use and follow other sources, in the background. Called by first use.

        It does not wait for the sources, and calling it again does nothing.

        Raises:
            ClusterClosed: The cluster was closed.
        """
        with self._lifecycle:
            if self._closed:
                raise self._was_closed()
            if self._open or self._opening:
                return
            self._opening = True
            try:
                self._following = Following(self.name, self._discovery, self.balancer, self.balancer.rng)
                self._following.start()
            finally:
                self._opening = False
            job = self._following.job
            if job is not None:
                weakref.finalize(self, job.close)
                if self._closed:
                    job.close()
            self._open = not self._closed
        self.balancer.tell()  # outside the lock: a listener may use the cluster

    def _was_closed(self) -> ClusterClosed:
        return ClusterClosed(f"{self.name} was closed: make a new Cluster")

    def close(self) -> None:
        """Give no more endpoints and follow no source. What is in flight ends in its own time.

        Waits until the sources' connections are closed, for at most a second; closing again does nothing.
        """
        job = self._end()
        if job is not None:
            job.join()

    async def aclose(self) -> None:
        """Do what `close` does, without blocking an event loop."""
        job = self._end()
        if job is not None and not job.ended.is_set():
            with anyio.CancelScope(shield=True):
                # With a limit of its own: all of the application's threads may be busy, perhaps waiting for this.
                await anyio.to_thread.run_sync(job.join, limiter=anyio.CapacityLimiter(1))

    def _end(self) -> Job | None:
        with self._lifecycle:
            self._closed = True
            self._open = False
            job = self._following.job if self._following is not None else None
        if job is not None:
            job.close()
        return job

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until there are endpoints. Async code has `async_wait_ready`.

        Args:
            timeout: Seconds; None takes the cluster's `start_timeout`.

        Raises:
            NotReady: The sources have said nothing of use in time; the text says what they said.
            NoEndpointAvailable: They have said that there are no endpoints.
            ClusterClosed: The cluster was closed.
        """
        for nap_s in self._until_ready(timeout):
            time.sleep(nap_s)

    async def async_wait_ready(self, timeout: float | None = None) -> None:
        """Do what `wait_ready` does, in async code."""
        for nap_s in self._until_ready(timeout):
            await anyio.sleep(nap_s)

    def _until_ready(self, timeout: float | None) -> Iterator[float]:
        self.open()
        end = time.monotonic() + (self.balancer.start_timeout if timeout is None else timeout)
        while not self.balancer.endpoints():
            if self._closed:
                raise self._was_closed()
            if time.monotonic() >= end:
                kind = NoEndpointAvailable if self.balancer.is_ready else NotReady
                raise kind(self.name, {}, None, self.balancer.waits_for)
            yield READY_POLL_S

    def call(self, *, replayable: bool, deadline: float | None = None, hash_key: bytes | None = None) -> Call:
        """Begin a call: for integrations. See `lbkit.balancer.call`.

        Raises:
            ClusterClosed: The cluster was closed.
        """
        if not self._open:
            self.open()
        return Call(self.balancer, self.retry, replayable=replayable, deadline=deadline, hash_key=hash_key)

    def attempts(
        self,
        *,
        replayable: bool = False,
        deadline: float | None = None,
        hash_key: bytes | None = None,
        errors: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> Attempts:
        """Loop over attempts at anything: `for attempt in cluster.attempts(): with attempt as endpoint: ...`.

        Use `async for` in async code. The loop ends with the first `with` block that does not raise.

        Args:
            replayable: Whether the work may run twice. Without it only what never reached an endpoint is tried again.
            deadline: Seconds for all attempts and the waiting between them; None takes the policy's. It ends the
                retries; bound the work itself with `attempt.remaining()`.
            hash_key: For schedulers with affinity.
            errors: Exceptions besides `OSError` (which has the timeouts and connection errors) that are the
                endpoint's fault, such as `httpx.TransportError`. Any other exception is yours: never retried.

        Raises:
            ConfigError: `deadline` is not above 0, or `errors` are not exceptions.
        """
        check_timeout("attempts: deadline", deadline)
        kinds = errors if isinstance(errors, tuple) else (errors,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise ConfigError(f"attempts: errors are exception classes, not {errors!r}")
        return Attempts(lambda: self.call(replayable=replayable, deadline=deadline, hash_key=hash_key), kinds)

    def update(self, *targets: str | Endpoint) -> None:
        """Replace the membership: for an application that learns of its replicas itself.

        Addresses that stay keep what was learned of them; requests in flight to those that go are not touched.

        Raises:
            ConfigError: As `Static` does, or the cluster follows a source; the membership stays as it was.
        """
        discovery = Static(*targets)
        if not isinstance(self._discovery, Static):
            raise ConfigError(f"{self.name} follows {self._discovery}: only a static membership can be replaced")
        self.open()
        self._discovery = discovery
        version = self.balancer.version + 1
        self.balancer.apply(Snapshot(discovery.snapshot.endpoints, "update", version))

    def drain(self, endpoint: str) -> None:
        """Send nothing new to the endpoint with that id, such as `"10.0.0.1:8080"`; what is in flight goes on.

        Raises:
            ConfigError: The cluster has no such endpoint.
        """
        self.open()
        self.balancer.drain(endpoint)

    def restore(self, endpoint: str) -> None:
        """Undo `drain`.

        Raises:
            ConfigError: The cluster has no such endpoint.
        """
        self.open()
        self.balancer.drain(endpoint, draining=False)

    def stats(self) -> ClusterStats:
        """Return the cluster's numbers; `print` them for a table, `.to_json()` for machines. Never raises."""
        stats = self.balancer.stats()
        following = self._following
        return stats if following is None else replace(stats, sources=following.stats())

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event (see `lbkit.events`); returns a function that ends it.

        Listeners run in the thread that caused the event, outside all locks. One that raises is logged and harms
        nothing.
        """
        return self.balancer.subscribe(listener)

    def before_fork(self) -> None:
        """Hold the locks over a fork, in the order in which `open` takes them."""
        self._lifecycle.acquire()
        self.balancer.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """Let go after a fork; the child's balancer forgets what the parent has in flight.

        The child has the parent's membership, and follows the sources itself from its next use on.
        """
        self.balancer.after_fork(child=child)
        if child and self._following is not None and self._following.job is not None:
            _PARENTS.append(self._following)
            self.balancer.on_unreachable = None
            self._open = False
        self._lifecycle.release()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._open else "not opened yet"
        return f"<Cluster {self.name!r}, {state}>"


__all__ = ["DEFAULT_WAIT", "Cluster"]
