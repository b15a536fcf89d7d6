"""Checks of options that several sources have."""

from __future__ import annotations

import math

from lbkit.errors import ConfigError


def check_pause(name: str, value: float) -> None:
    """Refuse what is not a finite number of seconds above 0.

    Raises:
        ConfigError: Which one, and what it should be.
    """
    if not _is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"{name} must be above 0 seconds and finite, not {value!r}")


def check_grace(name: str, value: float) -> None:
    """Refuse an `empty_grace` that is not a number of seconds.

    Raises:
        ConfigError: What it should be.
    """
    if not _is_number(value) or not value >= 0:
        raise ConfigError(f"{name}: empty_grace must be at least 0 seconds, or inf, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
