"""Balancers to try things with: their time stands still, their randomness is fixed, their leases know their names."""

from random import Random

from lbkit.balancer.balancer import Balancer
from lbkit.core.endpoint import Endpoint, Snapshot
from lbkit.core.outcome import Outcome, Result
from lbkit.core.pick import PickInfo
from lbkit.scheduler import RoundRobin
from lbkit.testing import ManualClock

FIXED = RoundRobin(random_start=False)
ERROR = Outcome(Result.ERROR, cause="500")
UNREACHABLE = Outcome(Result.UNREACHABLE, cause="ConnectError")
NO_ANSWER = Outcome(Result.NO_ANSWER, cause="ReadError")


def overloaded(seconds):
    return Outcome(Result.OVERLOADED, retryable=True, retry_after_s=seconds, cause="429")


def endpoints(*names, **fields):
    return [Endpoint(host=name, port=80, **fields) for name in names]


def balancer(*members, scheduler=FIXED, **options):
    """Return a balancer over members (names or endpoints), taken in turn, and its clock."""
    clock = ManualClock()
    made = Balancer("orders", scheduler=scheduler, clock=clock, rng=Random(1), **options)
    if members:
        apply(made, *members)
    return made, clock


def apply(made, *members):
    made.apply(Snapshot.of(one if isinstance(one, Endpoint) else Endpoint(host=one, port=80) for one in members))


def tried(*names):
    return PickInfo(tried=tuple(f"{name}:80" for name in names))


def host(lease):
    return lease.endpoint.host


def use(made, count, outcome=None, info=None):
    """Take and release `count` times; return the names in order."""
    names = []
    for _ in range(count):
        lease = made.acquire(info) if info is not None else made.acquire()
        names.append(host(lease))
        lease.release(outcome)
    return "".join(names)


def fail(made, name, count=5, outcome=UNREACHABLE):
    """Fail `count` attempts at one endpoint, wherever its turn is."""
    others = [one.endpoint for one in made.stats().endpoints if one.endpoint != f"{name}:80"]
    for _ in range(count):
        lease = made.acquire(PickInfo(tried=tuple(others)))
        assert host(lease) == name
        lease.release(outcome)


def state(made, name):
    (found,) = [one for one in made.stats().endpoints if one.endpoint == f"{name}:80"]
    return found.state


def in_flight(made):
    return {one.endpoint.removesuffix(":80"): one.in_flight for one in made.stats().endpoints}


class Stubborn:
    """A user's scheduler with nothing but the two methods that are needed; it always wants the first node."""

    def build(self, rng):
        return self

    def rebuild(self, ready, now):
        self.ready = ready

    def pick(self, info, now):
        return self.ready[0]
