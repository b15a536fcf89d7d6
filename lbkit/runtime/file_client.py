"""Looks at files and reads them, in a worker thread: a file system may hang, and a long list takes its time."""

from __future__ import annotations

import encodings.utf_8_sig  # noqa: F401 - is imported when it is first used, when a fork may happen (see `engine`)
import os
import time

import anyio

from lbkit.discovery.file.file import FileRead, ReadFile, Stamp
from lbkit.discovery.file.listing import read_listing
from lbkit.errors import DiscoveryError
from lbkit.runtime.small_file import read_file
from lbkit.runtime.worker import Places, Worker

TIMEOUT_S = 10.0
"""How long a file system may take. Local ones take microseconds, network ones may hang for ever."""
LIMIT_BYTES = 64 * 2**20
"""More than this is not a list of endpoints."""
PLACES = Places("files", 4)
"""A look takes microseconds: hundreds of files need no hundreds of threads."""
FRESH_NS = 2_000_000_000
"""A file changed so recently may change again and look the same: the coarsest file systems count in 2 s."""


class FileClient:
    """Reads one file."""

    def __init__(self) -> None:
        self._worker = Worker(PLACES)

    async def ask(self, query: ReadFile) -> FileRead:
        """Return what the file lists, or that it looks as it did.

        Raises:
            DiscoveryError: It cannot be read, or is broken; the text names it, and the line if that is known.
        """
        try:
            with anyio.fail_after(TIMEOUT_S):
                return await self._worker.run(lambda: _read(query))
        except TimeoutError:
            raise DiscoveryError(f"{query.path}: the file system did not answer in {TIMEOUT_S:g} s") from None
        except OSError as error:
            raise DiscoveryError(f"{query.path}: {error.strerror or type(error).__name__}") from None

    async def aclose(self) -> None:
        """Nothing is open."""


def _read(query: ReadFile) -> FileRead:
    if query.known is not None and _stamp(os.stat(query.path)) == query.known:  # noqa: PTH116
        return FileRead(query.known, None)
    looked_at, content = read_file(query.path, LIMIT_BYTES)
    if len(content) > LIMIT_BYTES:
        raise DiscoveryError(f"{query.path}: is larger than {LIMIT_BYTES // 2**20} MiB")
    # The stamp is of before the reading: a change during it is seen at the next look.
    fresh = abs(time.time_ns() - looked_at.st_mtime_ns) < FRESH_NS
    try:
        endpoints = read_listing(content, query.format)
    except DiscoveryError as error:
        raise DiscoveryError(f"{query.path}: {error}") from None
    return FileRead(None if fresh else _stamp(looked_at), endpoints)


def _stamp(looked_at: os.stat_result) -> Stamp:
    return (looked_at.st_dev, looked_at.st_ino, looked_at.st_size, looked_at.st_mtime_ns)
