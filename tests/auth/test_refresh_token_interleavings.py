"""Stores on one file, in any order of events: what was received last is what is sent next."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from unittest import mock

from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringme_async.auth import RefreshToken, Token, TokenKey, TokenStore
from ringme_async.errors import ResponseLost, RingMeError
from ringme_async.transports import Request, Response
from tests.auth.hosts import ORIGIN, endpoint_over, form_of, token_answer
from tests.jumping_loop import JumpingLoop

KEY = TokenKey(ORIGIN, RefreshToken("app", "s3cret", "r-0"))
STORES = 3


@define(eq=False)
class Watch:
    """A host that replaces every refresh token, and a way to it that loses some answers.

    Attributes:
        received: The newest refresh token that has come to a client.
    """

    received: str = "r-0"
    issued: int = 0
    in_flight: int = 0
    delay: float = 0.0
    lost_answers: int = 0
    flaws: list[str] = field(factory=list)

    async def send(self, request: Request) -> Response:
        sent = form_of(request)["refresh_token"]
        if self.in_flight:
            self.flaws.append("two trade-ins at once")
        if sent != self.received:
            self.flaws.append(f"sent {sent} with {self.received} received")
        self.issued += 1
        issued = self.issued
        self.in_flight += 1
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        if self.lost_answers:
            self.lost_answers -= 1
            raise ResponseLost("the connection broke")
        self.received = f"r-{issued}"
        return token_answer(f"t-{issued}", refresh_token=self.received)

    async def aclose(self) -> None:
        pass


@define(eq=False)
class Scene:
    """Several processes, as far as the file can tell, and one wall clock that is set at will."""

    path: Path
    wall: float = 1_760_000_000.0
    watch: Watch = field(factory=Watch)
    stores: list[TokenStore] = field(init=False)
    calls: list[asyncio.Task[Token]] = field(factory=list)
    closing: list[asyncio.Task[None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.stores = [self.open() for _ in range(STORES)]

    def open(self) -> TokenStore:
        return TokenStore(path=self.path, wall_clock=lambda: self.wall)

    async def play(self, what: str, number: int) -> None:
        at = number % STORES
        match what:
            case "call" | "renew":
                token = self.stores[at].ready(KEY)
                if what == "renew" and token is not None:
                    self.stores[at].drop(KEY, token)
                call = self.stores[at].get(KEY, endpoint_over(self.watch))  # type: ignore[arg-type]
                self.calls.append(asyncio.create_task(call))
            case "leave" if number < len(self.calls):
                self.calls[number].cancel()
            case "restart" | "restart in haste":
                self.closing.append(asyncio.create_task(self.stores[at].aclose()))
                self.stores[at] = self.open()
                await asyncio.sleep(0)
                if what == "restart in haste":
                    self.closing[-1].cancel()
            case "set the clock":
                self.wall += (number - 4) * 1_000.0
            case "answer slowly":
                self.watch.delay = float(number)
            case "lose answers":
                self.watch.lost_answers = number % 3
            case _:
                await asyncio.sleep(number * 0.3)

    async def end(self) -> None:
        self.watch.lost_answers = 0
        outcomes = await asyncio.gather(*self.calls, return_exceptions=True)
        for store in self.stores:
            await store.aclose()
        await asyncio.gather(*self.closing, return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, Token | RingMeError | asyncio.CancelledError)
        last = self.open()
        last.drop(KEY, await last.get(KEY, endpoint_over(self.watch)))  # type: ignore[arg-type]
        await last.get(KEY, endpoint_over(self.watch))  # type: ignore[arg-type]
        await last.aclose()
        assert len(asyncio.all_tasks()) == 1


events = st.tuples(
    st.sampled_from(
        [
            *("call", "call", "renew", "renew", "renew", "leave", "restart", "restart in haste"),
            *("set the clock", "answer slowly", "lose answers", "pass", "pass"),
        ]
    ),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=40))
@example([("call", 0), ("set the clock", 0), ("renew", 0), ("renew", 1)])
@example([("answer slowly", 5), ("call", 0), ("pass", 2), ("restart in haste", 0), ("call", 0)])
@example([("answer slowly", 5), *(("call", number) for number in range(STORES))])
def test_the_newest_token_that_was_received_is_the_next_one_sent(
    plan: list[tuple[str, int]],
) -> None:
    async def main(folder: str) -> None:
        scene = Scene(Path(folder) / "tokens")
        for what, number in plan:
            await scene.play(what, number)
        await scene.end()
        assert scene.watch.flaws == []

    with (
        tempfile.TemporaryDirectory() as folder,
        # What the disk does is not tested here, and waiting for it takes most of the time.
        mock.patch.object(os, "fsync"),
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
    ):
        runner.run(main(folder))
