"""Membership from a file that somebody else writes: configuration management, a sidecar, a Kubernetes ConfigMap.

The file is looked at every second and read when it looks different: another inode, size or time of change. So a file
replaced by a rename and a swapped symlink are noticed as well as one written in place. A file that is gone, unreadable
or broken, such as one half written, changes nothing; the report says the line. See `listing` for what may be in it.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import KW_ONLY, dataclass
from random import Random

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Found, Upkeep
from lbkit.discovery.checks import check_limit, check_pause
from lbkit.discovery.file.listing import FORMATS
from lbkit.discovery.target.text import spell
from lbkit.errors import ConfigError

HURRY_S = 1.0
"""Looking at a file is cheap: after connections failed it is done at once, at most once a second."""
RETRY_S = 0.5
"""Shortest pause after a failure; the longest is `every`: a file that was put right is noticed as any other change."""
_IMPOSSIBLE = re.compile(r"[\x00\ud800-\udc7f\udd00-\udfff]")
"""What no file system can be told; Python writes bytes that are no text as the surrogates between."""

Stamp = tuple[int, int, int, int]
"""What tells one state of a file from another: device, inode, size and time of change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A query: what a file lists (see `listing`), if it is another file than that of the stamp.

    Attributes:
        path: Absolute.
        format: "json" or "toml".
        known: What was read last, or None to read in any case.
    """

    path: str
    format: str
    known: Stamp | None


@dataclass(frozen=True, slots=True)
class FileRead:
    """The reply.

    Attributes:
        stamp: What was looked at; None where the file is so fresh that another change might look the same.
        endpoints: What it lists, or None where it looks as it did.
    """

    stamp: Stamp | None
    endpoints: tuple[Endpoint, ...] | None


@dataclass(frozen=True, slots=True)
class File:
    """The endpoints that a JSON or TOML file lists, followed while it changes.

    The file holds a list of targets, or an object with such a list as "endpoints" (TOML: `endpoints = [...]`, or
    `[[endpoints]]` tables). A target is a text such as "10.0.0.1:8080", or an object with `address` (or `host` and
    `port`) and, as needed, `weight`, `priority`, `zone`, `server_name` and `metadata`.

    Args:
        path: The file. A relative path is taken from the directory in which the process is now.
        format: "json" or "toml"; by default what the path ends with.
        every: Seconds between two looks, 1 by default.
        empty_grace: Seconds that the last good set is kept when the file lists no endpoint; see `Upkeep`.

    Raises:
        ConfigError: An argument is wrong. Whether the file is there is seen later: it may come while the process runs.
    """

    path: str
    _: KW_ONLY
    format: str | None = None
    every: float = 1.0
    empty_grace: float = math.inf

    def __post_init__(self) -> None:
        try:
            path = os.fspath(self.path)
        except TypeError:
            raise ConfigError(f"File: path is a text or a Path, not {self.path!r}") from None
        if not isinstance(path, str) or not path or _IMPOSSIBLE.search(path):
            raise ConfigError(f"File: path is the name of a JSON or TOML file, not {path!r}")
        object.__setattr__(self, "path", os.path.abspath(path))  # noqa: PTH100 - a Path would drop what the user wrote
        form = self.format
        if form is None:
            form = os.path.splitext(path)[1].lower().removeprefix(".")  # noqa: PTH122
            if form not in FORMATS:
                raise ConfigError(f'File: {path!r} ends with neither .json nor .toml: say format="json" or "toml"')
        elif form not in FORMATS:
            raise ConfigError(f'File: format is "json" or "toml", not {form!r}')
        object.__setattr__(self, "format", form)
        check_pause("File: every", self.every)
        check_limit("File: empty_grace", self.empty_grace)

    @property
    def upkeep(self) -> Upkeep:
        """How it is kept: a broken file is looked at as often as a good one, though at most twice a second."""
        pause_s = max(self.every, RETRY_S)
        return Upkeep(self.empty_grace, retry_first_s=pause_s, retry_max_s=pause_s, hurry_s=HURRY_S)

    def watch(self, rng: Random) -> FileWatch:  # noqa: ARG002 - looking at a file burdens nobody, so it needs no jitter
        """Build the machine that asks for it."""
        return FileWatch(self)

    def __str__(self) -> str:
        ending = os.path.splitext(self.path)[1].lower().removeprefix(".")  # noqa: PTH122
        options = {
            "format": "" if self.format == ending else self.format,
            "every": "" if self.every == 1.0 else self.every,
            "empty_grace": "" if self.empty_grace == math.inf else self.empty_grace,
        }
        return spell("file", "", self.path, options)


class FileWatch:
    """Asks for a file and remembers what it listed. The client reads it, for a long list takes its time."""

    __slots__ = ("_config", "_endpoints", "_stamp")

    def __init__(self, config: File) -> None:
        self._config = config
        self._stamp: Stamp | None = None
        self._endpoints: tuple[Endpoint, ...] = ()

    def query(self, now: float) -> ReadFile:  # noqa: ARG002
        """Ask for what is new."""
        return ReadFile(self._config.path, str(self._config.format), self._stamp)

    def answer(self, reply: FileRead, now: float) -> Found:  # noqa: ARG002
        """Take what the file lists, or keep what it listed."""
        if reply.endpoints is not None:
            self._endpoints = reply.endpoints
        self._stamp = reply.stamp
        problem = "" if self._endpoints else f"{self._config.path} lists no endpoint"
        return Found(self._endpoints, self._config.every, problem)

    def failed(self, now: float) -> None:  # noqa: ARG002
        """Read it again in any case."""
        self._stamp = None
