"""The version of the package: that of the tag it was built from."""

from __future__ import annotations

from importlib.metadata import distributions

__version__: str = next(
    (found.version for found in distributions(name="ringme-async")), "0+unknown"
)
"""As it was installed; a copy of the sources that nobody installed has none."""

USER_AGENT = f"ringme-async/{__version__}"
"""How the package names itself to servers."""
