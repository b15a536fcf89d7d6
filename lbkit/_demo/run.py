"""The demo from beginning to end: replicas, clients, faults and view, and what is left when it is over."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Coroutine

from lbkit._demo.faults import Deed, Fault, script, steps
from lbkit._demo.fleet import Fleet, ReplicaError
from lbkit._demo.frame import Frame, Report, Row, Score, View
from lbkit._demo.machine import as_json
from lbkit._demo.plain import PlainView, SilentView
from lbkit._demo.settings import PATIENCE_S, SERVICE_S, Options
from lbkit._demo.story import AVOIDED_BELOW, SHARE_SPAN_S, Story, in_words
from lbkit._demo.traffic import App, dns_round_robin_app, drive, lbkit_app
from lbkit.balancer.stats import ClusterStats, EndpointStats
from lbkit.health import Standing

FRAME_S = 0.2
MISSING_RICH = "The demo draws with rich, which is not installed. Run:  python -m pip install 'lbkit-client[demo]'"


class Demo:
    """One run. What it has seen so far can be told at any time, so also when it was ended early."""

    def __init__(self, options: Options, view: View) -> None:
        self._options = options
        self._view = view
        self._fleet = Fleet(options.replicas, SERVICE_S)
        self._apps: tuple[App, ...] = ()
        self._started = self._ended = 0.0
        self._over = False
        self._late_s = 0.0

    def _now(self) -> float:
        return time.monotonic() - self._started

    async def play(self) -> None:
        """Run the demo to its end."""
        async with self._fleet as fleet:
            names = {replica.address: replica.name for replica in fleet.replicas}
            self._cluster = cluster = self._options.cluster(list(names))
            apps = lbkit_app(cluster, PATIENCE_S), dns_round_robin_app(list(names), PATIENCE_S)
            self._view.opening(self._options.code(list(names)))
            async with cluster, apps[0].client, apps[1].client:
                self._started = time.monotonic()
                self._story = Story(names, self._now)
                self._apps = apps
                cluster.subscribe(self._story.hear)
                try:
                    async with asyncio.TaskGroup() as tasks:
                        drawing = tasks.create_task(self._draw())
                        tasks.create_task(self._follow_script())
                        await drive(apps, self._options.rate, going=lambda: not self._over)
                        drawing.cancel()
                except ExceptionGroup as group:
                    raise group.exceptions[0] from None
                finally:
                    self._ended = self._now()

    async def _follow_script(self) -> None:
        replicas = self._fleet.replicas
        deeds: dict[Fault, Deed] = {}
        seconds = self._options.seconds
        for step in steps(script(len(replicas))):
            due = step.at * seconds + self._late_s
            await asyncio.sleep(due - self._now())
            replica, kind = replicas[step.fault.replica], step.fault.kind
            if step.begins:
                await replica.harm(kind)
                deeds[step.fault] = Deed(kind, replica.name, self._now())
                self._story.deeds.append(deeds[step.fault])
                self._story.tell(f"{replica.name} is {kind.value} ({kind.means})")
            else:
                await replica.heal(kind)
                deeds[step.fault].ended_s = self._now()
                self._story.tell(f"{replica.name} is {kind.remedy}")
            # A busy machine is slow to start a process: all that follows waits for it, so that one replica is well.
            self._late_s += max(0.0, self._now() - due)
        await asyncio.sleep(seconds + self._late_s - self._now())
        self._over = True

    async def _draw(self) -> None:
        while True:
            stats = self._cluster.stats()
            self._story.sample(stats)
            # In a thread: a terminal that is held up holds up no request.
            await asyncio.to_thread(self._view.show, self._frame(stats))
            await asyncio.sleep(FRAME_S)

    def _frame(self, stats: ClusterStats) -> Frame:
        now = self._now()
        deeds = {deed.replica: deed for deed in self._story.deeds}
        trouble = [f"{deed.replica} {deed.kind.value}" for deed in deeds.values() if deed.ended_s is None]
        rows = (
            self._row(one, replica.name, deeds.get(replica.name), now)
            for one, replica in zip(stats.endpoints, self._fleet.replicas, strict=True)
        )
        return Frame(
            now,
            self._options.seconds + self._late_s,
            self._options.rate,
            ", ".join(trouble) or "all replicas are well",
            tuple(rows),
            self._scores(stats),
            tuple(self._story.lines),
        )

    def _row(self, one: EndpointStats, name: str, deed: Deed | None, now: float) -> Row:
        ready = one.state == Standing.READY.value
        share = self._story.share(name, now - SHARE_SPAN_S, now)
        state = one.state
        if ready and deed is not None and share < AVOIDED_BELOW / self._options.replicas:
            state += ", avoided"
        if one.state == Standing.OPEN.value:
            state += f" {one.until_s or 0:.1f} s: {one.cause}"
        if deed is None:
            done = ""
        elif deed.ended_s is None:
            done = f"{deed.kind.value} at {deed.began_s:.1f} s"
        else:
            done = f"well at {deed.ended_s:.1f} s"
        hurt = deed is not None and deed.ended_s is None
        return Row(name, state, share, one.in_flight, one.latency_ms, one.failures, hurt, done)

    def _scores(self, stats: ClusterStats) -> tuple[Score, ...]:
        extra = stats.attempts - stats.calls
        return tuple(Score.of(app.tally, extra if index == 0 else 0) for index, app in enumerate(self._apps))

    def report(self, *, interrupted: bool) -> Report:
        """Say how it went, or how far it came."""
        if not self._apps:
            return Report(0.0, (), (), (), {}, (), interrupted)
        accounts = tuple(self._story.account(deed) for deed in self._story.deeds)
        tally = self._apps[0].tally
        return Report(
            self._ended,
            self._scores(self._cluster.stats()),
            accounts,
            tuple(in_words(accounts, over=not interrupted)),
            dict(tally.failures),
            tuple(tally.notes),
            interrupted,
        )


async def until_signal(work: Coroutine[None, None, None]) -> int:
    """Run `work` to its end, or cancel it at SIGINT or SIGTERM; returns that signal's number, or 0."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    caught: list[int] = []

    def end(number: int) -> None:
        if not caught:  # a second Ctrl-C does not interrupt the cleaning up
            task.cancel()
        caught.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
    return caught[0] if caught else 0


def run(options: Options) -> int:
    """Run the demo and return the exit code of the command.

    0: the application saw no failure; 1: it saw some, or the demo failed; 2: something is missing; 130: Ctrl-C.
    """
    if not hasattr(signal, "SIGSTOP"):
        return _refuse("The demo kills and freezes processes, for which it needs POSIX signals.", 2)
    view: View = SilentView() if options.json else PlainView(sys.stdout)
    if not options.json:
        try:
            from lbkit._demo.live import LiveView  # noqa: PLC0415 - the only import of rich
        except ModuleNotFoundError:
            return _refuse(MISSING_RICH, 2)
        if sys.stdout.isatty():
            view = LiveView()
    demo = Demo(options, view)
    try:
        with view:
            number = asyncio.run(until_signal(demo.play()))
            report = demo.report(interrupted=number != 0)
            code = 128 + number if number else int(bool(report.failures))
            view.ending(report)
    except ReplicaError as error:
        return _refuse(str(error), 1)
    if options.json:
        sys.stdout.write(json.dumps(as_json(options, report, code), indent=2) + "\n")
    return code


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
