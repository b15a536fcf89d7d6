"""Reads a file that a user has named, whatever it is: a pipe, a device and a file without an end hold nobody up."""

from __future__ import annotations

import os
import stat

from lbkit.errors import DiscoveryError


def read_file(path: str, limit_bytes: int) -> tuple[os.stat_result, bytes]:
    """Return what the file looked like before it was read, and its content; if that is longer, a byte too many.

    Raises:
        DiscoveryError: It is no regular file.
        OSError: It cannot be read.
    """
    # Non-blocking, or opening a pipe would wait for its writer.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123
        looked_at = os.fstat(file.fileno())
        if not stat.S_ISREG(looked_at.st_mode):
            raise DiscoveryError(f"{path}: is not a file")
        return looked_at, file.read(limit_bytes + 1)
