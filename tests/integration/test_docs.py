"""The documentation runs, its links lead somewhere, and it names every public name.

Convention: blocks that begin with three backticks and `python` run, in order, in one process per file. A block of
`python no-run` does not run, and is in `NOT_RUN` with the reason. The code stands at its own line numbers, so a
traceback names the line of the page. A block `$ python -m lbkit resolve file:...` is what that command prints in the
page's directory after the page's code. A file with the comment `prelude: NAME` finds something there, see `PRELUDES`.
"""

import inspect
import re
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

import lbkit
import lbkit.discovery
import lbkit.events
import lbkit.health
import lbkit.scheduler
import lbkit.testing
from lbkit._http.options import DEFAULTS
from tests.rigs.consul import consul_binary
from tests.rigs.knot import require

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(.*)$")

_REGISTRY = (
    f"import sys, atexit, contextlib; sys.path.insert(0, {str(ROOT)!r}); from tests.integration import registries; "
    "_stack = contextlib.ExitStack(); "
)
PRELUDES = {
    "replicas": f"import sys; sys.path.insert(0, {str(ROOT / 'examples')!r}); from _replicas import Replica; "
    "_replicas = [Replica('r0'), Replica('r1')]; a, b = (one.address for one in _replicas)",
    "dns": _REGISTRY + "fleet = _stack.enter_context(registries.orders_in_dns()); atexit.register(_stack.close); "
    "nameserver, port, replicas, publish = fleet.knot.nameserver, fleet.port, fleet.replicas, fleet.publish",
    "round robin": "registries.round_robin(fleet)",
    "consul": _REGISTRY + "fleet = _stack.enter_context(registries.orders_in_consul()); "
    "atexit.register(_stack.close); "
    "consul, replicas = fleet.consul, fleet.replicas; import os; os.environ['CONSUL_HTTP_ADDR'] = fleet.consul.url",
}
"""What a page finds: addresses of replicas in `a` and `b`; a DNS server and replicas; the system's resolver asking that
server; an agent of Consul, and replicas."""

REQUIRES = {"dns": lambda: require("knotd"), "consul": consul_binary}
"""Programs without which a page cannot run."""

NOT_RUN = {
    "README.md": [
        "10.0.0.1 to 10.0.0.3 do not exist here; the tutorial runs the same on loopback",
        "`return` outside a function, and fetch() is the reader's",
    ],
    "howto-httpx.md": [
        "the vendor's package is not a dependency",
        "httpx-aiohttp is not a dependency",
        "the extra httpx2 is optional, and the next blocks would use its names",
    ],
    "anything-else.md": ["psycopg is not a dependency"],
}
"""For each page, why each of its `no-run` blocks does not run, in order."""

PRINTS = {
    "tutorial.md": [
        r"^http://orders/v1/orders/42$",
        r"^orders: 201 calls, 201 attempts, 0 failures",
        r"^orders: 401 calls, ",
        r"^\['ready', 'ready'\]$",
        r"^503 3$",
        r"^POST: 1\nwith an Idempotency-Key: 3\nwith your word for it: 3$",
        r"^ConnectError lbkit: 3 attempts: ",
        r"^attempt 1 failed at \S+: ConnectError$",
        r"^\S+ is open: ConnectError$",
    ],
    "concepts.md": [r"^orders: 1 endpoint, 1 draining\n\{'draining': 1\}$"],
    "howto-httpx.md": [r"^in flight: 1\nin flight: 0$", r"^tea$"],
    "schedulers.md": [r"^eu-1$"],
    "anything-else.md": [r"^b'HELLO\\n'\nb'HELLO\\n'\nb'HELLO\\n'\nall of them are busy$"],
    "observability.md": [
        r"^live 2 True True ''$",
        r"^live -> stale No such file or directory$",
        r"^orders \S+ ready draining drain\norders \S+ draining ready restore$",
        r"^lbkit_in_flight\{",
    ],
    "testing.md": [r"^\['a:80', 'b:80'\]\n\['a:80'\] True$", r"^503\n\['a:80', 'b:80', 'a:80'\]$", r"^tea\ntea\n1$"],
}
"""What a page's code must print, where its text says so."""


EXACT = {"coming-from.md", "howto-breaker.md", "howto-consul.md", "howto-discovery.md"}
"""Pages whose code prints nothing but what the page shows after it."""


def blocks(page):
    """Yield each fenced block: its info string, the number of its first line, its lines."""
    info = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and info is None:
            info, start, body = fence[1].strip(), number + 1, []
        elif fence:
            yield info, start, body
            info = None
        elif info is not None:
            body.append(line)
    assert info is None, f"{page.name}: a block is not closed"


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_the_page_runs(page, tmp_path):
    """All runnable blocks of a page run in order under `-W error`, and print what the page says."""
    runnable = [(start, body) for info, start, body in blocks(page) if info == "python"]
    if not runnable:
        pytest.skip("no runnable code")
    lines = [""] * len(page.read_text().splitlines())
    preludes = re.findall(r"^<!-- prelude: ([\w ]+) -->$", page.read_text(), re.MULTILINE)
    for name in preludes:
        REQUIRES.get(name, lambda: None)()
    lines[0] = "; ".join(PRELUDES[name] for name in preludes)
    for start, body in runnable:
        lines[start - 1 : start - 1 + len(body)] = body
    program = tmp_path / page.with_suffix(".py").name
    program.write_text("\n".join(lines))
    # A page lets go of a client where the next snippet makes another; a program closes it.
    command = [sys.executable, "-W", "error", "-W", "ignore:unclosed <socket:ResourceWarning", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    for pattern in PRINTS.get(page.name, []):
        assert re.search(pattern, done.stdout, re.MULTILINE), (pattern, done.stdout)
    if page.name in EXACT:
        said = [plain("\n".join(body), tmp_path) for body in outputs(page)]
        assert plain(done.stdout, tmp_path) == "\n".join(said)
    for command, output in commands(page):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert plain(done.stdout, tmp_path) == plain(output, tmp_path), done.stderr


def outputs(page):
    """Yield the `text` blocks that come next after runnable code: what it prints."""
    before = ""
    for info, _, body in blocks(page):
        if info == "text" and before == "python" and not body[0].startswith("$"):
            yield body
        before = info


def commands(page):
    """Yield the commands that a page shows and that need no server, and what they print."""
    for _, _, body in blocks(page):
        if body and body[0].startswith("$ python -m lbkit resolve file:"):
            yield [sys.executable, *body[0].split()[2:]], "\n".join(body[1:])


def plain(text, directory):
    """Return an output without what differs from run to run."""
    text = re.sub(r"\d+\.\d+ s", "0.0 s", text.replace(str(directory), "/srv/app"))
    return re.sub(r" +", " ", text).strip()


def test_blocks_that_do_not_run_have_a_reason():
    """Every `no-run` block is in the list, and the list has no others; no other spelling hides a block."""
    skipped = {}
    for page in PAGES:
        for info, start, _ in blocks(page):
            assert info in {"", "text", "python", "python no-run"}, f"{page.name}:{start}: {info}"
            if info == "python no-run":
                skipped.setdefault(page.name, []).append(start)
    assert {name: len(starts) for name, starts in skipped.items()} == {
        name: len(reasons) for name, reasons in NOT_RUN.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Relative links name files that exist, and anchors that the file has."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name}: {target}; it has {sorted(anchors(linked))}"


def test_every_page_can_be_reached_from_the_index():
    """The index links to every page beside it."""
    index = ROOT / "docs" / "index.md"
    linked = set(re.findall(r"\]\(([\w-]+\.md)", index.read_text()))
    assert {page.name for page in PAGES if page.parent == index.parent} - {"index.md"} <= linked


@pytest.mark.parametrize(
    "module", [lbkit, lbkit.discovery, lbkit.events, lbkit.testing], ids=lambda module: module.__name__
)
def test_every_public_name_is_documented(module):
    """Each name of `__all__` is somewhere in the documentation, as code."""
    text = "\n".join(page.read_text() for page in PAGES if page.parent.name == "docs")
    code = " ".join(re.findall(r"`([^`\n]+)`", text)) + "\n".join("\n".join(body) for *_, body in code_blocks())
    words = set(re.findall(r"\w+", code))
    assert set(module.__all__) - words - {"Listener", "Step"} == set()  # names for type annotations only


def code_blocks():
    """Return the blocks of all pages under docs."""
    return [block for page in PAGES if page.parent.name == "docs" for block in blocks(page)]


def rows():
    """Return the names and values of the table rows of defaults.md."""
    text = (ROOT / "docs" / "defaults.md").read_text()
    return dict(re.findall(r"^\| `([\w.]+)` \| ([^|]+?) \|", text, flags=re.MULTILINE))


def discovery_defaults():
    """Return the defaults of the sources and of registration; twins have the same ones, which are listed once."""
    found = {"Cluster.start_timeout": inspect.signature(lbkit.Cluster).parameters["start_timeout"].default}
    found["Subset.seed"] = inspect.signature(lbkit.Subset).parameters["seed"].default
    options = inspect.signature(lbkit.discovery.registration).parameters.values()
    found |= {f"registration.{one.name}": one.default for one in options if one.default is not one.empty}
    names = "Upkeep Run Dns DnsSrv Consul ConsulQuery File Callback TtlCheck HttpCheck TcpCheck"
    for config in (getattr(lbkit.discovery, name) for name in names.split()):
        listed = {"DnsSrv": "Dns", "ConsulQuery": "Consul"}.get(config.__name__)
        for one in fields(config):
            if not one.init or one.default is MISSING:
                continue
            if listed and f"{listed}.{one.name}" in found:
                assert found[f"{listed}.{one.name}"] == one.default, (config, one.name)
            else:
                found[f"{config.__name__}.{one.name}"] = one.default
    return found


def test_defaults_are_those_of_the_code():
    """Every row `Class.option` or transport option has the value of the code, and no option is missing."""
    configs = [lbkit.RetryPolicy, lbkit.RetryBudget, lbkit.CircuitBreaker, lbkit.Wait]
    configs += [getattr(lbkit.scheduler, name) for name in ("ShortestExpectedDelay", "PeakEwma", "LeastRequest")]
    configs += [lbkit.scheduler.RoundRobin, lbkit.scheduler.First, lbkit.OutlierDetection]
    configs += [lbkit.health.Streak, lbkit.health.SuccessRate, lbkit.health.FailureRate, lbkit.health.SlowRate]
    expected = {f"{config.__name__}.{one.name}": one.default for config in configs for one in fields(config)}
    expected["RetryPolicy.CAP_S"] = lbkit.RetryPolicy.CAP_S
    expected |= discovery_defaults()
    for name in ("weight", "priority"):
        expected[f"Endpoint.{name}"] = next(one.default for one in fields(lbkit.Endpoint) if one.name == name)
    expected |= DEFAULTS
    written = {name: as_written(value) for name, value in expected.items() if value is not MISSING}
    assert rows() == written


def as_written(value):
    """Return how the tables write a default; of a config within a config they say that it has its own defaults."""
    if isinstance(value, frozenset):
        return ", ".join(str(one) for one in sorted(value))
    return f"{type(value).__name__}()" if is_dataclass(value) and value == type(value)() else str(value)
