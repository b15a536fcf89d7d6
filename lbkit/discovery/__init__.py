"""Where the membership comes from."""

from __future__ import annotations

from lbkit.discovery.static import Static

__all__ = ["Static"]
