"""A rotated refresh token: kept when clocks change, callers leave and processes end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import define, field, frozen

from ringme_async import RingMe
from ringme_async.auth import RefreshToken, Token, TokenHost, TokenKey, TokenStore
from ringme_async.auth.credentials import file_key
from ringme_async.auth.private_file import FileLock, try_lock
from ringme_async.auth.token_file import TokenFile
from ringme_async.errors import DeadlineExceeded, RingMeClosed, TokenError, TransportError
from tests.auth.hosts import (
    KEY as OTHER_KEY,
)
from tests.auth.hosts import (
    ORIGIN,
    Host,
    answer,
    endpoint_over,
    key_of,
    script,
    settle,
)
from tests.auth.rotating import RotatingServer
from tests.jumping_loop import JumpingLoop

pytestmark = pytest.mark.jumping

AUTH = RefreshToken("app", "s3cret", "r-0")
KEY = TokenKey(ORIGIN, AUTH)


@define
class Clock:
    """A wall clock set by the test."""

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
async def test_the_newest_token_wins_when_the_wall_clock_changes(world: World, step: float) -> None:
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


async def test_a_token_is_in_the_file_before_it_is_used(world: World) -> None:
    await world.get(world.store())
    written = world.path.read_text()
    assert "r-1" in written


async def test_a_token_is_not_handed_out_before_it_is_written(world: World) -> None:
    store = world.store()
    with try_lock(f"{world.path}.lock"):
        calls = [asyncio.create_task(world.get(store)) for _ in range(2)]
        await asyncio.sleep(1)
        assert store.ready(KEY) is None
        assert not any(call.done() for call in calls)
    await asyncio.sleep(0.1)
    assert "r-1" in world.path.read_text()
    assert [await call for call in calls] == ["t-1"] * 2


def test_an_exit_raised_in_a_trade_in_is_raised_once(world: World) -> None:
    @frozen
    class Ending(RefreshToken):
        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            raise SystemExit(3)

    async def main() -> None:
        await world.store().get(
            TokenKey(ORIGIN, Ending("app", "s3cret", "r-0")), endpoint_over(world.host)
        )

    with pytest.raises(SystemExit), asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_aclose_saves_the_trade_in_before_it_ends(
    world: World, cancels: int
) -> None:
    world.server.delay = 5.0
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    closing = asyncio.create_task(store.aclose())
    for _ in range(cancels):
        await asyncio.sleep(0.1)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    with pytest.raises(RingMeClosed):
        await call
    await world.renewed(world.store())
    assert not world.server.reused


async def test_a_cancelled_aclose_does_not_wait_for_other_logins(world: World) -> None:
    class Stubborn:
        renewable = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(100)
            raise AssertionError

    store = world.store()
    call = asyncio.create_task(store.get(TokenKey(ORIGIN, Stubborn()), endpoint_over(world.host)))
    await asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await store.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(6.0)
    call.cancel()


@pytest.mark.parametrize("with_file", [True, False])
def test_the_end_of_the_program_waits_for_a_trade_in(world: World, with_file: bool) -> None:
    world.server.delay = 5.0
    store = world.store() if with_file else TokenStore()

    async def hasty() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await world.get(store)

    async def later() -> None:
        world.server.delay = 0.0
        await world.renewed(store)
        if with_file:
            await world.renewed(world.store())

    # asyncio.Runner, like asyncio.run, cancels every task that is left when the program ends.
    for main in (hasty, later):
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(main())
    assert world.server.trades == 2 + with_file
    assert not world.server.reused


async def test_aclose_waits_no_longer_than_the_requests_time_out(world: World) -> None:
    world.server.delay = 1e6
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    await store.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(30.0)
    with pytest.raises(RingMeClosed):
        await call
    assert len(world.server.sent) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_a_trade_in_runs_for_a_minute_at_most_after_aclose(world: World) -> None:
    @frozen
    class Slow(RefreshToken):
        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            token = await super().fetch(host, previous)
            await asyncio.sleep(1e6)
            return token

    store = world.store()
    key = TokenKey(ORIGIN, Slow("app", "s3cret", "r-0"))
    call = asyncio.create_task(store.get(key, endpoint_over(world.host)))
    await asyncio.sleep(1)
    await store.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(61.0)
    with pytest.raises(RingMeClosed):
        await call


async def test_aclose_does_not_wait_when_no_answer_is_on_its_way(world: World) -> None:
    world.host.handler = script(answer(503, **{"retry-after": "3600"}))
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    await store.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)
    with pytest.raises(RingMeClosed):
        await call


async def test_aclose_does_not_wait_for_another_attempt(world: World) -> None:
    world.host.handler, world.host.seconds = script(answer(503)), 2.0
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    await store.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert len(world.host.requests) == 1
    with pytest.raises(RingMeClosed):
        await call


async def test_aclose_waits_for_a_refusal(world: World) -> None:
    world.server.good, world.host.seconds = "r-other", 2.0
    store = world.store()
    call = asyncio.create_task(world.get(store))
    await asyncio.sleep(1)
    await store.aclose()
    with pytest.raises(RingMeClosed):
        await call


async def test_the_trade_in_of_a_subclass_runs_to_its_end(world: World) -> None:
    kept: list[str | None] = []

    @frozen
    class Kept(RefreshToken):
        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            token = await super().fetch(host, previous)
            await asyncio.sleep(1)
            kept.append(token.refresh_token)
            return token

    store = TokenStore()
    key = TokenKey(ORIGIN, Kept("app", "s3cret", "r-0"))
    world.server.delay = 5.0
    call = asyncio.create_task(store.get(key, endpoint_over(world.host)))
    await asyncio.sleep(1)
    await store.aclose()
    assert kept == ["r-1"]
    with pytest.raises(RingMeClosed):
        await call


async def test_no_token_is_lost_by_a_short_timeout_and_the_end_of_the_program(world: World) -> None:
    world.server.delay = 5.0
    async with RingMe(ORIGIN, auth=AUTH, transport=world.host, tokens=world.store()) as ringme:
        with pytest.raises(DeadlineExceeded):
            await ringme.request("GET", "/x/", timeout=1)
    assert world.server.trades == 1
    await world.renewed(world.store())
    assert not world.server.reused


async def test_stores_that_start_at_once_make_one_trade_in(world: World) -> None:
    world.server.delay = 1.0
    values = await asyncio.gather(*(world.get(world.store()) for _ in range(4)))
    assert values == ["t-1"] * 4
    assert world.server.sent == ["r-0"]


def test_a_store_in_another_thread_waits_for_its_turn(world: World) -> None:
    together = threading.Barrier(4)

    async def get() -> str:
        store = world.store()
        together.wait(60)
        return await world.get(store)

    world.server.delay = 0.1
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda _: asyncio.run(get()), range(4)))
    assert values == ["t-1"] * 4
    assert world.server.sent == ["r-0"]


async def test_a_stalled_trade_in_does_not_delay_other_keys(world: World) -> None:
    world.server.delay = 20.0
    stalled = asyncio.create_task(world.get(world.store()))
    await asyncio.sleep(1)
    key = TokenKey(ORIGIN, RefreshToken("other", "s3cret", "q-0"))
    store = world.store()
    assert await store.get(key, endpoint_over(Host()))
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)
    await stalled


class TestLockHeldElsewhere:
    """Another process holds the lock and does not release it."""

    @pytest.fixture
    def lock(self, world: World) -> Iterator[FileLock]:
        name = file_key(KEY)
        assert name is not None
        lock = TokenFile(world.path, capacity=9, wall_clock=world.clock).lock_of(name)
        assert lock.acquire()
        yield lock
        lock.release()

    async def test_the_refresh_token_is_not_sent_and_the_error_names_the_file(
        self, world: World, lock: FileLock
    ) -> None:
        store = world.store()
        with pytest.raises(TransportError) as caught:
            await world.get(store)
        assert asyncio.get_running_loop().time() == pytest.approx(30.0, abs=0.1)
        assert str(world.path) in str(caught.value)
        assert not caught.value.sent
        assert world.server.sent == []
        lock.release()
        assert await world.get(store) == "t-1"

    async def test_a_call_with_a_short_deadline_fails_with_the_lock_as_its_cause(
        self, world: World, lock: FileLock
    ) -> None:
        tokens = world.store()
        async with RingMe(ORIGIN, auth=AUTH, transport=world.host, tokens=tokens) as ringme:
            with pytest.raises(DeadlineExceeded) as caught:
                await ringme.request("GET", "/x/", timeout=5)
        assert str(world.path) in str(caught.value.__cause__)

    async def test_aclose_does_not_wait_for_the_lock(self, world: World, lock: FileLock) -> None:
        store = world.store()
        call = asyncio.create_task(world.get(store))
        await asyncio.sleep(1)
        await store.aclose()
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)
        with pytest.raises(RingMeClosed):
            await call


async def test_an_unreadable_file_is_named_and_no_refresh_token_is_sent(world: World) -> None:
    store = world.store()
    await world.get(store)
    world.path.chmod(0o644)
    with pytest.raises(TransportError, match=r"cannot be used \(.*open to others.*is not sent"):
        await world.renewed(store)
    world.path.chmod(0o600)
    assert await world.get(store) == "t-2"


class TestFullDisk:
    """The new refresh token cannot be written."""

    @pytest.fixture
    def full(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        def write(_fd: int, _text: bytes) -> int:
            raise OSError(28, "No space left on device")

        real_write = os.write
        monkeypatch.setattr(os, "write", write)
        return lambda: monkeypatch.setattr(os, "write", real_write)

    async def test_no_other_process_sends_the_spent_token(
        self, world: World, full: Callable[[], None]
    ) -> None:
        first, second = world.store(), world.store()
        assert await world.get(first) == "t-1"
        with pytest.raises(TransportError, match="another process is trading in"):
            await world.get(second)
        assert await world.renewed(first) == "t-2"
        full()
        await asyncio.sleep(6)
        assert await world.renewed(second) == "t-3"
        assert world.server.sent == ["r-0", "r-1", "r-2"]
        await first.aclose()
        await second.aclose()
        assert {path.name for path in world.path.parent.iterdir()} == {"tokens", "tokens.lock"}

    async def test_a_login_of_another_key_writes_the_unsaved_token(
        self, world: World, full: Callable[[], None]
    ) -> None:
        first = world.store()
        await world.get(first)
        full()
        await first.get(OTHER_KEY, endpoint_over(Host()))
        await settle()
        assert await world.renewed(world.store()) == "t-2"
        await first.aclose()

    async def test_aclose_retries_the_write(self, world: World, full: Callable[[], None]) -> None:
        first = world.store()
        await world.get(first)
        full()
        await first.aclose()
        assert await world.renewed(world.store()) == "t-2"

    async def test_a_token_that_is_lost_is_logged(
        self, world: World, full: Callable[[], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        first = world.store()
        await world.get(first)
        await first.aclose()
        (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert str(world.path) in record.message
        assert {path.name for path in world.path.parent.iterdir()} == {"tokens.lock", "tokens.new"}

    async def test_many_other_logins_do_not_evict_the_unsaved_token(
        self, world: World, full: Callable[[], None]
    ) -> None:
        first = TokenStore(path=world.path, capacity=3)
        await world.get(first)
        for number in range(9):
            await first.get(key_of(number), endpoint_over(Host()))
        full()
        await first.aclose()
        assert await world.renewed(world.store()) == "t-2"

    async def test_unsaved_refresh_tokens_are_all_kept_beyond_the_capacity(
        self, world: World, full: Callable[[], None]
    ) -> None:
        file = TokenFile(world.path, capacity=3, wall_clock=world.clock)
        for number in range(9):
            file.keep(f"k-{number}", "t", None, f"r-{number}")
        full()
        assert file.write()
        assert all(file.newest(f"k-{number}") for number in range(9))


async def test_an_older_copy_of_the_file_does_not_replace_a_newer_token_in_memory(
    world: World,
) -> None:
    store = world.store()
    await world.get(store)
    copy = world.path.read_bytes()
    await world.renewed(store)
    world.path.write_bytes(copy)
    await world.renewed(store)
    assert world.server.sent == ["r-0", "r-1", "r-2"]
    await world.renewed(world.store())
    assert not world.server.reused


async def test_a_deleted_file_is_recreated_with_the_newest_token(world: World) -> None:
    first, second = world.store(), world.store()
    await world.get(first)
    await world.get(second)
    world.path.unlink()
    await world.renewed(first)
    await world.renewed(second)
    assert not world.server.reused


async def test_a_newer_token_in_the_file_ends_a_remembered_refusal(
    world: World,
) -> None:
    losing = world.store()
    good, world.server.good = world.server.good, "r-other"
    with pytest.raises(TokenError):
        await world.get(losing)
    world.server = world.host.handler = RotatingServer(good)
    await world.get(world.store())
    assert await world.get(losing) == "t-1"
