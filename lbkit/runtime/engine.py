"""The one background thread: an event loop for everything that goes on while nobody asks.

Discovery and health checks of all clusters run in it, and not in the application's loop: a busy application must not
fail its own health checks, and blocking code has no loop at all. The thread is started by the first job and ends with
the last. It is a daemon: the interpreter does not wait for it, but tells it to end, so that connections are closed.

After a fork the child has no such thread. Its engine starts anew with the first job; the parent's jobs are not its.
A module that the thread is importing at the moment of a fork can never be imported in the child, for nobody there ends
the import. So the thread imports only while forks are held off (see `hold_off_forks`).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context

import anyio

from lbkit.balancer.log import logger
from lbkit.runtime import fork

THREAD_NAME = "lbkit-engine"
CLOSE_S = 1.0
"""Longest wait for a job to end, in seconds."""

Work = Callable[[], Awaitable[None]]


class Job:
    """Work that goes on in the engine until it ends or is closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = threading.Event()
        self.task: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self.closed = False

    def close(self) -> None:
        """Tell it to end, from any thread, without waiting."""
        self.closed = True
        self.soon(self._cancel)

    def join(self, timeout: float = CLOSE_S) -> bool:
        """Wait until it has ended; in the engine's own thread it does not wait. Returns whether it has ended."""
        if threading.current_thread() is self.thread:
            return self.ended.is_set()
        return self.ended.wait(timeout)

    def soon(self, function: Callable[[], None]) -> None:
        """Have `function` called in the engine's thread, if the job still goes on."""
        loop = self.loop
        if loop is not None and not self.ended.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and the job with it
                loop.call_soon_threadsafe(function, context=Context())

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Engine:
    """Runs jobs in one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[Job] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        fork.register(self, innermost=True)

    def start(self, name: str, work: Work) -> Job:
        """Run `work` until it ends or its job is closed. An exception ends the job and is logged."""
        job = Job(name)
        with self._lock:
            loop = self._loop or self._start_thread()
            self._jobs.add(job)
            job.loop, job.thread = loop, self._thread
            # Not in the caller's context, which may say that trio runs, or belong to a request.
            loop.call_soon_threadsafe(self._begin, job, work, context=Context())
        return job

    def _start_thread(self) -> asyncio.AbstractEventLoop:
        loop, idle, warm = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
        thread = threading.Thread(target=self._run, args=(loop, idle, warm), name=THREAD_NAME, daemon=True)
        try:
            thread.start()
        except BaseException:  # the system has no thread to spare: the next job tries again
            loop.close()
            raise
        self._loop, self._idle, self._thread = loop, idle, thread
        warm.wait()  # with the lock held, so that nobody forks meanwhile
        return loop

    def _begin(self, job: Job, work: Work) -> None:
        job.task = asyncio.get_running_loop().create_task(_carry(job, work), name=job.name)
        job.task.add_done_callback(lambda _: self._end(job))

    def _end(self, job: Job) -> None:
        with self._lock:
            self._jobs.discard(job)
            if not self._jobs and self._idle is not None:
                self._idle.set()
                self._loop = self._idle = None
        job.ended.set()

    def _run(self, loop: asyncio.AbstractEventLoop, idle: asyncio.Event, warm: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(_warm_up())
            finally:
                warm.set()
            runner.run(_until(idle))

    def hold_off_forks(self) -> threading.Lock:
        """Return a context in which no fork happens: for imports in the engine's thread, without an await in it."""
        return self._lock

    def stop(self) -> None:
        """End all jobs and the thread; waits for at most a second."""
        with self._lock:
            jobs, thread = list(self._jobs), self._thread
        for job in jobs:
            job.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_S)

    def before_fork(self) -> None:
        """Hold the lock over a fork."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """In the child forget the thread: it is the parent's."""
        if child:
            _PARENTS.append((self._loop, self._jobs))  # collecting them would act on the parent's loop
            for job in self._jobs:  # nobody here ends them, and who waits for that must not
                job.ended = threading.Event()  # the lock of the old one may be held
                job.ended.set()
            self._loop = self._idle = self._thread = None
            self._jobs = set()
        self._lock.release()


async def _carry(job: Job, work: Work) -> None:
    if job.closed:
        return
    try:
        await work()
    except Exception:  # noqa: BLE001 - it is logged
        logger.exception("%s has ended by a mistake of lbkit's", job.name)


async def _warm_up() -> None:
    """Use what imports modules when it is first used."""
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
    done = anyio.Event()
    done.set()
    with anyio.CancelScope(), anyio.fail_after(None), anyio.move_on_after(None):
        await done.wait()
    "host".encode("idna")


async def _until(idle: asyncio.Event) -> None:
    await idle.wait()


_PARENTS: list[object] = []
ENGINE = Engine()
"""The process's."""
atexit.register(ENGINE.stop)
