"""What happened, in words: the cluster's own events and numbers laid beside what the demo did to the replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lbkit._demo.faults import SLOW_FACTOR, Deed, Kind
from lbkit.balancer.events import Event, FailedOpen, RetryRefused, RetryScheduled, StandingChanged
from lbkit.balancer.stats import ClusterStats
from lbkit.health import Standing

ECHO_S = 0.5
"""A fault is still felt this long after its end: a request that was sent before may fail only then."""
SOON_S = 1.5
"""A circuit that opens later than this is not what protected the application: the scheduler had turned away before."""
AVOIDED_BELOW = 0.5
"""A replica counts as avoided when it gets less than this part of what it had before."""
SHARE_SPAN_S = 2.0
"""A replica's share is shown over this time: short enough to see it move, long enough not to flicker."""


@dataclass(frozen=True, slots=True)
class Account:
    """What lbkit made of one fault.

    Attributes:
        out_after_s: Seconds from its beginning until the replica was taken out; None where it never was.
        back_after_s: Seconds from its end until the replica that was out was in use again; None where it was not.
        retries: Requests that failed at the replica and were sent to another.
        share_before, share_during: The replica's part of the attempts just before and during the fault, 0 to 1.
    """

    deed: Deed
    out_after_s: float | None
    back_after_s: float | None
    retries: int
    share_before: float
    share_during: float


class Story:
    """Listens to a cluster.

    Args:
        names: The replicas' names by endpoint.
        now: Seconds since the traffic began.
    """

    def __init__(self, names: Mapping[str, str], now: Callable[[], float]) -> None:
        self._names = names
        self._now = now
        self._events: list[tuple[float, Event]] = []
        self._samples: list[tuple[float, Counter[str]]] = []
        self.deeds: list[Deed] = []
        self.lines: list[tuple[float, str]] = []
        """What is worth a line of its own, with its time."""

    def hear(self, event: Event) -> None:
        """Take an event of the cluster."""
        now = self._now()
        self._events.append((now, event))
        if isinstance(event, StandingChanged):
            cause = "" if event.cause in ("", "time") else f" ({event.cause})"
            self.tell(f"lbkit: {self._names[event.endpoint]} is {event.after.value}{cause}")
        elif isinstance(event, FailedOpen):
            self.tell("lbkit: no replica is ready, it uses one that is kept out")
        elif isinstance(event, RetryRefused):
            self.tell("lbkit: a retry was refused, the budget is used up")

    def tell(self, text: str) -> None:
        """Note a line."""
        self.lines.append((self._now(), text))

    def sample(self, stats: ClusterStats) -> None:
        """Note how many attempts each replica has had until now."""
        self._samples.append(
            (self._now(), Counter({self._names[one.endpoint]: one.attempts for one in stats.endpoints}))
        )

    def share(self, replica: str, begin_s: float, end_s: float) -> float:
        """Return the replica's part of the attempts in that time, 0 to 1."""
        if not self._samples:
            return 0.0
        before = [counts for at, counts in self._samples if at <= begin_s] or [Counter()]
        until = [counts for at, counts in self._samples if at <= end_s] or [Counter()]
        sent = until[-1] - before[-1]
        return sent[replica] / (sent.total() or 1)

    def account(self, deed: Deed) -> Account:
        """Return what lbkit made of one fault, as far as it has come."""
        end_s = self._now() if deed.ended_s is None else deed.ended_s
        at = {name: endpoint for endpoint, name in self._names.items()}[deed.replica]
        changes = [(t, e.after) for t, e in self._events if isinstance(e, StandingChanged) and e.endpoint == at]
        out = next((t for t, after in changes if after is Standing.OPEN and deed.began_s <= t <= end_s + ECHO_S), None)
        back = None
        if out is not None and deed.ended_s is not None:
            back = next((t for t, after in changes if after is Standing.READY and t >= max(out, deed.ended_s)), None)
        retries = sum(
            isinstance(event, RetryScheduled) and event.endpoint == at and deed.began_s <= t <= end_s + ECHO_S
            for t, event in self._events
        )
        return Account(
            deed,
            None if out is None else out - deed.began_s,
            None if back is None or deed.ended_s is None else back - deed.ended_s,
            retries,
            self.share(deed.replica, deed.began_s - SHARE_SPAN_S, deed.began_s),
            self.share(deed.replica, deed.began_s, end_s),
        )


def in_words(accounts: Sequence[Account], *, over: bool) -> list[str]:
    """Return a line for each fault, and one for the returns where the demo is `over`."""
    lines = [_harm(account) for account in accounts]
    outs = [account for account in accounts if account.out_after_s is not None]
    returns = [f"{a.deed.replica} {a.back_after_s:.1f} s" for a in outs if a.back_after_s is not None]
    if returns:
        lines.append(f"Back in use after they were well again: {', '.join(returns)}.")
    missing = [account.deed.replica for account in outs if account.back_after_s is None]
    if over and missing:
        lines.append(f"Not back in use when the demo ended: {', '.join(missing)}.")
    return lines


def _harm(account: Account) -> str:
    deed, retries = account.deed, account.retries
    share = f"{account.share_during:.0%}".replace("%", " %")
    text = f"{deed.replica} was {_PARTICIPLES[deed.kind]} at {deed.began_s:.1f} s"
    if not account.share_before and not account.share_during:
        return f"{text}; lbkit was not using it."
    text += " and "
    if account.out_after_s is not None and account.out_after_s <= SOON_S:
        text += f"taken out after {account.out_after_s:.1f} s"
    elif account.share_during < AVOIDED_BELOW * account.share_before:
        text += f"avoided ({share} of requests)"
    else:
        text += f"kept {share} of requests"
    if retries:
        text += f"; {retries} request was sent again" if retries == 1 else f"; {retries} requests were sent again"
    return f"{text}."


_PARTICIPLES = {Kind.KILL: "killed", Kind.FREEZE: "frozen", Kind.SLOW: f"slowed (x{SLOW_FACTOR})"}
