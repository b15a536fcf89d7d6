"""What the four transports share: checks, the exchange, and their ends."""

from __future__ import annotations

import importlib.util
from typing import Any

from lbkit._http.exchange import Exchange
from lbkit._http.face import AsyncFace, Face, SyncFace, run
from lbkit._http.homes import Homes
from lbkit._http.library import Library
from lbkit._http.options import complete
from lbkit.errors import ConfigError
from lbkit.runtime.cluster import Cluster


class Core:
    """One transport's machinery."""

    def __init__(self, library: Library, cluster: Cluster, face: Face, options: dict[str, Any]) -> None:
        if not isinstance(cluster, Cluster):
            raise ConfigError(f"a transport takes a Cluster, not {type(cluster).__name__}")
        complete_options = complete(options)
        if complete_options["http2"] and importlib.util.find_spec("h2") is None:
            raise ConfigError("http2=True needs the h2 package: pip install 'lbkit-client[h2]'")
        limits = complete_options["limits"]
        if limits is not None and not isinstance(limits, library.http.Limits):
            raise ConfigError(f"limits must be {library.name}.Limits(...), not {type(limits).__name__}")
        self._library = library
        self.homes = Homes(library, cluster, face, complete_options)
        self.exchange = Exchange(library, cluster, face, self.homes, complete_options)

    def check(self, request: Any) -> None:
        """Refuse a request of another library, before anything is sent.

        Raises:
            TypeError: The transport was given to the wrong client.
        """
        if not isinstance(request, self._library.http.Request):
            theirs = type(request).__module__.partition(".")[0]
            raise TypeError(
                f"this transport is from lbkit.{self._library.name} and was given to a client of {theirs}: "
                f"import it from lbkit.{theirs}"
            )
        if self.homes.closed:
            raise RuntimeError("the transport was closed: make a new one")


def sync_core(library: Library, cluster: Cluster, options: dict[str, Any]) -> Core:
    """Make the machinery of a blocking transport."""
    return Core(library, cluster, SyncFace(library), options)


def async_core(library: Library, cluster: Cluster, options: dict[str, Any]) -> Core:
    """Make the machinery of an async transport."""
    return Core(library, cluster, AsyncFace(library), options)


__all__ = ["Core", "async_core", "run", "sync_core"]
