"""`python -m lbkit resolve` as a shell sees it: exit codes, output, Ctrl-C and pipes."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.rigs.consul import Consul
from tests.rigs.ports import free_port

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


def test_a_file_that_changes_is_told_line_by_line(tmp_path):
    """What came, what is described in another way, and what is wrong with the file."""
    file = tmp_path / "orders.json"
    file.write_text('["10.0.0.1:80"]')
    with watching(f"file:{file}", "--seconds", "60") as process:

        def read_until(text):
            while text not in (line := process.stdout.readline()):
                assert line, f"it ended before {text!r}"
            return line

        read_until("10.0.0.1:80")
        file.write_text('["10.0.0.2:80", {"address": "10.0.0.1:80", "weight": 3}]')
        assert "  + 10.0.0.2:80  weight 1, priority 0" in read_until(" + ")
        assert "  ~ 10.0.0.1:80  weight 1 -> 3" in read_until(" ~ ")
        file.write_text("[")
        assert "live -> stale, 2 endpoints" in read_until(" ! ")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "")


def test_consul_is_asked_as_by_an_application_and_no_token_is_shown(monkeypatch):
    """With its labels; where it answers nothing, or is not there, the reason is told."""
    monkeypatch.setitem(ENVIRONMENT, "CONSUL_HTTP_TOKEN", "a-secret-token")
    with Consul() as consul:
        consul.register("web-1", 8001, Meta={"zone": "eu"}, Weights={"Passing": 5, "Warning": 1})
        where = f"consul://127.0.0.1:{consul.port}"
        nobody = resolve(f"{where}/nobody", "--timeout", "30")
        # The token that the agent does not know is of no account without ACLs.
        code, out, error = resolve(f"{where}/web", "--json", "--timeout", "30")
        [endpoint], [source] = json.loads(out)["endpoints"], json.loads(out)["sources"]
    gone = resolve(f"consul://127.0.0.1:{free_port()}/web", "--timeout", "30")
    assert (code, error, source["state"]) == (0, "", "live")
    assert (endpoint["endpoint"], endpoint["weight"], endpoint["zone"]) == ("127.0.0.1:8001", 5, "eu")
    assert nobody[0] == 1 and "the membership is empty" in nobody[2]
    assert gone[0] == 1 and "Connection refused" in gone[2]
    assert "a-secret-token" not in "".join((out, *nobody[1:], *gone[1:]))


def test_ctrl_c_in_a_query_that_waits_ends_at_once():
    """A blocking query of Consul's goes on for a minute."""
    with Consul() as consul:
        consul.register("web-1", 8001)
        with watching(f"consul://127.0.0.1:{consul.port}/web") as process:
            while "127.0.0.1:8001" not in (line := process.stdout.readline()):
                assert line
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "")


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
