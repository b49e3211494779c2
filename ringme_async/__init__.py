"""The asyncio SDK for clients of the RingMe hosted PBX: read them and change them, in bulk too."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringme_async._public import *  # noqa: F403 - each of its names is public here
else:

    def __getattr__(name: str) -> object:
        """Open the front door when somebody asks for one of its names.

        So that ``ringme --version``, which asks for none, loads no HTTP library first.
        """
        if name.startswith("__") and name not in {"__all__", "__version__"}:
            raise AttributeError(_missing(name))
        # Not `from ringme_async import _public`, which would ask for a name again.
        front = import_module("ringme_async._public")
        # Not what is there already: a test may have put something else in its place.
        for public in front.__all__:
            if public in vars(front):
                globals().setdefault(public, vars(front)[public])
        globals()["__all__"] = front.__all__
        if name in front.__all__:
            globals().setdefault(name, getattr(front, name))
        if name not in globals():
            raise AttributeError(_missing(name))
        return globals()[name]

    def __dir__() -> list[str]:
        """Name what is public, and no module behind it."""
        own = [name for name in globals() if name.startswith("__")]
        return sorted({*own, *__getattr__("__all__")})

    def _missing(name: str) -> str:
        return f"module {__name__!r} has no attribute {name!r}"
