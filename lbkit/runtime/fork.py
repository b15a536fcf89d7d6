"""Right under fork: what must survive it intact is held over it, in one place.

A fork copies locks in whatever state they are and sockets that both processes then share. Objects that register here
have `before_fork()` called in the forking thread, and `after_fork(child=...)` in both processes afterwards. Weak
references: registering keeps nothing alive. Locks are taken in the order in which other code nests them: a cluster's
before the engine's.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from lbkit.balancer.log import logger


class ForkAware(Protocol):
    """Something with a lock or sockets."""

    def before_fork(self) -> None:
        """Take the lock, so that the state is whole when it is copied."""

    def after_fork(self, *, child: bool) -> None:
        """Let the lock go; in the child also drop what belongs to the parent."""


_registered: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_innermost: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_lock = threading.Lock()
_held: list[ForkAware] = []


def register(one: ForkAware, *, innermost: bool = False) -> None:
    """Have `one` told of forks for as long as it lives.

    `innermost` says that its lock is taken while those of others are held, and no other while it is held.
    """
    with _lock:
        (_innermost if innermost else _registered).add(one)


def _before() -> None:
    _lock.acquire()
    _held.extend(_registered)
    _held.extend(_innermost)
    for one in _held:
        one.before_fork()


def _after(*, child: bool) -> None:
    try:
        for one in reversed(_held):
            try:
                one.after_fork(child=child)
            except Exception:  # noqa: BLE001 - it is logged
                logger.exception("%r could not be put right after a fork", one)
    finally:
        _held.clear()
        _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )
