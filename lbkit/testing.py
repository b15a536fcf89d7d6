"""What users' tests need besides respx and a mock transport: a clock that is moved by hand, and scripted faults.

clock = ManualClock()
script = Script({"a:80": [refused(), 503], "b:80": [200]})
cluster = Cluster("orders", ["a:80", "b:80"], clock=clock, rng=random.Random(1))
client = httpx.Client(transport=BalancedTransport(cluster, inner=script.httpx()), base_url="http://orders")
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from lbkit.errors import ConfigError


class ManualClock:
    """A clock for `Cluster(clock=...)` that stands still until it is moved.

    Args:
        now: Where it starts, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on.

        Raises:
            ConfigError: `seconds` is negative: the clock never goes back, as the real one does not.
        """
        if not seconds >= 0:
            raise ConfigError(f"a clock only goes forward: advance by at least 0 seconds, not {seconds!r}")
        self._now += seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """A step of a script that raises the HTTP library's exception of that name.

    Attributes:
        error: "ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "RemoteProtocolError", …
        message: Its text.
    """

    error: str
    message: str = "scripted"


@dataclass(frozen=True, slots=True)
class Reply:
    """A step of a script that answers.

    Attributes:
        status: HTTP status.
        headers: Response headers.
        content: Body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


Step = int | Reply | Fault


class Script:
    """What each endpoint does, step by step; the last step repeats.

    Args:
        steps: For each endpoint's id, such as `"a:80"`, its steps: a status, a `Reply` or a `Fault`.

    Attributes:
        log: The endpoints in the order in which they were asked.

    Raises:
        ConfigError: An endpoint has no steps, or a step is something else.
    """

    def __init__(self, steps: Mapping[str, Iterable[Step]]) -> None:
        self._steps = {endpoint: deque(some) for endpoint, some in steps.items()}
        for endpoint, some in self._steps.items():
            if not some:
                raise ConfigError(f"script of {endpoint}: give at least one status, Reply or Fault")
            for step in some:
                if not isinstance(step, int | Reply | Fault):
                    raise ConfigError(
                        f"script of {endpoint}: a step is a status, a Reply or a Fault, not {step!r}; "
                        'an error is written by its name in the HTTP library: Fault("ConnectError")'
                    )
        self.log: list[str] = []

    def next_step(self, endpoint: str) -> Reply | Fault:
        """Return what the endpoint does now.

        Raises:
            ConfigError: The script does not know the endpoint.
        """
        steps = self._steps.get(endpoint)
        if steps is None:
            raise ConfigError(f"the script has no endpoint {endpoint!r}; it has {', '.join(self._steps)}")
        self.log.append(endpoint)
        step = steps.popleft() if len(steps) > 1 else steps[0]
        return Reply(step) if isinstance(step, int) else step

    def httpx(self) -> Any:
        """Return an `inner=` for `lbkit.httpx`, sync and async.

        Raises:
            ConfigError: A `Fault` names no exception of httpx.
        """
        import httpx  # noqa: PLC0415 - only for users of httpx

        return self._inner(httpx)

    def httpx2(self) -> Any:
        """Return an `inner=` for `lbkit.httpx2`, sync and async.

        Raises:
            ConfigError: A `Fault` names no exception of httpx2.
        """
        import httpx2  # noqa: PLC0415 - only for users of httpx2

        return self._inner(httpx2)

    def _inner(self, http: ModuleType) -> Any:
        for endpoint, steps in self._steps.items():
            for step in steps:
                if isinstance(step, Fault):
                    _check_fault(endpoint, step.error, http)

        def make(endpoint: Any) -> Any:
            def answer(request: Any) -> Any:
                step = self.next_step(endpoint.id)
                if isinstance(step, Fault):
                    raise getattr(http, step.error)(step.message, request=request)
                return http.Response(step.status, headers=dict(step.headers), content=step.content)

            return http.MockTransport(answer)

        return make


def _check_fault(endpoint: str, name: str, http: ModuleType) -> None:
    known = [key for key, value in vars(http).items() if _is_error(value, http)]
    if name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"script of {endpoint}: {http.__name__} has no exception {name!r} that a request may raise{hint} "
            'Common are "ConnectError", "ConnectTimeout", "ReadError" and "ReadTimeout"'
        )


def _is_error(value: Any, http: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, http.RequestError)


def refused() -> Fault:
    """Return a step that refuses the connection: nothing was sent."""
    return Fault("ConnectError", "connection refused")


def no_answer() -> Fault:
    """Return a step that takes the request and never answers."""
    return Fault("ReadTimeout", "no answer")


__all__ = ["Fault", "ManualClock", "Reply", "Script", "Step", "no_answer", "refused"]
