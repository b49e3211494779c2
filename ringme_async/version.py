"""The version of the package."""

from __future__ import annotations

__version__ = "0.1.0"

USER_AGENT = f"ringme-async/{__version__}"
"""How the package names itself to servers."""
