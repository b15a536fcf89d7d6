"""What the configs of outlier detection refuse, with one wording."""

from __future__ import annotations

import math

from lbkit.errors import ConfigError


def check_count(name: str, value: object) -> None:
    """Refuse what is not a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")


def check_ratio(name: str, value: object) -> None:
    """Refuse what is not a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ConfigError(f"{name} must be from 0 to 1 (half is 0.5), not {value!r}")


def check_seconds(name: str, value: object, alternative: str = "") -> None:
    """Refuse what is not a positive finite number."""
    if not is_number(value) or not 0 < value < math.inf:  # type: ignore[operator]
        raise ConfigError(f"{name} must be above 0 seconds and finite{alternative}, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is not True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {value!r}")


def is_number(value: object) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
