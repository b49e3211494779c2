"""What a store knows of one key."""

from __future__ import annotations

import math

from attrs import define

from ringme_async.auth.single_flight import SingleFlight
from ringme_async.auth.token import Token
from ringme_async.errors import TokenError

__all__ = ["TokenEntry"]


@define(eq=False)
class TokenEntry:
    """What is known of one key."""

    token: Token | None = None
    """In use, unless it was dropped."""
    good_until: float = -math.inf
    newest: Token | None = None
    """The last one that came, dropped or not: its refresh token may be the only good one."""
    number: int = 0
    """Counts the tokens of the key, with those of other processes."""
    irreplaceable: bool = False
    """Does it hold a refresh token that stands nowhere else?"""
    refusal: TokenError | None = None
    refused_until: float = -math.inf
    flight: SingleFlight | None = None

    @property
    def in_use(self) -> bool:
        """Whether the key must stay known."""
        return self.flight is not None or self.irreplaceable
