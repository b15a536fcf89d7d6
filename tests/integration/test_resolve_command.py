"""`python -m lbkit resolve` as a shell sees it: exit codes, output, Ctrl-C and pipes."""

import json
import os
import signal
import subprocess
import sys

import pytest

RESOLVE = [sys.executable, "-m", "lbkit", "resolve"]
ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "error"}


def resolve(*options):
    done = subprocess.run([*RESOLVE, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def watching(*options):
    return subprocess.Popen(
        [*RESOLVE, *options, "--watch"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_target_with_endpoints_is_a_table_and_exit_code_0():
    """Nothing is on stderr."""
    code, out, error = resolve("static://10.0.0.1:80,[::1]:8080")
    assert (code, error) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["10.0.0.1:80", "[::1]:8080"]


def test_json_is_one_object():
    """For `jq`."""
    code, out, error = resolve("10.0.0.1:80", "--json")
    found = json.loads(out)
    assert (code, error) == (0, "")
    assert [one["endpoint"] for one in found["endpoints"]] == ["10.0.0.1:80"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["10.0.0.1"], "has no port"),
        (["a:80", "--timeout", "never"], "a number from 0 to 3600"),
        (["a:80", "--seconds", "1"], "give both"),
        ([], "TARGET"),
    ],
)
def test_what_is_wrong_with_the_command_is_exit_code_2(options, said):
    """In words, without a traceback."""
    code, out, error = resolve(*options)
    assert (code, out) == (2, "")
    assert said in error and "Traceback" not in error


def test_ctrl_c_ends_a_watch_without_a_word():
    """With the exit code of an interrupted command."""
    with watching("a:80") as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "")


def test_a_reader_that_leaves_is_no_traceback():
    """As with `| head -1`."""
    with watching("a:80", "--seconds", "30") as process:
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(30) in (0, 1)
    assert error == ""
