"""A refresh token that was replaced: kept whatever the clock says and whoever leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import define, field

from ringme_async import RingMe
from ringme_async.auth import RefreshToken, TokenKey, TokenStore
from ringme_async.errors import DeadlineExceeded, RingMeClosed, TokenError
from tests.auth.hosts import ORIGIN, Host, endpoint_over
from tests.auth.rotating import RotatingServer

pytestmark = pytest.mark.jumping

AUTH = RefreshToken("app", "s3cret", "r-0")
KEY = TokenKey(ORIGIN, AUTH)


@define
class Clock:
    """A wall clock that the test sets."""

    now: float = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now


@define(eq=False)
class World:
    """A file, a wall clock, and a server that answers after some seconds."""

    path: Path
    server: RotatingServer = field(factory=RotatingServer)
    clock: Clock = field(factory=Clock)
    host: Host = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.host = Host(self.server)

    def store(self, clock: Clock | None = None) -> TokenStore:
        return TokenStore(path=self.path, wall_clock=clock or self.clock, random=lambda: 1.0)

    async def get(self, store: TokenStore) -> str:
        return (await store.get(KEY, endpoint_over(self.host))).value

    async def renewed(self, store: TokenStore) -> str:
        token = await store.get(KEY, endpoint_over(self.host))
        store.drop(KEY, token)
        return (await store.get(KEY, endpoint_over(self.host))).value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "tokens")


@pytest.mark.parametrize("step", [-2.0, -86_400.0 * 365, 0.0, 86_400.0])
async def test_the_newest_token_wins_whatever_the_wall_clock_does(
    world: World, step: float
) -> None:
    first = world.store()
    await world.get(first)
    world.clock.now += step
    await world.renewed(first)
    await world.renewed(world.store())
    assert world.server.sent == ["r-0", "r-1", "r-2"]


async def test_aclose_waits_for_a_trade_in_and_saves_it(world: World) -> None:
    world.server.delay = 5.0
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    await store.aclose()
    with pytest.raises(RingMeClosed):
        await call
    assert world.server.trades == 1
    await world.renewed(world.store())
    assert not world.server.reused


async def test_a_short_timeout_and_the_end_of_the_program_lose_no_token(world: World) -> None:
    world.server.delay = 5.0
    async with RingMe(ORIGIN, auth=AUTH, transport=world.host, tokens=world.store()) as ringme:
        with pytest.raises(DeadlineExceeded):
            await ringme.request("GET", "/x/", timeout=1)
    assert world.server.trades == 1
    await world.renewed(world.store())
    assert not world.server.reused


async def test_stores_that_start_at_once_trade_in_one_after_the_other(world: World) -> None:
    world.server.delay = 1.0
    values = await asyncio.gather(*(world.get(world.store()) for _ in range(4)))
    assert values == ["t-1"] * 4
    assert world.server.sent == ["r-0"]


async def test_a_remembered_refusal_is_not_told_once_the_file_has_a_newer_token(
    world: World,
) -> None:
    losing = world.store()
    good, world.server.good = world.server.good, "r-other"
    with pytest.raises(TokenError):
        await world.get(losing)
    world.server = world.host.handler = RotatingServer(good)
    await world.get(world.store())
    assert await world.get(losing) == "t-1"
