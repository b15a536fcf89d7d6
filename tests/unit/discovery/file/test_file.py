"""The file source: its options, its name, and the machine that follows the file."""

import math
import os
from pathlib import Path
from random import Random

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery import File
from lbkit.discovery.file.file import FileRead, ReadFile
from lbkit.discovery.keeper import Keeper, SourceState
from lbkit.errors import ConfigError, DiscoveryError

A, B, C = (Endpoint.parse(f"{name}:80") for name in "abc")
STAMP, LATER = (1, 2, 3, 4), (1, 5, 3, 6)


def ids(found):
    return [one.id for one in found.endpoints]


def test_the_ending_says_the_format_unless_it_is_given():
    """Endings in any case; a Path is as good as a text."""
    assert File("/etc/orders.json").format == "json"
    assert File(Path("/etc/orders.TOML")).format == "toml"
    assert File("/etc/orders", format="toml").format == "toml"
    assert File("/etc/orders.json", format="toml").format == "toml"


def test_a_relative_path_stays_where_it_was_meant(monkeypatch, tmp_path):
    """The process may change its directory later. Two spellings of a path are one source."""
    monkeypatch.chdir(tmp_path)
    one = File("conf/../orders.json")
    monkeypatch.chdir("/")
    assert one.path == os.path.join(tmp_path, "orders.json")
    assert one == File(tmp_path / "orders.json")
    assert hash(one) == hash(File(tmp_path / "orders.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "path is the name of a JSON or TOML file"),
        ({"path": b"/etc/orders.json"}, "path is the name of a JSON or TOML file"),
        ({"path": "/etc/a\0.json"}, "path is the name of a JSON or TOML file"),
        ({"path": 5}, "path is a text or a Path, not 5"),
        ({"path": "/etc/orders.yaml"}, "ends with neither .json nor .toml"),
        ({"path": "/etc/orders"}, "ends with neither .json nor .toml"),
        ({"path": "/etc/orders.json", "format": "yaml"}, 'format is "json" or "toml", not \'yaml\''),
        ({"path": "/etc/orders.json", "every": 0}, "every must be above 0 seconds and finite, not 0"),
        ({"path": "/etc/orders.json", "every": math.inf}, "every must be above 0 seconds and finite"),
        ({"path": "/etc/orders.json", "every": "1"}, "every must be above 0 seconds and finite, not '1'"),
        ({"path": "/etc/orders.json", "every": True}, "every must be above 0 seconds and finite, not True"),
        ({"path": "/etc/orders.json", "empty_grace": -1}, "empty_grace must be at least 0 seconds, or inf, not -1"),
        ({"path": "/etc/orders.json", "empty_grace": math.nan}, "empty_grace must be at least 0 seconds"),
    ],
)
def test_wrong_options_are_refused_at_construction(options, message):
    """The message says what to write."""
    with pytest.raises(ConfigError, match=message):
        File(**options)


def test_a_broken_file_is_looked_at_as_often_as_a_good_one():
    """But no more than twice a second; failed connections make it look at once."""
    assert (File("/a.json").upkeep.retry_first_s, File("/a.json").upkeep.retry_max_s) == (1.0, 1.0)
    assert File("/a.json", every=0.05).upkeep.retry_first_s == 0.5
    assert File("/a.json", empty_grace=3).upkeep.empty_grace == 3
    assert File("/a.json").upkeep.hurry_s == 1.0


def test_its_name_is_a_target():
    """Options stand in it where they are not the defaults."""
    assert str(File("/etc/orders.json")) == "file:///etc/orders.json"
    assert str(File("/etc/what?.json", every=0.5)) == "file:///etc/what%3F.json?every=0.5"
    assert str(File("/etc/o", format="toml", empty_grace=60)) == "file:///etc/o?format=toml&empty_grace=60"


def test_a_file_is_read_once_and_then_looked_at():
    """The stamp of what was read goes with each query; an unchanged file costs no reading."""
    watch = File("/orders.json", every=2.0).watch(Random(1))
    assert watch.query(0.0) == ReadFile("/orders.json", "json", None)
    found = watch.answer(FileRead(STAMP, (A,)), 0.0)
    assert (ids(found), found.ask_again_s, found.problem) == (["a:80"], 2.0, "")
    assert watch.query(2.0) == ReadFile("/orders.json", "json", STAMP)
    assert watch.answer(FileRead(STAMP, None), 2.0).endpoints is found.endpoints
    assert ids(watch.answer(FileRead(LATER, (B,)), 4.0)) == ["b:80"]
    assert watch.query(6.0) == ReadFile("/orders.json", "json", LATER)


def test_a_fresh_file_is_read_again():
    """Its reply has no stamp: a second change in the same instant might look the same."""
    watch = File("/orders.json").watch(Random(1))
    watch.answer(FileRead(None, (A,)), 0.0)
    assert watch.query(1.0).known is None


def test_a_file_that_failed_is_read_again_in_any_case():
    """It is stale with the last good set until it is put right, though it may look as it did."""
    keeper = Keeper(File("/orders.json"), Random(1))
    keeper.answer(FileRead(STAMP, (A,)), 0.0)
    keeper.failed(DiscoveryError("/orders.json: line 1: the file is empty"), 1.0)
    assert (keeper.report.state, keeper.endpoints) == (SourceState.STALE, (A,))
    assert keeper.query(2.0).known is None
    keeper.answer(FileRead(STAMP, (C,)), 2.0)
    assert (keeper.report.state, keeper.endpoints) == (SourceState.LIVE, (C,))


def test_a_file_that_lists_nothing_keeps_the_last_good_set_and_says_so():
    """By default for as long as it does; DI-1."""
    keeper = Keeper(File("/orders.json"), Random(1))
    keeper.answer(FileRead(STAMP, (A,)), 0.0)
    keeper.answer(FileRead(LATER, ()), 1.0)
    keeper.answer(FileRead(LATER, None), 1000.0)
    assert keeper.report.state is SourceState.STALE
    assert keeper.report.problem == "/orders.json lists no endpoint; the last one is kept"
