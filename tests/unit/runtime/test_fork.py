"""Fork: the child has whole locks, other random numbers and nothing in flight, whatever the parent was doing."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

PROLOGUE = """
    import gc, json, logging, os, sys, threading, warnings
    logging.getLogger("lbkit").addHandler(logging.NullHandler())
    warnings.simplefilter("error")
    from random import Random
    from lbkit import *
    from lbkit.core.outcome import Outcome, Result
    from lbkit.core.pick import PickInfo

    def in_child(work):
        # Runs work in a forked child and returns what it returned; fails loudly if the child hangs or dies.
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, json.dumps(work()).encode())
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child failed"
        return json.loads(found)

    def flights(cluster):
        return {one.endpoint: one.in_flight for one in cluster.stats().endpoints}

    def take(cluster, count):
        leases = [cluster.call(replayable=True).begin() for _ in range(count)]
        names = [lease.endpoint.host for lease in leases]
        for lease in leases:
            lease.release()
        return names
"""


def run(body):
    """Run a script in an interpreter of its own: forking the test process would fork pytest."""
    code = textwrap.dedent(PROLOGUE) + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_child_has_nothing_in_flight_and_the_parent_keeps_its_own():
    """Requests belong to the process that sent them."""
    run("""
        cluster = Cluster("orders", ["a:80", "b:80"], scheduler="round_robin")
        leases = [cluster.call(replayable=True).begin() for _ in range(4)]
        assert in_child(lambda: flights(cluster)) == {"a:80": 0, "b:80": 0}
        assert flights(cluster) == {"a:80": 2, "b:80": 2}
        for lease in leases:
            lease.release()
        assert flights(cluster) == {"a:80": 0, "b:80": 0}
    """)


def test_children_draw_different_random_numbers():
    """Workers that were forked from one process must not send in step; a source that was passed in is left alone."""
    run("""
        cluster = Cluster("orders", [f"s{n}:80" for n in range(10)], scheduler="random")
        take(cluster, 5)
        runs = [tuple(in_child(lambda: take(cluster, 12))) for _ in range(4)]
        assert len(set(runs)) == 4, runs
        seeded = Cluster("orders", [f"s{n}:80" for n in range(10)], scheduler="random", rng=Random(1))
        take(seeded, 5)
        assert len({tuple(in_child(lambda: take(seeded, 12))) for _ in range(3)}) == 1
    """)


def test_children_do_not_begin_round_robin_at_the_same_endpoint():
    """Eight children of one parent over fifty endpoints: all at one place is practically impossible by chance."""
    run("""
        cluster = Cluster("orders", [f"s{n}:80" for n in range(50)], scheduler="round_robin")
        take(cluster, 1)
        assert len({in_child(lambda: take(cluster, 1))[0] for _ in range(8)}) > 1
    """)


def test_locks_work_in_the_child_although_threads_were_busy_in_the_parent():
    """Twenty forks while four threads pick, open clusters and read statistics without a pause."""
    run("""
        cluster = Cluster("orders", [f"s{n}:80" for n in range(30)])
        stop = threading.Event()

        def work():
            while not stop.is_set():
                take(cluster, 3)
                cluster.stats()
                fresh = Cluster("other", ["a:80"])
                fresh.open()
                fresh.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                def child():
                    cluster.open()
                    assert Cluster("new", ["a:80"]).open() is None
                    return len(take(cluster, 50))
                assert in_child(child) == 50
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert set(flights(cluster).values()) == {0}
    """)


def test_leases_of_the_parent_that_go_in_the_child_disturb_nothing():
    """Dropped, released or failed: no count, no circuit and no warning of the child changes."""
    run("""
        cluster = Cluster("orders", ["a:80", "b:80"], scheduler="round_robin", breaker=CircuitBreaker(failures=1))
        leases = [cluster.call(replayable=True).begin() for _ in range(6)]

        def child():
            mine = cluster.call(replayable=True).begin()
            leases.pop().release()
            leases.pop().release(Outcome(Result.UNREACHABLE))
            leases.clear()
            gc.collect()
            take(cluster, 4)
            stats = cluster.stats()
            assert stats.abandoned == 0
            assert {one.state for one in stats.endpoints} == {"ready"}
            assert sum(one.in_flight for one in stats.endpoints) == 1
            mine.release()
            return flights(cluster)

        assert in_child(child) == {"a:80": 0, "b:80": 0}
        assert sum(flights(cluster).values()) == 6
        for lease in leases:
            lease.release()
    """)


def test_the_child_keeps_what_was_learned():
    """Weights, drains, open circuits and statistics are facts about the endpoints, not about the process."""
    run("""
        breaker = CircuitBreaker(failures=1, open_s=60, open_max_s=60)
        cluster = Cluster("orders", ["a:80", "b:80", "c:80"], breaker=breaker)
        cluster.drain("b:80")
        lease = cluster.balancer.acquire(PickInfo(tried=("c:80",)))
        lease.release(Outcome(Result.UNREACHABLE))
        states = lambda: [one.state for one in cluster.stats().endpoints]
        assert states() == ["open", "draining", "ready"]
        assert in_child(states) == ["open", "draining", "ready"]
        assert in_child(lambda: take(cluster, 5)) == ["c"] * 5
    """)


def test_a_trial_that_the_parent_holds_is_given_out_again_in_the_child():
    """The child will never hear how the parent's trial ended."""
    run("""
        now = [0.0]
        cluster = Cluster("orders", ["a:80", "b:80"], breaker=CircuitBreaker(failures=1), clock=lambda: now[0])
        cluster.open()
        cluster.balancer.acquire(PickInfo(tried=("b:80",))).release(Outcome(Result.UNREACHABLE))
        now[0] = 5.0
        trial = cluster.call(replayable=True).begin()
        assert trial.endpoint.host == "a" and trial.probe

        def child():
            now[0] = 6.0
            return take(cluster, 1)

        assert in_child(child) == ["a"]
        assert take(cluster, 3) == ["b"] * 3
        trial.release()
    """)


def test_a_cluster_that_is_gone_is_forgotten():
    """Registering for forks keeps nothing alive."""
    run("""
        import weakref
        from lbkit.runtime import fork
        cluster = Cluster("orders", ["a:80"])
        cluster.open()
        gone = weakref.ref(cluster)
        del cluster
        gc.collect()
        assert gone() is None
        assert not list(fork._registered)
        assert in_child(lambda: 5) == 5
    """)


FOLLOWED = """
    import time
    from lbkit.discovery.base import Found, Run

    class Growing:  # says one endpoint more with each answer, in each process
        def watch(self, rng):
            self.count = 0
            return self
        def query(self, now):
            return Run(lambda: None)
        def answer(self, reply, now):
            self.count += 1
            return Found(tuple(Endpoint(host=f"h{number}", port=80) for number in range(self.count)), 0.02)
        def failed(self, now):
            pass

    def known(cluster, count):
        end = time.monotonic() + 10.0
        while len(cluster.stats().endpoints) != count and time.monotonic() < end:
            time.sleep(0.002)
        return len(cluster.stats().endpoints)
"""


def test_a_child_follows_the_sources_itself_from_its_next_use_on():
    """Until then it has what the parent knew; the parent goes on; each closes its own."""
    run(
        textwrap.dedent(FOLLOWED)
        + textwrap.dedent("""
        with Cluster("orders", Growing()) as cluster:
            assert known(cluster, 3) == 3

            def child():
                before = len(cluster.stats().endpoints)
                assert threading.active_count() == 1
                cluster.open()
                after = known(cluster, before + 2)
                cluster.close()
                return before, after - before, threading.active_count()

            before, more, threads = in_child(child)
            assert before >= 3 and more == 2
            assert known(cluster, before + 5) == before + 5
    """)
    )


def test_children_forked_while_sources_are_followed_come_up():
    """Twenty forks at any moment of the engine: no lock is copied in a state that nobody ends."""
    run(
        textwrap.dedent(FOLLOWED)
        + textwrap.dedent("""
        clusters = [Cluster(f"c{number}", Growing()) for number in range(5)]
        for cluster in clusters:
            cluster.open()

        def child():
            for cluster in clusters:
                cluster.wait_ready(10.0)
                cluster.close()
            return True

        for _ in range(20):
            assert in_child(child)
            time.sleep(0.003)
        for cluster in clusters:
            cluster.close()
    """)
    )


def test_forks_while_other_threads_open_clusters_do_not_deadlock():
    """A cluster's lock is taken before the engine's, also by the fork."""
    run(
        textwrap.dedent(FOLLOWED)
        + textwrap.dedent("""
        stop = False

        def open_and_close():
            while not stop:
                with Cluster("orders", Growing()):
                    pass

        threads = [threading.Thread(target=open_and_close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            assert in_child(lambda: 5) == 5
        stop = True
        for thread in threads:
            thread.join()
    """)
    )


def test_a_child_that_closes_waits_for_nothing():
    """What goes on in the background is the parent's and never ends in the child, which waited in vain for a second."""
    run("""
        cluster = Cluster("orders", Callback(lambda: ["a:80"]))
        cluster.wait_ready()
        job = cluster._following.job

        def child():
            cluster.close()
            return job.ended.is_set()

        assert in_child(child)
        assert not job.ended.is_set()
        cluster.close()
    """)
