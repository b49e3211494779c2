"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

from ringme_async.testing.clock import JumpingLoop

__all__ = ["JumpingLoop"]
