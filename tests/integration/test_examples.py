"""Every example runs, ends by itself, warns of nothing and says what it is there to show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SHOWS = {
    "asgi_inner.py": r"^answers: \['a for orders', 'b for orders'\]$",
    "attempts_socket.py": r"^blocking: \{b'HELLO\\n'\}\nasync: \{b'HELLO\\n'\}$",
    "events_and_stats.py": r"^event: \S+ half_open -> ready",
    "failover_priorities.py": r"^the first tier is gone: \['r2'\]\none is back: \['r0'\]$",
    "own_scheduler.py": r"^quiet: \['r0', 'r1'\]\nbusy: \['r0', 'r1', 'r2'\]$",
    "prefork.py": r"^children ended with \[0, 0, 0\]\nparent, after: 200$",
    "quickstart_async.py": r"^one was killed, the others answer: \['r1', 'r2'\] failed calls: 0$",
    "quickstart_sync.py": r"^(r\d) was killed: 300 answers, 0 from it$",
    "retries_and_deadlines.py": r"^GET may run twice: r1 answered at attempt 2\nPOST may not: ReadTimeout ",
    "streaming_openai_style.py": r"^httpx: in flight during the stream: 1\nhttpx: in flight after it: 0$",
    "testing_with_script.py": r"^asked: \['a:80', 'b:80', 'a:80'\]$",
    "trio_client.py": r"^under trio, 20 answers from \['r0', 'r1'\]$",
}
"""A pattern of each example's output."""

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
    done = subprocess.run(
        [sys.executable, "-W", "error", name], cwd=EXAMPLES, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not NOISE.search(done.stderr), done.stderr
    assert re.search(SHOWS[name], done.stdout, re.MULTILINE), done.stdout
