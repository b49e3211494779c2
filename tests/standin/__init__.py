"""A second server, written from the API page alone, that the SDK is checked against.

It shares no code with the package, so that one misreading cannot hide in both. It runs in a process
of its own, started by ``start_standin`` here or by hand::

    python -m tests.standin --port 8080 --config config.json

What the configuration may say stands in config.py, the kinds of trouble in faults.py. ``GET
/__books`` shows what it saw, ``POST /__do`` with ``{"do": "revoke_tokens"}`` and the like (server.py)
changes it while it runs.
"""

from __future__ import annotations

from .client import RunningStandIn, running_standin, start_standin

__all__ = ["RunningStandIn", "running_standin", "start_standin"]
