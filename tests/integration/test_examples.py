"""Every example runs, ends by itself, warns of nothing and says what it is there to show."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

from tests.integration.registries import EXAMPLES, orders_in_consul, orders_in_dns
from tests.rigs.consul import Consul

SHOWS = {
    "asgi_inner.py": r"^answers: \['a for orders', 'b for orders'\]$",
    "attempts_socket.py": r"^blocking: \{b'HELLO\\n'\}\nasync: \{b'HELLO\\n'\}$",
    "circuit_breaker.py": r"^open -> half_open for: time\nhalf_open -> closed for: trial\n\['paid', 'paid'\]$",
    "discovery_callback.py": r"^the inventory fails: \['r0', 'r1', 'r2'\]\nstale: the inventory knows no orders$",
    "discovery_combined.py": r"^merged, all well: \['r0', 'r1'\]\nmerged, the file's are dead: \['r2'\]$",
    "discovery_consul.py": r"^(zone eu-1, weight [12]: \d+ of 100 requests\n){2}source consul://.*: live, 2 endpoints",
    "discovery_dns.py": r"^(127\.0\.0\.\d:\d+ answered 3[34] times\n){3}source dns://.*orders.*: live, 3 endpoints",
    "discovery_file.py": r"^the file is broken: \['r0', 'r1', 'r2'\]\norders.json: line 1, column 16: no JSON",
    "discovery_own.py": r"^after an accident: \['r0', 'r1', 'r2'\]\nthe database says: no such table: replicas$",
    "discovery_pushed.py": r"^the registry has gone: \['r1', 'r2'\]\nit is back: \['r0', 'r1', 'r2'\]$",
    "discovery_srv.py": r"^priority 0, weight 30: 60 of .*\npriority 0, weight 20: 40 of .*\npriority 1, weight 10: 0 of",
    "events_and_stats.py": r"^event: \S+ half_open -> ready",
    "failover_priorities.py": r"^the first tier is gone: \['r2'\]\none is back: \['r0'\]$",
    "own_scheduler.py": r"^quiet: \['r0', 'r1'\]\nbusy: \['r0', 'r1', 'r2'\]$",
    "prefork.py": r"^children ended with \[0, 0, 0\]\nparent, after: 200$",
    "quickstart_async.py": r"^one was killed, the others answer: \['r1', 'r2'\] failed calls: 0$",
    "quickstart_sync.py": r"^(r\d) was killed: 300 answers, 0 from it$",
    "registration.py": r"^it is back\nits block has ended: closed\nnobody is left$",
    "retries_and_deadlines.py": r"^GET may run twice: r1 answered at attempt 2\nPOST may not: ReadTimeout ",
    "streaming_openai_style.py": r"^httpx: in flight during the stream: 1\nhttpx: in flight after it: 0$",
    "testing_with_script.py": r"^asked: \['a:80', 'b:80', 'a:80'\]$",
    "trio_client.py": r"^under trio, 20 answers from \['r0', 'r1'\]$",
}
"""A pattern of each example's output."""


@contextlib.contextmanager
def dns_target():
    with orders_in_dns() as fleet:
        yield [fleet.dns], {}


@contextlib.contextmanager
def srv_target():
    with orders_in_dns() as fleet:
        yield [fleet.srv], {}


@contextlib.contextmanager
def consul_target():
    with orders_in_consul() as fleet:
        yield ["consul://orders?tag=v2"], {"CONSUL_HTTP_ADDR": fleet.consul.url}


@contextlib.contextmanager
def empty_consul():
    with Consul() as consul:
        yield [], {"CONSUL_HTTP_ADDR": consul.url}


NEEDS = {
    "discovery_consul.py": consul_target,
    "discovery_dns.py": dns_target,
    "discovery_srv.py": srv_target,
    "registration.py": empty_consul,
}
"""The servers of those that need some: each gives arguments and environment variables."""

# Warnings of code that runs in finalizers reach no caller: they are printed, and the exit status stays 0.
NOISE = re.compile(r"Traceback|Exception ignored|Warning")


def test_every_example_is_in_the_table():
    """No example is there that nobody runs."""
    assert {path.name for path in EXAMPLES.glob("[a-z]*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", SHOWS)
def test_example_runs_and_shows_its_point(name):
    """It exits with 0 under `-W error`, prints what it promises, and leaves no warning behind."""
    if name == "prefork.py" and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    with NEEDS.get(name, lambda: contextlib.nullcontext(([], {})))() as (arguments, environment):
        done = subprocess.run(
            [sys.executable, "-W", "error", name, *arguments],
            cwd=EXAMPLES,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert not NOISE.search(done.stderr), done.stderr
    assert re.search(SHOWS[name], done.stdout, re.MULTILINE), done.stdout
