"""Target strings: one text that says where endpoints come from, in the habits of gRPC.

    orders-1:8080,orders-2:8080          a list; also http://host, https://host:8443, [::1]:8080
    static://a:80,b:80                   the same, said aloud
    unix:/run/orders.sock                a unix socket
    dns://orders.internal:8080           all addresses of a name; dns://10.0.0.53/orders.internal:8080 asks that server
    dns+srv://_http._tcp.orders.example  what SRV records say
    consul://orders?tag=v2               healthy instances; consul://agent/orders or consul+https:// asks that agent
    consul+query://orders-nearby         what a prepared query of Consul finds
    file:///etc/orders.json              what a file lists; file:orders.toml for a relative path
    env:ORDERS_TARGET                    the target that this environment variable holds

Options follow as `?name=value&name=value`; the ones that may be repeated become lists.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.base import Combination, Discovery, Source
from lbkit.discovery.file.file import File
from lbkit.discovery.static import Static
from lbkit.discovery.target.names import NAMES, address_of
from lbkit.discovery.target.options import Known, build, number, refuse_options, text
from lbkit.discovery.target.text import Piece, TargetText, check_characters, cut, may_hold_credentials, scheme_of, wrong
from lbkit.errors import ConfigError

_FILE: Known = {"format": ("format", text), "every": ("every", number), "empty_grace": ("empty_grace", number)}

_PATH = re.compile(r"\.{0,2}/|[^:/]*\.(json|toml)(\?|\Z)")
"""What a list of endpoints has no use for, and a path to a file begins with or ends in."""


def as_discovery(value: Any) -> Discovery:
    """Return what a value says of where endpoints come from.

    Args:
        value: A source, a combination, a target string, an `Endpoint`, or a list of endpoints.

    Raises:
        ConfigError: It is none of these; the text says what to write.
    """
    if isinstance(value, type):
        raise ConfigError(f"a discovery is an object, such as {value.__name__}(...), not the class itself")
    if isinstance(value, Source | Combination):
        return value
    if isinstance(value, str):
        return parse_target(value)
    if isinstance(value, Endpoint):
        return Static(value)
    if isinstance(value, list | tuple):
        return Static(*value)
    hint = "; for a function write Callback(function)" if callable(value) else ""
    # What else it is may hold credentials.
    what = repr(value) if value is None or isinstance(value, int) else type(value).__name__
    raise ConfigError(
        f"a discovery is a target such as 'dns://orders:8080', a list of endpoints or a source, not {what}{hint}"
    )


def parse_target(target: str, *, environment: Mapping[str, str] = os.environ) -> Discovery:
    """Read a target string.

    Args:
        target: `scheme://...?option=value`; the text of this module lists the schemes, and an error those and their
            options.
        environment: Where `env:` looks.

    Raises:
        ConfigError: It cannot be read; the text says why and shows the target with the wrong part marked. It never
            shows credentials, which do not belong in a target.
    """
    if not isinstance(target, str):
        raise ConfigError(f"a target is a text such as 'dns://orders:8080', not {type(target).__name__}")
    if not target:
        raise ConfigError("a target is a text such as 'dns://orders:8080' or '10.0.0.1:8080', not an empty one")
    if target[0] in "\"'":
        raise ConfigError("a target stands without quotes: leave them out")
    variable = re.fullmatch(r"\$(\w+)|\$\{(\w+)\}", target, re.ASCII)
    if variable is not None:
        raise ConfigError(f"nothing replaces a '$' in a target: write env:{variable[1] or variable[2]}")
    check_characters(target)
    scheme = scheme_of(target)
    if scheme == "env":
        return _env(cut(target), environment)
    if scheme in _SCHEMES:
        return _SCHEMES[scheme](cut(target))
    if scheme in ("", "http", "https"):
        return _bare(target)
    if not target.startswith("//", len(scheme) + 1):  # such as orders:http
        return _bare(target)
    known = sorted({*_SCHEMES, "env", "http", "https"})
    close = difflib.get_close_matches(scheme, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise wrong(target, f"there is no scheme {scheme!r}{hint} Known: {', '.join(known)}", Piece("", 0, len(scheme)))


def _env(target: TargetText, environment: Mapping[str, str]) -> Discovery:
    name = target.name if target.name is not None and target.name.text else target.authority
    if name is None or not name.text:
        raise target.wrong("an env target names an environment variable: env:ORDERS_TARGET", target.name)
    refuse_options(target)
    value = environment.get(name.text, "")
    if not value:
        state = "is empty" if name.text in environment else "is not set"
        raise target.wrong(f"the environment variable {name.text} {state}", name)
    if scheme_of(value) == "env":
        raise target.wrong(
            f"the environment variable {name.text} holds another env target, which is not followed", name
        )
    try:
        return parse_target(value, environment=environment)
    except ConfigError as error:
        raise ConfigError(f"in the environment variable {name.text}: {error}") from None


def _bare(target: str) -> Discovery:
    return _list(target, Piece(target, 0, len(target)).split(target), decode=False)


def _static(target: TargetText) -> Discovery:
    start = next((one.start for one in (target.authority, target.name) if one is not None and one.start < one.end), 0)
    end = target.name.end if target.name is not None else target.authority.end if target.authority is not None else 0
    if not start:
        raise target.wrong("a static target lists endpoints: static://10.0.0.1:80,10.0.0.2:80", target.name)
    refuse_options(target)
    return _list(target.text, Piece("", start, end).split(target.text), decode=True)


def _list(target: str, pieces: list[Piece], *, decode: bool) -> Discovery:
    seen: dict[str, Piece] = {}
    endpoints = []
    for piece in pieces:
        said = piece.text if decode else target[piece.start : piece.end]
        if not said:
            raise wrong(target, "there is an empty place in the list of endpoints", piece)
        if _PATH.match(said) and not decode:
            raise wrong(target, _of_path(target, said), piece)
        try:
            endpoint = Endpoint.parse(said)
        except ConfigError as error:
            named = "has no port" in str(error) and not address_of(said)
            hint = f", or dns://{said}:8080 to look the name up" if named else ""
            raise wrong(target, f"{error}{hint}", piece) from None
        if endpoint.id in seen:
            raise wrong(target, f"{endpoint.id} is given twice", seen[endpoint.id], piece)
        seen[endpoint.id] = piece
        endpoints.append(endpoint)
    return Static(*endpoints)


def _of_path(target: str, path: str) -> str:
    """Say how a path is written as a target."""
    path = "PATH" if may_hold_credentials(target) else path
    if path.endswith(".sock"):
        return f"a path alone is no target: for a unix socket write unix:{path}"
    ending = "" if re.search(r"\.(json|toml)(\?|\Z)", path) else f"{'&' if '?' in path else '?'}format=json"
    return f"a path alone is no target: for a file write file:{path}{ending}"


def _unix(target: TargetText) -> Discovery:
    path = _path(target, "unix:/run/orders.sock")
    refuse_options(target)
    return Static(Endpoint(path=path))


def _file(target: TargetText) -> Discovery:
    path = _path(target, "file:///etc/orders.json, or file:orders.json for a relative path")
    return build(target, {"": target.name}, File, _FILE, path)


def _path(target: TargetText, example: str) -> str:
    name, authority = target.name, target.authority
    if authority is not None and authority.text not in ("", "localhost"):
        raise target.wrong(
            f"between // and / there is no host for a {target.scheme} target: write {example}", authority
        )
    if name is None or not name.text:
        raise target.wrong(f"a {target.scheme} target names a path: {example}", name)
    return name.text if authority is None else f"/{name.text}"


_SCHEMES: dict[str, Callable[[TargetText], Discovery]] = {
    "static": _static,
    "unix": _unix,
    "file": _file,
    **NAMES,
}
