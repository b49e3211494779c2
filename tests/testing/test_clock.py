"""The loop whose clock jumps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from ringme_async.testing.clock import JumpingLoop

YEAR = 365 * 86_400.0
NOT_HERE = "a thread or a socket does not jump"


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_clock_begins_at_zero_and_jumps_to_the_end_of_a_sleep() -> None:
    async def main() -> tuple[float, float]:
        before = now()
        await asyncio.sleep(3 * 3600)
        return before, now()

    assert run(main) == (0.0, 3 * 3600.0)


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def main() -> list[float]:
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(now())

        async with asyncio.TaskGroup() as group:
            for seconds in (30.0, 10.0, 20.0, 10.5):
                group.create_task(sleep(seconds))
        return woken

    assert run(main) == [10.0, 10.5, 20.0, 30.0]


def test_a_timeout_ends_a_longer_sleep_at_its_own_second() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(3600)
        return now()

    assert run(main) == 60.0


def test_a_timeout_does_not_disturb_a_shorter_sleep() -> None:
    async def main() -> str:
        async with asyncio.timeout(60):
            return await asyncio.wait_for(asyncio.sleep(59.5, "done"), 59.75)

    assert run(main) == "done"


def test_a_failing_task_ends_its_group_without_waiting_for_the_others() -> None:
    async def main() -> float:
        async def fail() -> None:
            await asyncio.sleep(5)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))
                group.create_task(fail())
        return now()

    assert run(main) == 5.0


def test_ready_tasks_run_before_the_clock_jumps() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run(main) == 0.0


def test_a_year_of_odd_sleeps_ends_on_its_second() -> None:
    async def main() -> tuple[float, int]:
        nap, naps = 3607.1, int(YEAR / 3607.1)
        for _ in range(naps):
            await asyncio.sleep(nap)
        return now() - nap * naps, naps

    error, naps = run(main)
    assert naps > 8_000
    assert abs(error) < 1e-4


def test_after_a_year_a_millisecond_is_still_a_millisecond() -> None:
    async def main() -> list[float]:
        await asyncio.sleep(YEAR)
        woken: list[float] = []
        for milliseconds in (3, 1, 2):
            loop = asyncio.get_running_loop()
            loop.call_later(milliseconds / 1000, lambda: woken.append(now() - YEAR))
        await asyncio.sleep(1)
        return woken

    assert run(main) == pytest.approx([0.001, 0.002, 0.003], abs=1e-6)


def test_two_runs_see_the_same_times() -> None:
    async def main() -> list[float]:
        times: list[float] = []

        async def beat(pause: float) -> None:
            for _ in range(50):
                await asyncio.sleep(pause)
                times.append(now())

        async with asyncio.TaskGroup() as group:
            for part in range(1, 8):
                group.create_task(beat(1 / part))
        return times

    assert run(main) == run(main)


def test_time_can_pass_while_the_loop_is_blocked() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        sleeper = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        loop.let_pass(25)
        blocked = now()
        await sleeper
        return blocked, now()

    assert run(main) == (25.0, 25.0)


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_time_does_not_go_back(seconds: float) -> None:
    with contextlib.closing(JumpingLoop()) as loop, pytest.raises(ValueError, match="0 or more"):
        loop.let_pass(seconds)


def test_sets_of_tasks_and_futures_keep_their_order_in_every_run() -> None:
    async def main() -> list[list[int]]:
        loop = asyncio.get_running_loop()
        # Short-lived objects, so that memory addresses are used again.
        for _ in range(50):
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(5)))
        futures = [loop.create_future() for _ in range(100)]
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(100)]
        done, _ = await asyncio.wait(tasks)
        return [[futures.index(one) for one in set(futures)], [tasks.index(one) for one in done]]

    one, other = run(main), run(main)
    assert one == other


def test_a_custom_task_factory_is_used() -> None:
    class Own(asyncio.Task[Any]):
        pass

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return Own(coro, loop=loop, **kwargs)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(make)
        task = asyncio.create_task(asyncio.sleep(1), name="mine")
        assert isinstance(task, Own)
        assert task.get_name() == "mine"
        await task

    run(main)


def test_a_deadlock_is_an_error_that_names_the_waiting_tasks() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits and no timer is left: Task-") as caught:
        run(wait_for_nobody)
    assert "wait_for_nobody, line " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_of_a_deadlock_names_at_most_five_tasks() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(asyncio.Event().wait())

    with pytest.raises(RuntimeError, match=r"and no timer is left.* 16 more tasks"):
        run(main)


def test_a_loop_without_tasks_fails_instead_of_hanging() -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loop = runner.get_loop()
        with pytest.raises(RuntimeError, match="no timer is left"):
            loop.run_until_complete(loop.create_future())


def test_a_task_of_a_custom_awaitable_is_described_by_its_own_name() -> None:
    class Never:
        def __await__(self) -> Any:
            yield from asyncio.get_running_loop().create_future()

    async def main() -> None:
        await Never()

    with pytest.raises(RuntimeError, match="main, line"):
        run(main)


def test_after_a_deadlock_the_tasks_can_be_cancelled_and_clean_up() -> None:
    cleaned: list[float] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(10)
            cleaned.append(now())

    with pytest.raises(RuntimeError, match="no timer is left"):
        run(main)
    assert cleaned == [10.0]


def test_an_endless_sleep_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.sleep(math.inf)

    with pytest.raises(RuntimeError, match="over a hundred years"):
        run(main)


async def ask_a_thread() -> None:
    await asyncio.to_thread(print)


async def ask_the_resolver() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def ask_an_executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, print)


async def connect() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def serve() -> None:
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)


async def connect_to_a_path() -> None:
    await asyncio.open_unix_connection("/nowhere")


async def serve_a_path() -> None:
    await asyncio.start_unix_server(lambda reader, writer: None, "/nowhere")


async def send_datagrams() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )


async def start_a_program() -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-V")


async def start_a_shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def read_a_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_recv(one, 1)


async def get_with_aiohttp() -> None:
    async with aiohttp.ClientSession() as session:
        await session.get("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "deed",
    [
        ask_a_thread,
        ask_an_executor,
        ask_the_resolver,
        connect,
        connect_to_a_path,
        get_with_aiohttp,
        read_a_socket,
        send_datagrams,
        serve,
        serve_a_path,
        start_a_program,
        start_a_shell,
    ],
)
def test_threads_and_sockets_are_refused_in_one_line(
    deed: Callable[[], Coroutine[Any, Any, Any]],
) -> None:
    with pytest.raises(RuntimeError, match=NOT_HERE) as caught:
        run(deed)
    assert "\n" not in str(caught.value)


def test_a_thread_that_calls_in_ends_the_run() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        thread = threading.Thread(
            target=loop.call_soon_threadsafe, args=(done.set_result, None), name="caller"
        )
        thread.start()
        thread.join()
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match=f"the thread 'caller' has called in.*{NOT_HERE}"):
        run(main)


def test_clean_up_after_a_failure_may_wait_for_a_thread() -> None:
    cleaned: list[str] = []

    async def ask(name: str) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        timer = threading.Timer(0.01, loop.call_soon_threadsafe, (done.set_result, None))
        timer.start()
        try:
            await done
        finally:
            # Without it the thread might call a closed loop.
            timer.join()
        cleaned.append(name)

    async def main() -> None:
        try:
            await ask("in vain")
        finally:
            await ask("the end")

    with pytest.raises(RuntimeError, match=NOT_HERE):
        run(main)
    assert cleaned == ["the end"]


def test_the_error_of_a_deadlock_mentions_running_threads() -> None:
    release = threading.Event()

    async def main() -> None:
        thread = threading.Thread(target=release.wait)
        thread.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            release.set()
            thread.join()

    with pytest.raises(RuntimeError, match=f"other threads; .*{NOT_HERE}"):
        run(main)


def test_the_loop_s_own_thread_may_call_soon_threadsafe() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon_threadsafe(done.set_result, None)
        await done
        return now()

    assert run(main) == 0.0


def test_call_soon_threadsafe_works_before_the_loop_runs() -> None:
    with contextlib.closing(JumpingLoop()) as loop:
        done = loop.create_future()
        loop.call_soon_threadsafe(done.set_result, 5)
        assert loop.run_until_complete(done) == 5
