"""What the library may load, how it is layered, and how long its files are: checked on the files themselves."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lbkit

ROOT = Path(lbkit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FLOORS_1_TO_3 = ["errors.py", "core", "scheduler", "health", "breaker", "discovery"]
FLOORS_1_TO_4 = [*FLOORS_1_TO_3, "retry", "balancer", "events.py"]


def files(parts):
    """Return the files of some floors."""
    found = [
        file for part in parts for file in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))
    ]
    assert len(found) >= len(parts)
    return found


def imported(file):
    """Return the modules that a file imports, wherever the statement stands; what only type checkers read loads none."""
    names, tree = set(), ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return names


def modules_after(statement):
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys, json\nbefore = set(sys.modules)\n{statement}\nprint(json.dumps([*set(sys.modules) - before]))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {name.partition(".")[0] for name in json.loads(output)}


def test_importing_lbkit_loads_nothing_that_is_not_of_the_standard_library():
    """`import lbkit` is cheap and works alone: its public names load what they need when they are used."""
    assert modules_after("import lbkit") - set(sys.stdlib_module_names) == {"lbkit"}


def test_the_deciding_floors_load_nothing_that_is_not_of_the_standard_library():
    """A balancer decides with nothing installed."""
    loaded = modules_after("import lbkit.balancer.call, lbkit.events, lbkit.discovery")
    assert loaded - set(sys.stdlib_module_names) == {"lbkit"}


@pytest.mark.parametrize("file", files(FLOORS_1_TO_4), ids=lambda file: str(file.relative_to(ROOT)))
def test_floors_1_to_4_import_the_standard_library_alone(file):
    """No statement, not even inside a function, names a third-party package or a floor above."""
    allowed = set(sys.stdlib_module_names) | {"lbkit"}
    assert {name.partition(".")[0] for name in imported(file)} <= allowed
    above = ("lbkit.runtime", "lbkit._http", "lbkit.httpx", "lbkit.httpx2")
    assert not [name for name in imported(file) if name.startswith(above)]


@pytest.mark.parametrize("file", files(FLOORS_1_TO_3), ids=lambda file: str(file.relative_to(ROOT)))
def test_floors_1_to_3_have_no_clock_no_threads_and_no_input_or_output(file):
    """State machines take the time as an argument and cannot wait, so they can be tested without either."""
    assert not imported(file) & {"time", "threading", "socket", "asyncio", "select", "ssl", "logging"}
    # A config may say what it is in the environment and how a path is spelled; it opens nothing.
    of_os = {
        node.attr
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert of_os <= {"PathLike", "environ", "fspath", "getpid", "path", "urandom"}
    assert not of_os or file.parent.name == "discovery" or file.parent.parent.name == "discovery"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_is_longer_than_350_lines(file):
    """A file holds one idea and is read in one go."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 350


def test_all_public_names_resolve():
    """Whatever a package promises in `__all__` is there."""
    for file in FILES:
        module_name = ".".join(("lbkit", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        if "__all__" not in file.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(module_name)
        assert len(set(module.__all__)) == len(module.__all__), module_name
        for name in module.__all__:
            assert getattr(module, name) is not None, f"{module_name}.{name}"


def test_the_root_names_come_from_where_type_checkers_look_for_them():
    """`lbkit.X` is the same object as in its home module, and unknown names raise AttributeError."""
    for name in lbkit.__all__:
        assert getattr(lbkit, name) is getattr(importlib.import_module(lbkit._HOMES[name]), name)
        assert name in dir(lbkit)
    assert sorted(lbkit._HOMES) == lbkit.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = lbkit.Nonsense
