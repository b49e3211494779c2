"""A token server that rotates refresh tokens, and revokes the family when one is reused."""

from __future__ import annotations

import asyncio

from attrs import define, field

from ringme_async.transports import Request, Response
from tests.auth.hosts import answer, form_of, token_answer


@define(eq=False)
class RotatingServer:
    """Rotates refresh tokens (RFC 9700, section 4.14.2): a reused one revokes its family.

    Attributes:
        good: The only valid refresh token.
        sent: The refresh tokens that clients have sent, in order.
        reused: True once a client has sent a spent one.
    """

    good: str = "r-0"
    sent: list[str] = field(factory=list)
    reused: bool = False
    expires_in: float = 3600.0
    delay: float = 0.0

    @property
    def trades(self) -> int:
        return int(self.good.removeprefix("r-"))

    def trade(self, refresh_token: str) -> dict[str, object] | None:
        self.sent.append(refresh_token)
        if refresh_token != self.good or self.reused:
            self.reused = True
            return None
        number = self.trades + 1
        self.good = f"r-{number}"
        return {
            "access_token": f"t-{number}",
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.good,
        }

    async def __call__(self, request: Request) -> Response:
        traded = self.trade(form_of(request)["refresh_token"])
        # From here on the old token is spent, even if the answer is lost.
        await asyncio.sleep(self.delay)
        if traded is None:
            return answer(400, {"error": "invalid_grant"})
        return token_answer(**{"value": "", **traded})
