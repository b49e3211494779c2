"""Stores on one file, in any order of events: the last token received is the next one sent."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
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
    """A host that rotates refresh tokens, and loses some of its answers.

    Attributes:
        newest: The newest refresh token in an answer that is not lost. Every answer is faster than
            the time-out of a token request, so no client may stop waiting before it arrives.
    """

    newest: str = "r-0"
    issued: int = 0
    in_flight: int = 0
    delay: float = 0.0
    lost_answers: int = 0
    flaws: list[str] = field(factory=list)

    async def send(self, request: Request) -> Response:
        sent = form_of(request)["refresh_token"]
        if self.in_flight:
            self.flaws.append("two trade-ins at once")
        if sent != self.newest:
            self.flaws.append(f"sent {sent} after {self.newest} was issued")
        self.issued += 1
        issued, lost = self.issued, self.lost_answers > 0
        self.lost_answers -= lost
        if not lost:
            self.newest = f"r-{issued}"
        self.in_flight += 1
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        if lost:
            raise ResponseLost("the connection broke")
        return token_answer(f"t-{issued}", refresh_token=f"r-{issued}")

    async def aclose(self) -> None:
        pass


@define
class Disk:
    """The disk of the file, which may be full."""

    full: bool = False
    really_write: Callable[[int, memoryview], int] = os.write

    def write(self, fd: int, text: memoryview) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return self.really_write(fd, text)


@define(eq=False)
class Scene:
    """Several stores that share the file like processes, and one wall clock that the test sets."""

    path: Path
    disk: Disk
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
            case "restart" | "restart in haste" if not self.disk.full:
                self.closing.append(asyncio.create_task(self.stores[at].aclose()))
                self.stores[at] = self.open()
                await asyncio.sleep(0)
                if what == "restart in haste":
                    self.closing[-1].cancel()
            case "set the clock":
                self.wall += (number - 4) * 1_000.0
            case "answer slowly":
                self.watch.delay = float(number)
            # A program that ends while the disk is full loses its token.
            case "fill or empty the disk" if all(each.done() for each in self.closing):
                self.disk.full = not self.disk.full
            case "lose answers":
                self.watch.lost_answers = number % 3
            case _:
                pass

    async def end(self) -> None:
        self.watch.lost_answers, self.disk.full = 0, False
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
            *("set the clock", "answer slowly", "lose answers"),
            "fill or empty the disk",
        ]
    ),
    st.integers(0, 9),
    st.sampled_from([0, 0, 1, 3]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=30))
@example([("call", 0, 1), ("set the clock", 0, 0), ("renew", 0, 1)])
@example([("answer slowly", 5, 0), ("call", 0, 2), ("restart in haste", 0, 0), ("call", 0, 0)])
@example([("answer slowly", 5, 0), *(("call", number, 0) for number in range(STORES))])
@example([("fill or empty the disk", 0, 0), ("call", 0, 2), ("call", 1, 0), ("renew", 0, 0)])
def test_the_next_refresh_token_sent_is_the_last_one_received(
    plan: list[tuple[str, int, int]],
) -> None:
    async def main(folder: str) -> None:
        scene = Scene(Path(folder) / "tokens", disk)
        for what, number, pause in plan:
            await scene.play(what, number)
            await asyncio.sleep(pause)
        await scene.end()
        assert scene.watch.flaws == []

    disk = Disk()
    with (
        tempfile.TemporaryDirectory() as folder,
        # fsync takes most of the time, and this test loses no power.
        mock.patch.object(os, "fsync"),
        mock.patch.object(os, "write", disk.write),
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
    ):
        runner.run(main(folder))
