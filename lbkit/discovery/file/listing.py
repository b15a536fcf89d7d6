"""Reads a written list of endpoints, JSON or TOML, and says what is wrong with it and where.

A list of targets, or an object with "endpoints". Each is a text such as "10.0.0.1:8080" or an object with `address`,
or `host` and `port`, and what else an `Endpoint` has. Nothing unknown is accepted: a typo must not drop a weight.

    {"endpoints": ["10.0.0.1:8080", {"address": "10.0.0.2:8080", "weight": 2, "zone": "eu-1"}]}
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.file.position import line_in_json, line_in_toml
from lbkit.errors import ConfigError, DiscoveryError

ENDPOINTS = "endpoints"
FORMATS = ("json", "toml")
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "address": (str, "a text such as '10.0.0.1:8080'"),
    "host": (str, "a text"),
    "port": (int, "a whole number from 1 to 65535"),
    "weight": ((int, float), "a number"),
    "priority": (int, "a whole number, at least 0"),
    "zone": (str, "a text"),
    "server_name": (str, "a text"),
    "metadata": (dict, "an object of texts"),
}
_ADDRESS = ("address", "host", "port")
_TOML_PLACE = re.compile(r"\s*\(at (line (\d+), column \d+|end of document)\)$")


class _Wrong(Exception):  # noqa: N818 - never seen by anybody
    """What is wrong, and the way to it: keys and indexes from the root."""

    def __init__(self, way: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.way = way


def read_listing(content: bytes, form: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that a JSON or TOML document lists.

    Raises:
        DiscoveryError: It is broken; the text begins with the line, where that is known.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DiscoveryError(f"line {line}: byte {content[error.start]:#04x} is not UTF-8") from None
    document = _json(text) if form == "json" else _toml(text)
    try:
        return _endpoints(document)
    except _Wrong as wrong:
        line_of = line_in_json if form == "json" else line_in_toml
        line_or_none = line_of(text, wrong.way)
        place = "" if line_or_none is None else f"line {line_or_none}: "
        raise DiscoveryError(f"{place}{_spell(wrong.way)}{wrong}") from None


def _json(text: str) -> Any:
    if not text.strip():
        raise DiscoveryError("line 1: the file is empty; a list without endpoints is []")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise DiscoveryError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise DiscoveryError(f"no list of endpoints: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in pairs:
        if key in read:
            raise DiscoveryError(f"the key {key!r} is given twice in one object")
        read[key] = value
    return read


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _TOML_PLACE.search(said)
        place = f"line {text.count(chr(10)) + 1}" if found is None or found[2] is None else found[1]
        raise DiscoveryError(f"{place}: no TOML: {_TOML_PLACE.sub('', said)}") from None
    except (ValueError, RecursionError) as error:
        raise DiscoveryError(f"no list of endpoints: {error}") from None


def _endpoints(document: Any) -> tuple[Endpoint, ...]:
    way: tuple[str | int, ...] = ()
    if isinstance(document, dict):
        _check_keys(document, (ENDPOINTS,), way)
        if ENDPOINTS not in document:
            raise _Wrong(way, f"has no {ENDPOINTS!r}")
        way, document = (ENDPOINTS,), document[ENDPOINTS]
    if not isinstance(document, list):
        raise _Wrong(way, f"must be a list of endpoints, not {_kind(document)}")
    seen: dict[str, int] = {}
    endpoints = []
    for index, item in enumerate(document):
        here = (*way, index)
        endpoint = _endpoint(item, here)
        if endpoint.id in seen:
            first = _spell((*way, seen[endpoint.id])).removesuffix(": ")
            raise _Wrong(here, f"{endpoint.id} is given twice, first as {first}; to send it more, give it a weight")
        seen[endpoint.id] = index
        endpoints.append(endpoint)
    return tuple(endpoints)


def _endpoint(item: Any, way: tuple[str | int, ...]) -> Endpoint:
    if isinstance(item, str):
        return _built(lambda: Endpoint.parse(item), way)
    if not isinstance(item, dict):
        raise _Wrong(way, f"must be a text such as '10.0.0.1:8080' or an object with 'address', not {_kind(item)}")
    _check_keys(item, _KINDS, way)
    for key, value in item.items():
        kind, words = _KINDS[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _Wrong((*way, key), f"must be {words}, not {_kind(value)}")
    for key, value in item.get("metadata", {}).items():
        if not isinstance(value, str):
            raise _Wrong((*way, "metadata", key), f"must be a text, not {_kind(value)}")
    if "address" in item:
        if "host" in item or "port" in item:
            raise _Wrong(way, "has an 'address', which says the host and port: leave out 'host' and 'port'")
        endpoint = _built(lambda: Endpoint.parse(item["address"]), (*way, "address"))
    elif "host" in item and "port" in item:
        endpoint = _built(lambda: Endpoint(host=item["host"], port=item["port"]), way)
    else:
        raise _Wrong(way, "needs an 'address', or a 'host' and a 'port'")
    more = {key: value for key, value in item.items() if key not in _ADDRESS}
    if not more:
        return endpoint
    try:
        return replace(endpoint, **more)
    except ConfigError:
        for key, value in more.items():  # one at a time, to find out which
            _with(endpoint, key, value, (*way, key))
        raise


def _with(endpoint: Endpoint, key: str, value: Any, way: tuple[str | int, ...]) -> Endpoint:
    return _built(lambda: replace(endpoint, **{key: value}), way)


def _built(build: Callable[[], Endpoint], way: tuple[str | int, ...]) -> Endpoint:
    try:
        return build()
    except ConfigError as error:
        raise _Wrong(way, str(error)) from None


def _check_keys(given: dict[str, Any], known: Iterable[str], way: tuple[str | int, ...]) -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise _Wrong((*way, key), f"is not known here; {hint}Known: {', '.join(known)}")


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _spell(way: tuple[str | int, ...]) -> str:
    """Spell a way as people write it: `endpoints[2].weight: `."""
    spelled = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return f"{spelled.removeprefix('.') or 'the file'}: " if spelled else "the file "
