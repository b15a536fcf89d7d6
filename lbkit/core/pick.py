"""What a picker may know of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PickInfo:
    """What choosing may depend on, besides the endpoints themselves.

    Attributes:
        tried: Ids of the endpoints that this call has used already; an untried one is taken while there is one.
        may_probe: Whether the request may be the trial of an endpoint that is coming back. Requests that must not run
            twice are used for that only where nothing else is left.
        hash_key: What schedulers with affinity hash, or None.
    """

    tried: tuple[str, ...] = ()
    may_probe: bool = True
    hash_key: bytes | None = None


FIRST_TRY = PickInfo()
FIRST_TRY_NO_PROBE = PickInfo(may_probe=False)
