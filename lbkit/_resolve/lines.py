"""The observation for machines: one JSON object in a line for what is there, and one for each change.

{"event": "membership", "at": "2026-01-01T12:00:00.000+00:00", "target": ..., "known": true,
 "sources": [{"source": ..., "state": "live", "problem": "", "endpoints": 2, "age_s": 0.1, "next_s": 29.9}],
 "endpoints": [{"endpoint": "10.0.0.1:80", "weight": 1.0, "priority": 0, "zone": "", "metadata": {}, ...}]}
{"event": "change", "at": ..., "added": [an endpoint as above], "removed": ["10.0.0.1:80"],
 "changed": [{"endpoint": "10.0.0.2:80", "weight": {"before": 1.0, "after": 2.0}}]}
{"event": "source", "at": ..., "source": ..., "before": "live", "after": "stale", "problem": ..., "endpoints": 2}

`known` is false while no source has said anything of use; ages and times to come are seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, TextIO

from lbkit._resolve.change import Change
from lbkit._resolve.observer import View
from lbkit.balancer.events import SourceChanged
from lbkit.core.endpoint import Endpoint

_SHOWN = tuple(field.name for field in fields(Endpoint) if field.name != "id")


class LinesView:
    """Writes for machines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, view: View) -> None:
        """Write what is there."""
        endpoints = [_endpoint(one) for one in view.endpoints or ()]
        sources = [asdict(one) for one in view.sources]
        known = view.endpoints is not None
        self._write(
            "membership", datetime.now(UTC), target=view.target, known=known, sources=sources, endpoints=endpoints
        )

    def tell(self, news: SourceChanged | Change, at: datetime) -> None:
        """Write a change."""
        if isinstance(news, SourceChanged):
            states = {"before": news.before.value, "after": news.after.value}
            self._write("source", at, source=news.source, **states, problem=news.problem, endpoints=news.endpoints)
            return
        changed = [
            {"endpoint": edit.endpoint}
            | {name: {"before": _plain(old), "after": _plain(new)} for name, (old, new) in edit.differences.items()}
            for edit in news.edited
        ]
        added, removed = [_endpoint(one) for one in news.added], [one.id for one in news.removed]
        self._write("change", at, added=added, removed=removed, changed=changed)

    def _write(self, event: str, at: datetime, **more: Any) -> None:
        time = at.astimezone(UTC).isoformat(timespec="milliseconds")
        self._out.write(json.dumps({"event": event, "at": time, **more}, allow_nan=False) + "\n")
        self._out.flush()


def _endpoint(one: Endpoint) -> dict[str, Any]:
    return {"endpoint": one.id} | {name: _plain(getattr(one, name)) for name in _SHOWN}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
