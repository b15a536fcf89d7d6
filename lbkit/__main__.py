"""The command line: `python -m lbkit COMMAND`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence

from lbkit import __version__
from lbkit.errors import ConfigError

INTERRUPTED = 130
"""What a shell reports of a command that Ctrl-C has ended: 128 and the signal's number."""


def number(least: float, most: float, kind: Callable[[str], float] = float) -> Callable[[str], float]:
    """Return a reader for an option that is a number in a range."""
    what = "a whole number" if kind is int else "a number"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{what} from {least} to {most} is needed, not {text!r}")
        return value

    return read


def scheduler(text: str) -> str:
    """Read the name of a scheduler."""
    from lbkit.scheduler import by_name  # noqa: PLC0415 - `python -m lbkit` alone needs none of it

    try:
        by_name(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m lbkit", description="Client-side load balancing for Python.")
    top.add_argument("--version", action="version", version=f"lbkit {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    demo = commands.add_parser(
        "demo",
        help="watch lbkit survive killed, frozen and slow replicas; takes 20 seconds",
        description="Starts real HTTP replicas on loopback, sends requests through lbkit and through a client behind "
        "DNS round robin, kills, freezes and slows replicas meanwhile, and shows what either application saw. "
        "The exit code is 0 only if the application with lbkit saw no failed request.",
    )
    for name, metavar, kind, default, text in (
        ("--seconds", "S", number(5, 120), 20, "how long, 5 to 120"),
        ("--replicas", "N", number(2, 12, int), 4, "how many, 2 to 12"),
        ("--rate", "R", number(5, 300), 100, "requests per second to each client, 5 to 300"),
        ("--scheduler", "NAME", scheduler, "shortest_expected_delay", "how lbkit chooses; any wrong name lists all"),
    ):
        demo.add_argument(name, metavar=metavar, type=kind, default=default, help=f"{text} (default: {default})")
    demo.add_argument("--json", action="store_true", help="print nothing but one JSON object at the end")
    _add_resolve(commands)
    return top


def _add_resolve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    resolve = commands.add_parser(
        "resolve",
        help="show what a target yields and, with --watch, how it changes",
        description="Follows a target as an application would, and shows its sources and its endpoints. "
        "The exit code is 0 if there are endpoints, 1 if there are none or none are known, 2 for a wrong target.",
    )
    resolve.add_argument("target", metavar="TARGET", help="such as dns://orders.internal:8080")
    resolve.add_argument("--watch", action="store_true", help="go on, and show each change, until Ctrl-C")
    resolve.add_argument("--seconds", metavar="S", type=number(0, 1e9), help="with --watch: end after so many seconds")
    patience = "wait for the sources' first answers for at most so many seconds (default: 5)"
    resolve.add_argument("--timeout", metavar="S", type=number(0, 3600), default=5.0, help=patience)
    resolve.add_argument("--json", action="store_true", help="print JSON objects, one in a line")


def _resolve(top: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from lbkit._resolve.run import Options, run  # noqa: PLC0415 - help must not wait for an event loop

    if options.seconds is not None and not options.watch:
        top.error("--seconds says how long --watch goes on: give both")
    return run(Options(options.target, options.timeout, options.watch, options.seconds, options.json))


def _demo(options: argparse.Namespace) -> int:
    from lbkit._demo.run import run  # noqa: PLC0415 - help must not wait for an HTTP client
    from lbkit._demo.settings import Options  # noqa: PLC0415

    return run(Options(options.seconds, options.replicas, options.rate, options.scheduler, options.json))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    top = parser()
    options = top.parse_args(argv)
    if options.command is None:
        top.print_help()
        return 0
    try:
        return _resolve(top, options) if options.command == "resolve" else _demo(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has left: not worth a traceback, now or when stdout is flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
