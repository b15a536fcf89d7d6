"""Target strings as text: cut into parts that know where they stand, put together again, and marked in errors.

    consul://10.0.0.5,10.0.0.6/orders?tag=v2&stale
    scheme   authority         name   options

`%xx` stands for a byte as in every URL; `+` is a plus sign. A message shows the target with the wrong part marked. It
never shows credentials: a target that might hold some is not shown at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from lbkit.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BYTES = re.compile(r"[\udc80-\udcff]")
"""How Python writes the bytes of file names that are no text."""
_SECRET = re.compile(r"token|secret|passw|pwd|credential|auth|api_?key|access_?key", re.IGNORECASE)
_NAMED = re.compile(r"[?&#;]([^?&#;=]*)=")
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PATHS = ("file", "unix")
"""Schemes whose names are paths in the file system, where an @ is a letter like any other."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a target.

    Attributes:
        text: The part, decoded.
        start, end: Where it stands in the target.
    """

    text: str
    start: int
    end: int

    def split(self, target: str, separator: str = ",") -> list[Piece]:
        """Cut it at each separator; what is encoded as `%2C` separates nothing."""
        pieces, start = [], self.start
        for raw in target[self.start : self.end].split(separator):
            pieces.append(Piece(unquote(raw), start, start + len(raw)))
            start += len(raw) + 1
        return pieces


@dataclass(frozen=True, slots=True)
class Option:
    """One of the parts behind the question mark. `value` is None where there is no equals sign."""

    name: Piece
    value: Piece | None


@dataclass(frozen=True, slots=True)
class TargetText:
    """A target, cut into its parts.

    Attributes:
        text: As it was written.
        scheme: In lower case.
        authority: What is between `//` and the next `/`; None without `//`.
        name: The rest up to the options, without the `/` before it. None where there is an authority and no `/`.
        options: In their order.
    """

    text: str
    scheme: str
    authority: Piece | None
    name: Piece | None
    options: tuple[Option, ...]

    def wrong(self, message: str, *pieces: Piece | None) -> ConfigError:
        """Return an error that shows the target with the pieces marked."""
        return wrong(self.text, message, *pieces)


def scheme_of(text: str) -> str:
    """Return the scheme of a target in lower case, empty for a bare `host:port`, whatever the host is called.

    >>> [scheme_of(one) for one in ("DNS://a:80", "file:a.json", "orders:80", "file:80,b:80")]
    ['dns', 'file', '', '']
    """
    found = _SCHEME.match(text)
    if found is None or (not found[2] and re.match(r"\d+(,|$)", text[found.end() :])):
        return ""
    return found[1].lower()


def cut(text: str) -> TargetText:
    """Cut a target that has a scheme into its parts.

    Raises:
        ConfigError: It holds credentials, or what cannot be in any target.
    """
    scheme = scheme_of(text)
    start = len(scheme) + 1
    question = text.find("?")
    end = question if question >= 0 else len(text)
    # A name in Consul may have an @ in it, written %40. Nothing else may.
    before = text[:end] if scheme.startswith("consul") else unquote(text[:end])
    if scheme not in _PATHS and "@" in before:
        raise ConfigError(f"a {scheme} target has no credentials: write it without what stands before the '@'")
    options = _options(text, end + 1)
    sharp = text.find("#")
    if sharp >= 0:
        raise wrong(text, "a target has no fragment: write %23 for '#'", Piece("#", sharp, sharp + 1))
    if not text.startswith("//", start):
        return TargetText(text, scheme, None, _piece(text, start, end), options)
    start += 2
    slash = text.find("/", start, end)
    if slash < 0:
        return TargetText(text, scheme, _piece(text, start, end), None, options)
    return TargetText(text, scheme, _piece(text, start, slash), _piece(text, slash + 1, end), options)


def _options(text: str, start: int) -> tuple[Option, ...]:
    options: list[Option] = []
    for raw in text[start:].split("&") if start < len(text) else ():
        name, equals, value = raw.partition("=")
        middle = start + len(name)
        if not _OPTION.fullmatch(name):
            raise ConfigError("a target's options are written ?name=value&name=value, with names of letters and _")
        if _is_secret(name):
            raise ConfigError(
                f"a target holds no secrets, for it is shown in logs: leave out {name}; "
                "for Consul write token_file=..., or set CONSUL_HTTP_TOKEN"
            )
        after = Piece(unquote(value), middle + 1, middle + 1 + len(value)) if equals else None
        options.append(Option(Piece(name, start, middle), after))
        start += len(raw) + 1
    return tuple(options)


def _piece(text: str, start: int, end: int) -> Piece:
    return Piece(unquote(text[start:end]), start, end)


def check_characters(text: str) -> None:
    """Refuse what would not survive a line of configuration or of a log.

    Raises:
        ConfigError: There is a control character, or white space around the target.
    """
    found = _CONTROL.search(_BYTES.sub("?", text) if scheme_of(text) in _PATHS else text)
    if found is not None:
        raise wrong(text, f"a target has no control characters, such as {found[0]!r}", Piece("", *found.span()))
    if text != text.strip():
        raise ConfigError("a target has no white space before or behind it")


def wrong(text: str, message: str, *pieces: Piece | None) -> ConfigError:
    """Return an error that shows the target with the pieces marked, unless the target might hold credentials."""
    message = "\n".join(_CONTROL.sub("?", line) for line in message.split("\n"))
    if may_hold_credentials(text):
        return ConfigError(message)
    marks = [" "] * (len(text) + 1)
    for piece in pieces:
        if piece is not None:
            marks[piece.start : max(piece.end, piece.start + 1)] = "^" * max(piece.end - piece.start, 1)
    shown = _CONTROL.sub("?", text)
    return ConfigError("\n".join((message, f"  {shown}", f"  {''.join(marks)}".rstrip())).rstrip())


def may_hold_credentials(text: str) -> bool:
    """Say whether a target must not be shown."""
    if any(_is_secret(name) for name in _NAMED.findall(text)):
        return True
    scheme = scheme_of(text)
    if scheme not in _PATHS:
        # Encoded, and as the wide @ that some normalise, too.
        return bool(re.search("[@\uff20\ufe6b]", unquote(text)))
    authority = text[len(scheme) + 1 :].removeprefix("//").partition("/")[0]
    return text.startswith("//", len(scheme) + 1) and "@" in unquote(authority)


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None and not name.lower().endswith("file")


def spell(scheme: str, authority: str, name: str, options: Mapping[str, object]) -> str:
    """Put a target together; options that are "", False, None or () are left out. `cut` reads it back.

    >>> spell("consul", "", "orders", {"tag": ("v2", "eu"), "stale": True, "near": ""})
    'consul:///orders?tag=v2&tag=eu&stale=true'
    """
    pairs = [f"{key}={_value(one)}" for key, value in options.items() for one in _each(value)]
    slash = "/" if scheme in _PATHS else ""  # in other names it would part them from what is before it
    name = quote(name, safe=f"{slash}:[],$!'()*;=~", errors="surrogateescape").removeprefix("/")
    return f"{scheme}://{authority}/{name}" + ("?" + "&".join(pairs) if pairs else "")


def _each(value: object) -> Iterable[object]:
    if isinstance(value, tuple | list):
        return value
    return () if value is None or value is False or value == "" else (value,)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return quote(str(value), safe="/:[],$!'()*;~")
