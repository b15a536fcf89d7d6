"""The engine: one thread while there are jobs, none without, and no job that cannot be closed."""

import queue
import threading

import anyio
import pytest

from lbkit.runtime.engine import THREAD_NAME, Engine
from tests.rigs.leaks import leak_check
from tests.rigs.ports import eventually


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_all_jobs_share_one_thread_which_ends_with_the_last(engine):
    """A hundred jobs in one thread; closing them leaves nothing behind."""
    seen = set()

    async def work():
        seen.add(threading.get_ident())
        await anyio.sleep_forever()

    with leak_check():
        jobs = [engine.start(f"job {number}", work) for number in range(100)]
        eventually(lambda: len(threads()) == 1 and len(seen) == 1)
        for job in jobs:
            job.close()
        assert all(job.join() for job in jobs)


def test_a_job_can_be_started_after_the_thread_has_ended(engine):
    """The next job starts a thread of its own."""

    async def work():
        ran.set()

    for _ in range(50):
        ran = threading.Event()
        assert engine.start("job", work).join(5.0)
        assert ran.is_set()


def test_a_job_that_is_closed_before_it_began_never_begins(engine):
    """Closing and starting race; the job ends either way."""
    began = []

    async def work():
        began.append(1)
        await anyio.sleep_forever()

    for _ in range(100):
        job = engine.start("job", work)
        job.close()
        assert job.join(5.0)


def test_a_job_that_raises_ends_alone_and_is_logged(engine, caplog):
    """The others go on."""

    async def broken():
        raise RuntimeError("wrong")

    async def well():
        await anyio.sleep_forever()

    other = engine.start("well", well)
    assert engine.start("broken", broken).join(5.0)
    assert "broken has ended by a mistake" in caplog.text
    assert not other.ended.is_set()


def test_a_job_that_shields_itself_does_not_hold_up_join_for_ever(engine):
    """`join` gives up; the job may take its time."""
    release = threading.Event()

    async def stubborn():
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                while not release.is_set():
                    await anyio.sleep(0.01)

    job = engine.start("stubborn", stubborn)
    eventually(lambda: job.task is not None)
    job.close()
    assert not job.join(0.05)
    release.set()
    assert job.join(5.0)


def test_a_thread_that_could_not_be_started_is_started_by_the_next_job(engine, monkeypatch):
    """A system that is out of threads for a moment does not end discovery for as long as the process lives."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    async def work():
        pass

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            engine.start("job", work)
    engine.stop()
    assert engine.start("job", work).join(5.0)


def test_a_job_that_waits_for_itself_does_not_wait(engine):
    """Such as a listener that closes its cluster: in the engine's thread it would hold up all that goes on there."""
    said = []

    async def work():
        job = made.get(timeout=5.0)
        job.close()
        said.append(job.join(30.0))
        await anyio.sleep_forever()

    made = queue.SimpleQueue()
    job = engine.start("job", work)
    made.put(job)
    assert job.join(5.0)
    assert said == [False]
