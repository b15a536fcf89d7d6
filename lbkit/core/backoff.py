"""Growing delays, computed and never slept."""

from __future__ import annotations

from random import Random


def growing(base_s: float, factor: float, limit_s: float, step: int) -> float:
    """Return `base_s * factor ** step`, at most `limit_s` seconds; `step` counts from 0.

    >>> [growing(1.0, 2.0, 30.0, step) for step in (0, 1, 4, 5, 5000)]
    [1.0, 2.0, 16.0, 30.0, 30.0]
    """
    try:
        return min(limit_s, base_s * factor**step)
    except OverflowError:
        return limit_s


def jittered(delay_s: float, ratio: float, rng: Random) -> float:
    """Return `delay_s` spread evenly over ± `ratio` (0 to 1) of itself, so that many clients do not act as one."""
    return delay_s * (1.0 + ratio * (2.0 * rng.random() - 1.0))
