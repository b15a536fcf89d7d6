"""`python -m lbkit demo` keeps its promises: real processes, real faults, and nothing left behind."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import pytest

from lbkit.__main__ import main
from lbkit._demo.faults import Kind, script, steps
from lbkit._demo.traffic import percentile
from tests.rigs.ports import eventually
from tests.rigs.process import process_state

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
DEMO = [sys.executable, "-m", "lbkit", "demo"]


class Demo:
    """A demo in a process of its own, whose descendants are known by a mark in their environment."""

    def __init__(self, *options, command=DEMO, **more):
        self.mark = f"LBKIT_TEST_DEMO={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        env = {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "LINES")}
        env |= {name: value, "PYTHONWARNINGS": "error", "TERM": "xterm"}
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        self.process = subprocess.Popen([*command, *options], env=env, **more)

    def replicas(self):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return [pid for pid in found if pid != self.process.pid]

    def read_until(self, text):
        lines = []
        while line := self.process.stdout.readline().decode():
            lines.append(line)
            if text in line:
                return
        pytest.fail(f"the demo ended without {text!r}: {''.join(lines)}")

    def finish(self):
        out, error = ("" if stream is None else stream.decode() for stream in self.process.communicate(timeout=60))
        return self.process.returncode, out, error

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


def test_an_application_with_lbkit_sees_no_failure_where_dns_round_robin_sees_many():
    """A whole run for machines: exit 0, one JSON object, each kind of fault done and undone, no process left."""
    with Demo("--seconds", "6", "--json") as demo:
        code, out, error = demo.finish()
        assert error == ""
        result = json.loads(out)
        assert (code, result["exit"], result["failures"]) == (0, 0, {}), result["notes"]
        mine, other = result["clients"]["lbkit"], result["clients"]["dns_round_robin"]
        assert mine["failed"] == 0
        assert other["failed"] > 0
        assert mine["requests"] > 100
        assert abs(mine["requests"] - other["requests"]) <= 1
        assert mine["extra_attempts"] > 0
        assert {fault["kind"] for fault in result["faults"]} == {"killed", "frozen", "slow"}
        assert all(fault["ended_s"] > fault["began_s"] for fault in result["faults"])
        assert not demo.replicas()


@linux
def test_ctrl_c_ends_the_demo_with_a_summary_and_leaves_no_process():
    """Interrupted while a replica is frozen: exit 130, what was seen so far, no traceback, even the frozen one gone."""
    with Demo("--seconds", "10", "--replicas", "3") as demo:
        demo.read_until("is frozen")
        replicas = demo.replicas()
        assert "T" in {process_state(pid) for pid in replicas}
        demo.process.send_signal(signal.SIGINT)
        code, out, error = demo.finish()
        assert (code, error) == (130, "")
        assert "Ended early" in out
        assert re.search(r"^DNS round robin +\d+ ", out, re.MULTILINE)
        assert not demo.replicas()


@linux
def test_replicas_end_with_a_demo_that_is_killed():
    """SIGKILL leaves the demo no time to clean up, and yet no replica outlives it, frozen or not."""
    with Demo("--seconds", "10", "--replicas", "3") as demo:
        demo.read_until("is frozen")
        assert len(demo.replicas()) == 2  # the first was killed
        demo.process.kill()
        eventually(lambda: not demo.replicas())


def test_a_failed_request_makes_the_exit_code_1():
    """Without retries the application sees failures, and the demo says so to the shell and in words."""
    code = """
import sys
import lbkit, lbkit._demo.settings as settings
settings.RETRY = lbkit.RetryPolicy(attempts=1, per_try_timeout=0.25)
from lbkit.__main__ import main
sys.exit(main(["demo", "--seconds", "5"]))
"""
    with Demo(command=[sys.executable, "-c", code]) as demo:
        code, out, error = demo.finish()
    assert (code, error) == (1, "")
    assert re.search(r"With lbkit: \d+ of \d+ requests failed", out)
    assert "Failure: " in out


def test_the_live_view_fits_80_columns_and_ends_with_the_comparison():
    """On a terminal the table is redrawn, and the last thing on the screen is the comparison and what was seen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with Demo("--seconds", "5", "--replicas", "2", stdin=slave, stdout=slave) as demo:
        os.close(slave)
        screen = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while data := os.read(master, 65536):
                screen += data
        os.close(master)
        code, _, error = demo.finish()
    assert (code, error) == (0, "")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    assert max(len(line) for line in lines) <= 80
    assert text.count("done by the demo") > 5
    ending = text.rpartition("Ctrl-C ends it")[2]
    table, _, words = ending.partition("With lbkit: no failed request; behind DNS round robin: ")
    assert re.search(r"lbkit +\d+ +0 .*\n *DNS round robin +\d+ +[1-9]", table.replace("\r", ""))
    assert "r2 was killed at" in words
    assert "r1 was frozen at" in words
    assert "r2 was slowed (x20) at" in words


def test_without_rich_the_demo_says_what_to_install():
    """The extra is missing: the pip command, and exit 2."""
    code = "import sys; sys.modules['rich'] = None; from lbkit.__main__ import main; sys.exit(main(['demo']))"
    with Demo(command=[sys.executable, "-c", code]) as demo:
        code, out, error = demo.finish()
    assert (code, out) == (2, "")
    assert "python -m pip install 'lbkit-client[demo]'" in error


def test_importing_the_demo_loads_no_third_party_package():
    """`import lbkit._demo` and the command line's help need neither rich nor an HTTP client."""
    code = "import sys, lbkit._demo, lbkit.__main__; print({'rich', 'httpx', 'httpcore', 'anyio'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_no_command_prints_help_with_the_commands(capsys):
    """`python -m lbkit` says what there is."""
    assert main([]) == 0
    assert re.search(r"^ +demo +watch lbkit", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", "4"], "argument --seconds: a number from 5 to 120 is needed, not '4'"),
        (["--seconds", "nan"], "argument --seconds: a number from 5 to 120"),
        (["--replicas", "1"], "argument --replicas: a whole number from 2 to 12"),
        (["--replicas", "2.5"], "argument --replicas: a whole number from 2 to 12"),
        (["--rate", "fast"], "argument --rate: a number from 5 to 300"),
        (["--scheduler", "best"], "argument --scheduler: no scheduler is called 'best'; there are first,"),
        (["--scheduler", "best"], "round_robin"),
        (["--sekonds", "9"], "unrecognized arguments: --sekonds"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_takes(options, message, capsys):
    """Exit 2, and a message that points at the option; a wrong scheduler brings the names of all."""
    with pytest.raises(SystemExit) as caught:
        main(["demo", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_scheduler_is_taken_by_name():
    """`--scheduler round_robin` is what the cluster gets and what the settings show."""
    with Demo("--seconds", "5", "--scheduler", "round_robin") as demo:
        demo.read_until('    scheduler="round_robin",')


@pytest.mark.parametrize("replicas", range(2, 13))
def test_the_script_always_leaves_one_good_replica(replicas):
    """At every moment fewer replicas are in trouble than there are, each kind of fault comes once, all end."""
    faults = script(replicas)
    assert sorted(fault.kind.name for fault in faults) == sorted(kind.name for kind in Kind)
    hurt = set()
    for step in steps(faults):
        (hurt.add if step.begins else hurt.remove)(step.fault.replica)
        assert len(hurt) < replicas
        assert hurt <= set(range(replicas))
        assert 0 < step.at < 0.9
    assert not hurt


def test_percentiles_are_by_nearest_rank():
    """The least value that is not exceeded by at least that part of all, whatever their order."""
    assert percentile([], 0.5) is None
    assert percentile([7], 0.99) == 7
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 102), 0.99) == 100
