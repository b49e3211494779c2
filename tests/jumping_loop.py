"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

from ringme_async.testing import clock

__all__ = ["JumpingLoop"]


class JumpingLoop(clock.JumpingLoop):
    """As users have it, and never in asyncio's debug mode, which makes it twelve times slower."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
