"""Ports and waiting: a port nobody takes meanwhile, and polling instead of sleeping."""

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now and that no outgoing connection will be given later.

    It lies below the kernel's range of ephemeral ports. A port from there (what ``bind(0)`` gives) can be taken as the
    source of some client connection while the server that owned it is down, and then the restart fails; worse, a client
    that dials such a port again and again may connect to itself.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, low) if low > 11_000 else range(low, 65_000)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.choice(candidates)
        if port in _given:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            _given.add(port)
            return port
    raise RuntimeError(f"no free port on {host} in {candidates}")


def is_listening(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something completes a TCP connection on that port."""
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError:
        return False
    return True


def eventually(predicate: Callable[[], object], timeout: float = 5.0, interval_s: float = 0.005) -> None:
    """Wait until `predicate` returns something true.

    Raises:
        AssertionError: It did not within `timeout` seconds; the message names the predicate.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            name = getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"not true within {timeout} s: {name}")
        time.sleep(interval_s)


def wait_for_port(host: str, port: int, timeout: float = 10.0) -> None:
    """Wait until the port accepts a connection; AssertionError after `timeout` seconds."""
    try:
        eventually(lambda: is_listening(host, port), timeout)
    except AssertionError:
        raise AssertionError(f"nothing listens on {host}:{port} after {timeout} s") from None
