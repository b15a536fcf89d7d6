"""One request of the user: one to `attempts` attempts, and the decision what comes after each.

A call owns the retry decision and never sleeps: the integration asks `begin` for a lease, does its own input and
output, and hands the outcome to `judge`, which says what to do next. All transports, sync and async, share this.

Safety, before anything else: what was never sent (UNREACHABLE) may go to another endpoint whatever the method; what may
have been acted on goes again only where the caller said that it may run twice (`replayable`); a body that cannot be
produced again is never resent (`can_resend`).
"""

from __future__ import annotations

from dataclasses import dataclass

from lbkit.balancer.balancer import Balancer
from lbkit.balancer.empty import Wait
from lbkit.balancer.events import RetryRefused, RetryScheduled
from lbkit.balancer.lease import Lease
from lbkit.core.outcome import Outcome, Result
from lbkit.core.pick import FIRST_TRY, FIRST_TRY_NO_PROBE, PickInfo
from lbkit.errors import DeadlineExceeded, NoEndpointAvailable, NotReady
from lbkit.retry import RetryPolicy, RetryState

POLL_S = 0.02
"""Longest nap while waiting for an endpoint: short beside any timeout, long beside a pick."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the answer to the user. The lease stays open: release it when the body is closed."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The lease is released. Sleep `delay_s` seconds, then begin again."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The lease is released. Hand the error to the user."""


Verdict = Deliver | RetryAfter | GiveUp
DELIVER, GIVE_UP = Deliver(), GiveUp()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that failed: where, why, and how long it took in seconds."""

    endpoint: str
    cause: str
    duration_s: float

    def __str__(self) -> str:
        return f"{self.endpoint} {self.cause} after {self.duration_s:.3f} s"


class Call:
    """One request's attempts.

    Args:
        balancer: Chooses and counts.
        policy: What may be retried.
        replayable: Whether the request may run twice.
        deadline: Seconds for everything; None takes the policy's.
        hash_key: For schedulers with affinity.
    """

    __slots__ = (
        "_balancer", "_begun", "_empty_since", "_hash_key", "_over_budget", "_policy", "_replayable", "_slept_s",
        "_started", "deadline", "failed", "tried",
    )  # fmt: skip

    def __init__(
        self,
        balancer: Balancer,
        policy: RetryPolicy,
        *,
        replayable: bool,
        deadline: float | None = None,
        hash_key: bytes | None = None,
    ) -> None:
        self._balancer = balancer
        self._policy = policy
        self._replayable = replayable
        self._hash_key = hash_key
        self._started = balancer.clock()
        self._slept_s = 0.0
        self._begun = False
        self._over_budget = False
        self._empty_since: float | None = None
        seconds = policy.deadline if deadline is None else deadline
        self.deadline = None if seconds is None else self._started + seconds
        """When the call must be over, on the balancer's clock; None for no limit."""
        self.failed: list[Attempt] = []
        self.tried: tuple[str, ...] = ()

    def begin(self) -> Lease:
        """Choose an endpoint for the next attempt, untried ones first.

        Raises:
            DeadlineExceeded: The deadline has passed.
            NoEndpointAvailable: None may be used now; see `patience`.
        """
        if self.deadline is not None and self._balancer.clock() >= self.deadline:
            tried = f"; {self.history()}" if self.failed else ""
            raise DeadlineExceeded(f"{self._balancer.name}: the deadline has passed{tried}")
        if self.tried or self._hash_key is not None:
            info = PickInfo(self.tried, self._replayable, self._hash_key)
        else:
            info = FIRST_TRY if self._replayable else FIRST_TRY_NO_PROBE
        first, self._begun = not self._begun, True
        lease = self._balancer.acquire(info, first=first)
        self._empty_since = None
        return lease

    def patience(self, error: NoEndpointAvailable) -> float | None:
        """Say how long to sleep before `begin` is tried again after `error`; None to let the error go to the user."""
        on_empty = self._balancer.on_empty
        patience_s = on_empty.timeout if isinstance(on_empty, Wait) else 0.0
        if isinstance(error, NotReady):
            patience_s = max(patience_s, self._balancer.start_timeout)
        if not patience_s:
            return None
        now = self._balancer.clock()
        if self._empty_since is None:
            self._empty_since = now
        end = self._empty_since + patience_s
        if self.deadline is not None:
            end = min(end, self.deadline)
        if now >= end:
            return None
        due = POLL_S if error.retry_after_s is None else max(0.001, error.retry_after_s)
        return min(due, POLL_S, end - now)

    def judge(
        self, lease: Lease, outcome: Outcome, *, error: BaseException | None = None, can_resend: bool = True
    ) -> Verdict:
        """Take the end of an attempt and say what comes next.

        Args:
            lease: Of the attempt. Released unless the verdict is `Deliver`.
            outcome: How it ended.
            error: What was raised, where there is no response to deliver.
            can_resend: Whether the request's body can be produced once more.
        """
        if outcome.result is Result.OK and error is None:
            lease.report(outcome)
            return DELIVER
        duration_s = self._balancer.clock() - lease.started
        if error is None:
            lease.report(outcome)
        else:
            lease.release(outcome)
        if outcome.result is Result.CANCELLED and not outcome.retryable:
            return DELIVER if error is None else GIVE_UP
        self.tried = (*self.tried, lease.endpoint.id)
        self.failed.append(Attempt(lease.endpoint.id, outcome.cause, duration_s))
        delay_s = self._retry_delay(outcome, error or outcome) if can_resend else None
        if delay_s is None:
            return DELIVER if error is None else GIVE_UP
        # What an endpoint has handed back untouched costs none of the budget, once (a transparent retry, gRFC A6). A
        # wait for a connection in vain does cost: where that happens everywhere, more attempts would only wait more.
        free = outcome.result is Result.CANCELLED and not outcome.elsewhere and len(self.failed) == 1
        if not self._balancer.grant_retry(free=free):
            self._over_budget = True
            self._balancer.tell(RetryRefused(self._balancer.name, lease.endpoint.id, outcome.cause))
            return DELIVER if error is None else GIVE_UP
        if error is None:
            lease.release()
        self._slept_s += delay_s
        self._balancer.tell(
            RetryScheduled(self._balancer.name, lease.endpoint.id, outcome.cause, len(self.failed), delay_s)
        )
        return RetryAfter(delay_s)

    def _retry_delay(self, outcome: Outcome, last: object) -> float | None:
        """Return the seconds to wait before another attempt, or None where there must not be one."""
        policy = self._policy
        if len(self.failed) >= policy.attempts:
            return None
        never_sent = outcome.result in (Result.UNREACHABLE, Result.CANCELLED) and not outcome.maybe_sent
        if not never_sent and not (outcome.retryable and self._replayable):
            return None
        age_s = self._balancer.clock() - self._started
        state = RetryState(len(self.failed), age_s, self._slept_s, last)
        delay_s = 0.0
        if not self._balancer.has_untried(self.tried):
            if outcome.elsewhere:
                return None
            delay_s = max(0.0, policy.wait(state)) if policy.wait is not None else 0.0
            if outcome.retry_after_s is not None:
                if outcome.retry_after_s > policy.retry_after_max_s:
                    return None
                delay_s = max(delay_s, outcome.retry_after_s)
        state.upcoming_sleep = delay_s
        if policy.stop is not None and policy.stop(state):
            return None
        if self.deadline is not None and self._started + age_s + delay_s >= self.deadline:
            return None
        return delay_s

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - self._balancer.clock())

    def history(self) -> str:
        """Say what was tried, for the end of a message; empty where nothing has failed."""
        if not self.failed:
            return ""
        count = len(self.failed)
        text = f"{count} attempt{'s' if count > 1 else ''}: " + ", ".join(str(attempt) for attempt in self.failed)
        return text + "; the cluster's retry budget is used up" if self._over_budget else text
