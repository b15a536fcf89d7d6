"""The command from beginning to end."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import datetime

from lbkit._resolve.lines import LinesView
from lbkit._resolve.observer import Observer
from lbkit._resolve.plain import PlainView, visible
from lbkit.discovery.target.target import as_discovery
from lbkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        timeout: Seconds to wait until each source has answered or failed.
        watch: Whether changes are to be shown as well.
        seconds: How long; None for ever.
        json: Whether a machine is to read it.
    """

    target: str
    timeout: float = 5.0
    watch: bool = False
    seconds: float | None = None
    json: bool = False


def run(options: Options) -> int:
    """Run the command and return its exit code.

    0: there are endpoints; 1: there are none, or it is not known whether there are; 2: the target is wrong.
    """
    try:
        discovery = as_discovery(options.target)
    except ConfigError as error:
        sys.stderr.write(f"python -m lbkit resolve: {error}\n")
        return 2
    view = (LinesView if options.json else PlainView)(sys.stdout)
    with Observer(discovery) as observer:
        found = observer.settle(options.timeout)
        view.show(found)
        if options.watch:
            for news in observer.news(math.inf if options.seconds is None else options.seconds):
                view.tell(news, datetime.now().astimezone())
            found = observer.view()
    if found.reason:
        sys.stderr.write(f"python -m lbkit resolve: {visible(found.reason)}\n")
    return 1 if found.reason else 0
