"""The token store's entry for one key."""

from __future__ import annotations

import math

from attrs import define

from ringme_async.auth.single_flight import SingleFlight
from ringme_async.auth.token import Token
from ringme_async.errors import TokenError

__all__ = ["TokenEntry"]


@define(eq=False)
class TokenEntry:
    """The token, the remembered refusal and the login in flight of one key."""

    token: Token | None = None
    """The token for the next call; None once it was dropped."""
    good_until: float = -math.inf
    newest: Token | None = None
    """The token received last, dropped or not: its refresh token may be the only valid one."""
    number: int = 0
    """The sequence number of ``newest`` among the key's tokens, across processes."""
    irreplaceable: bool = False
    """True if it holds a refresh token that is saved nowhere else."""
    refusal: TokenError | None = None
    refused_until: float = -math.inf
    login: SingleFlight | None = None

    @property
    def in_use(self) -> bool:
        """True if the entry must not be evicted."""
        return self.login is not None or self.irreplaceable
