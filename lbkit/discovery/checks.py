"""Checks of options that several sources have. Each says in its error what the option must be."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lbkit.errors import ConfigError


def is_number(value: object) -> bool:
    """Whether it is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_pause(name: str, value: float) -> None:
    """Refuse what is not a finite number of seconds above 0.

    Raises:
        ConfigError: It is not.
    """
    if not is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"{name} must be above 0 seconds and finite, not {value!r}")


def check_limit(name: str, value: float) -> None:
    """Refuse what is not a number of seconds from 0 on, `inf` included.

    Raises:
        ConfigError: It is not.
    """
    if not is_number(value) or not value >= 0:
        raise ConfigError(f"{name} must be at least 0 seconds, or inf, not {value!r}")


def check_between(name: str, value: float, least: float, most: float) -> None:
    """Refuse what is not a number of seconds in these bounds.

    Raises:
        ConfigError: It is not.
    """
    if not is_number(value) or not least <= value <= most:
        raise ConfigError(f"{name} must be from {least:g} to {most:,.0f} seconds, not {value!r}")


def check_port(name: str, value: int) -> None:
    """Refuse what is no port.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise ConfigError(f"{name} must be from 1 to 65535, not {value!r}")


def read_texts(name: str, value: Iterable[str], example: str) -> tuple[str, ...]:
    """Return several texts as a tuple.

    Raises:
        ConfigError: It is one text alone, or holds something else.
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        texts = tuple(value)
        if all(isinstance(one, str) for one in texts):
            return texts
    raise ConfigError(f"{name} is a tuple of texts: {example}")
