"""Pairs alternatives on a noisy machine: interleaved blocks, and the ratio within each round.

A figure of one run says little where other work comes and goes. So every alternative gets one short block per round, in
an order that turns around with each round, and what is reported is the median of the per-round ratios with the range
between their quartiles: noise that lasts longer than a round hits both sides of a ratio.
"""

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """What one alternative did in one round.

    `cpu_s` is user and system time of the client process, `more_cpu_s` that of the proxies it went through.
    """

    requests: int
    wall_s: float
    cpu_s: float
    more_cpu_s: float = 0.0
    p50_s: float = 0.0
    errors: int = 0

    @property
    def cpu_us(self) -> float:
        """Microseconds of client CPU per request."""
        return self.cpu_s / self.requests * 1e6

    @property
    def total_cpu_us(self) -> float:
        """Microseconds of client and proxy CPU per request."""
        return (self.cpu_s + self.more_cpu_s) / self.requests * 1e6

    @property
    def throughput(self) -> float:
        """Requests per second."""
        return self.requests / self.wall_s

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return self.p50_s * 1e3


Runs = Mapping[str, list[Block]]


def interleave(alternatives: Mapping[str, Callable[[], Block]], rounds: int) -> dict[str, list[Block]]:
    """Run each alternative once per round; the first round warms up and is thrown away."""
    names = list(alternatives)
    blocks: dict[str, list[Block]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            gc.collect()  # so that nobody pays for another's garbage
            block = alternatives[name]()
            if number:
                blocks[name].append(block)
    return blocks


@dataclass(frozen=True)
class Row:
    """One figure. `bound` is the target with its direction, such as "<= 0.75", or empty for information."""

    what: str
    median: float
    low: float
    high: float
    least: float
    unit: str = "x"
    bound: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.bound:
            return None
        sign, limit = self.bound.split()
        value = float(f"{self.median:.3g}")
        return {"<=": value <= float(limit), ">=": value >= float(limit), "<": value < float(limit)}[sign]

    def __str__(self) -> str:
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        spread = f"{self.low:.3g} - {self.high:.3g}"
        least = f"{self.least:.4g}" if self.unit == "us" else ""  # what it costs when nothing else runs
        median = f"{self.median:,.0f}" if self.median >= 1000 else f"{self.median:.3g}"
        return f"{self.what:<68} {median:>8} {self.unit:<5} {spread:<17} {least:<8} {self.bound:<8} {verdict}"


@dataclass
class Report:
    """The figures of one script, printed as they come."""

    script: str
    rows: list[Row] = field(default_factory=list)

    def head(self, title: str) -> None:
        """Begin a group of figures."""
        print(f"\n{title}\n{'':<68} {'median':>8} {'':<5} {'quartiles':<17} {'least':<8} target")

    def add(self, what: str, values: Sequence[float], *, unit: str = "x", bound: str = "") -> None:
        """Add the median and quartiles of `values`."""
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        row = Row(what, median, low, high, min(values), unit, bound)
        self.rows.append(row)
        print(row, flush=True)

    def ratio(self, what: str, runs: Runs, one: str, other: str, figure: str, *, bound: str = "") -> None:
        """Add the per-round ratios `one` / `other` of a property of `Block`."""
        pairs = zip(runs[one], runs[other], strict=True)
        self.add(what, [getattr(a, figure) / getattr(b, figure) for a, b in pairs], bound=bound)

    def absolute(self, runs: Runs) -> None:
        """Print the plain figures: they drift with the machine and are for orientation."""
        for name, blocks in runs.items():
            middle = {
                figure: statistics.median(getattr(block, figure) for block in blocks)
                for figure in ("cpu_us", "total_cpu_us", "throughput", "p50_ms")
            }
            errors = sum(block.errors for block in blocks)
            proxied = any(block.more_cpu_s for block in blocks)
            total = f" (with the proxy {middle['total_cpu_us']:.0f})" if proxied else ""
            print(
                f"    {name:<40} {middle['cpu_us']:>6.0f} us CPU{total}, {middle['throughput']:.0f} requests/s, "
                f"p50 {middle['p50_ms']:.3f} ms{f', {errors} requests failed' if errors else ''}"
            )

    def end(self, file: Path | None) -> None:
        """Say what was missed, and write the figures as JSON where asked to."""
        missed = [row for row in self.rows if row.met is False]
        aimed = sum(row.met is not None for row in self.rows)
        print(f"\n{aimed - len(missed)} of {aimed} targets met")
        for row in missed:
            print(f"  missed: {row.what.strip()}: {row.median:.3g}, target {row.bound}")
        if file is not None:
            rows = [{**asdict(row), "met": row.met} for row in self.rows]
            file.write_text(
                json.dumps({"script": self.script, "python": sys.version.split()[0], "rows": rows}, indent=1)
            )


def arguments(description: str, *, groups: Sequence[str] = ()) -> argparse.Namespace:
    """Read the options that all scripts have; `groups` can be chosen with --only."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a rough look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    if groups:
        parser.add_argument("--only", nargs="+", choices=groups, default=list(groups), help="which groups to run")
    return parser.parse_args()
