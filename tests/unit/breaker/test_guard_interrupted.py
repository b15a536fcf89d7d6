"""A guard in the middle of a change: the collector, a signal handler, a fork; and what it loads."""

import gc
import os
import subprocess
import sys
import textwrap
from random import Random

import pytest

from lbkit import CircuitBreaker, CircuitOpen
from lbkit.breaker import State
from lbkit.testing import ManualClock
from tests.unit.breaker.guards import counts, guard, swallow


class Interrupting(Random):
    """Randomness that is drawn in the middle of a change of state, and does something else then."""

    def random(self):
        self.meanwhile()
        return 0.5


def test_the_collector_may_end_a_guarded_generator_in_the_middle_of_a_change():
    """It runs in the thread that holds the lock: nobody waits for itself, and nothing is lost."""
    rng = Interrupting()
    made = CircuitBreaker(failures=1).guard("payments", clock=ManualClock(), rng=rng)

    def lines():
        with made:
            yield

    left = lines()
    next(left)
    cycle = [left]
    cycle.append(cycle)
    del left, cycle
    rng.meanwhile = gc.collect
    swallow(made)
    assert counts(made) == (0, 1, 1, 0)
    assert made.stats().state is State.OPEN


def test_a_signal_handler_may_use_the_guard_in_the_middle_of_a_change():
    """What it asks for is done right after; a call of its own counts for nothing."""
    rng = Interrupting()
    made = CircuitBreaker(failures=1).guard("payments", clock=ManualClock(), rng=rng)
    seen = []

    def meanwhile():
        seen.append(made.call(len, "ab"))
        seen.append(made.stats().state)
        made.reset()

    rng.meanwhile = meanwhile
    told = []
    made.subscribe(lambda change: told.append(change.cause))
    swallow(made)
    assert seen == [2, State.CLOSED]
    assert told == ["a failure", "reset"]
    assert made.stats().state is State.CLOSED


def test_a_call_in_the_middle_of_a_trial_s_change_is_refused_or_counts_for_nothing():
    """It cannot wait for the change, for it is in its way."""
    rng = Interrupting()
    rng.meanwhile = lambda: None
    made, clock = guard()
    made = CircuitBreaker(failures=1).guard("payments", clock=clock, rng=rng)
    swallow(made)
    clock.advance(2.0)

    def meanwhile():
        with pytest.raises(CircuitOpen):
            made.call(len, "")

    rng.meanwhile = meanwhile
    swallow(made)
    assert (made.stats().state, made.stats().refused) == (State.OPEN, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_has_a_whole_guard_and_the_trials_its_parent_holds():
    """Twenty forks while threads call without a pause; in the child every lock is free and the parent's trial is due."""
    code = """
        import json, os, threading, warnings
        from lbkit import *
        from lbkit.testing import ManualClock
        warnings.simplefilter("error")

        def in_child(work):
            child = os.fork()
            if child == 0:
                os._exit(0 if work() else 1)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        busy = CircuitBreaker(failure_rate=0.5).guard("busy")
        stop = threading.Event()
        def calls():
            while not stop.is_set():
                busy.call(len, "")
        threads = [threading.Thread(target=calls) for _ in range(4)]
        for one in threads: one.start()
        try:
            for _ in range(20):
                assert in_child(lambda: busy.call(len, "abc") == 3 and busy.stats().ok > 0)
        finally:
            stop.set()
            for one in threads: one.join()

        clock = ManualClock()
        trial = CircuitBreaker(failures=1, jitter_ratio=0).guard("trial", clock=clock)
        try:
            trial.call(int, "x")
        except ValueError:
            pass
        clock.advance(1.0)
        with trial:
            def child():
                return trial.call(len, "abc") == 3 and trial.stats().state.value == "closed"
            assert in_child(child)
            assert trial.stats().state.value == "half_open"
        assert trial.stats().state.value == "closed"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_guard_loads_the_standard_library_alone():
    """Who wants just a circuit breaker waits for nothing else."""
    code = "import sys; from lbkit import Guard; Guard('x').call(len, ''); print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert not loaded & {"anyio", "httpx", "httpcore", "tenacity", "dns", "trio"}
