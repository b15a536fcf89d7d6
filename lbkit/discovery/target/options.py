"""The options of target strings: how each is read, and what is said of one that is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lbkit.discovery.target.text import Option, Piece, TargetText
from lbkit.errors import ConfigError

T = TypeVar("T")
Reader = Callable[[str], Any]
"""Reads a value, or raises ValueError with what it must be."""

_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)


def text(value: str) -> str:
    """Read a text."""
    return value


def texts(value: str) -> str:
    """Read one of several texts: the option may be given repeatedly, and becomes a tuple."""
    return value


def number(value: str) -> float:
    """Read a number of seconds, or `inf`."""
    if value != "inf" and not _NUMBER.fullmatch(value):
        raise ValueError("must be a number without a unit, such as 2.5")
    return float(value)


def whole(value: str) -> int:
    """Read a whole number."""
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError("must be a whole number")
    return int(value)


def flag(value: str) -> bool:
    """Read true or false, or 1 or 0; the bare name of the option is true."""
    if value not in ("true", "false", "1", "0"):
        raise ValueError("must be true or false")
    return value in ("true", "1")


Known = Mapping[str, tuple[str, Reader]]
"""Name of an option in a target: the argument of the config that it becomes, and how it is read."""


Marks = Mapping[str, Piece | None]
"""The part of the target that an error is about which has this word; the last word is empty."""


def build(target: TargetText, marks: Marks, factory: Callable[..., T], known: Known, *arguments: Any, **more: Any) -> T:
    """Call the factory with the arguments and with what the target's options say.

    Args:
        target: Where the options stand.
        marks: What an error is about that speaks of no option.
        factory: A config, or a function that makes one.
        known: The options that there are.
        *arguments: For the factory, from other parts of the target.
        **more: As well.

    Raises:
        ConfigError: An option is unknown or wrong, or the factory refuses it; the target is shown with it marked.
    """
    read = _read(target, known)
    for option in target.options:
        if known[option.name.text][0] in more:
            raise target.wrong(f"{option.name.text} is given twice: here and before the name", option.name)
    try:
        return factory(*arguments, **read, **more)
    except ConfigError as error:
        said = str(error)
        about = [one.value or one.name for one in target.options if _speaks_of(said, one, known)]
        part = next(piece for word, piece in marks.items() if word in said)
        raise target.wrong(said, *(about or (part,))) from None


def refuse_options(target: TargetText) -> None:
    """Refuse all options.

    Raises:
        ConfigError: There is one.
    """
    _read(target, {})


def _read(target: TargetText, known: Known) -> dict[str, Any]:
    read: dict[str, Any] = {}
    lists: dict[str, list[str]] = {}
    for option in target.options:
        name = option.name.text
        if name not in known:
            raise target.wrong(_unknown(target.scheme, name, known), option.name)
        argument, reader = known[name]
        value = _value(target, option, reader)
        if reader is texts:
            lists.setdefault(argument, []).append(value)
        elif argument in read:
            raise target.wrong(f"{name} is given twice", option.name)
        else:
            read[argument] = value
    return read | {argument: tuple(values) for argument, values in lists.items()}


def _value(target: TargetText, option: Option, reader: Reader) -> Any:
    if option.value is None and reader is flag:
        return True
    if option.value is None or not option.value.text:
        raise target.wrong(f"{option.name.text} has no value: write {option.name.text}=...", option.name)
    try:
        return reader(option.value.text)
    except ValueError as error:
        raise target.wrong(f"{option.name.text} {error}, not {option.value.text!r}", option.value) from None


def _unknown(scheme: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if not names:
        return f"a {scheme} target has no options, so no {name!r}"
    close = difflib.get_close_matches(name.lower(), names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"a {scheme} target has no option {name!r}{hint} Known: {', '.join(names)}"


def _speaks_of(said: str, option: Option, known: Known) -> bool:
    argument = known[option.name.text][0]
    return re.search(rf"\b({re.escape(argument)}|{re.escape(option.name.text)})\b", said) is not None
