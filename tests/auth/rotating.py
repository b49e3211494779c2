"""A token server that replaces every refresh token, and ends the family when one comes twice."""

from __future__ import annotations

import asyncio

from attrs import define, field

from ringme_async.transports import Request, Response
from tests.auth.hosts import answer, form_of, token_answer


@define(eq=False)
class RotatingServer:
    """As RFC 9700, section 4.14.2, has it: reuse of a refresh token revokes all of its family.

    Attributes:
        good: The only refresh token that it takes.
        sent: All that clients have sent, in order.
        reused: Has a spent one come?
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
        # The old one is spent from here on, whether or not the answer arrives.
        await asyncio.sleep(self.delay)
        if traded is None:
            return answer(400, {"error": "invalid_grant"})
        return token_answer(**{"value": "", **traded})
