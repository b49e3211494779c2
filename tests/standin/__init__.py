"""A second server, written from the API page alone, that the SDK is checked against.

It shares no code with the package, so that one misreading cannot hide in both.
"""

from __future__ import annotations

from .client import RunningStandIn, running_standin, start_standin

__all__ = ["RunningStandIn", "running_standin", "start_standin"]
