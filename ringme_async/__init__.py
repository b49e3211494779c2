"""The asyncio SDK for the RingMe hosted PBX: read and change clients, one or many."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringme_async._public import *  # noqa: F403 - each of its names is public here
else:

    def __getattr__(name: str) -> object:
        """Load the public names on first use.

        An eager import would load an HTTP library for ``ringme --version``.
        """
        if name.startswith("__") and name not in {"__all__", "__version__"}:
            raise AttributeError(_missing(name))
        # `from ringme_async import _public` would call this function again, without end.
        public = import_module("ringme_async._public")
        # Keep names that are set already: a test may have patched them.
        for public_name in public.__all__:
            if public_name in vars(public):
                globals().setdefault(public_name, vars(public)[public_name])
        globals()["__all__"] = public.__all__
        if name in public.__all__:
            globals().setdefault(name, getattr(public, name))
        if name not in globals():
            raise AttributeError(_missing(name))
        return globals()[name]

    def __dir__() -> list[str]:
        """List the public names, and no module behind them."""
        own = [name for name in globals() if name.startswith("__")]
        return sorted({*own, *__getattr__("__all__")})

    def _missing(name: str) -> str:
        return f"module {__name__!r} has no attribute {name!r}"
