"""What the tests of `attempts()` have in common: errors, clusters and scripts."""

import copy
import errno
from random import Random

from lbkit import Cluster, RetryPolicy

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
RESET = ConnectionResetError(errno.ECONNRESET, "reset")


class Bug(Exception):  # noqa: N818 - not an error of anyone's but the user's
    """What a user's own code raises."""


class Vendor(Exception):  # noqa: N818 - a driver's own root
    """What some driver raises."""


def make(clock, *names, **options):
    options = {"scheduler": "first", "retry": RetryPolicy(attempts=3, wait=lambda state: 0.5), **options}
    return Cluster("orders", [f"{name}:80" for name in names], clock=clock, rng=Random(1), **options)


def script(*steps):
    """Return a loop body that raises or returns its steps in turn, and the list of hosts that it saw."""
    seen = []
    left = [copy.copy(step) if step is REFUSED else step for step in steps]

    def body(attempt, endpoint):
        seen.append(endpoint.host)
        assert attempt.number == len(seen)
        step = left.pop(0)
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            return step(attempt)
        return step

    return body, seen
