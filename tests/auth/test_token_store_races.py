"""Waiters that arrive, leave and are cancelled at every step of their login."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.auth import RefreshToken, Token, TokenHost, TokenKey, TokenStore
from ringme_async.auth.single_flight import Patience, SingleFlight
from ringme_async.errors import ConnectError, RingMeError, TransportError
from tests.auth.hosts import (
    KEY,
    ORIGIN,
    Host,
    PendingAnswers,
    answer,
    endpoint_over,
    script,
    settle,
    token_answer,
)
from tests.jumping_loop import JumpingLoop

pytestmark = pytest.mark.jumping


class Scene:
    """A store, a host whose answers the test sets, and the callers of one key."""

    def __init__(self, key: TokenKey = KEY) -> None:
        self.pending = PendingAnswers()
        self.host = Host(self.pending)
        self.store = TokenStore()
        self.endpoint = endpoint_over(self.host)
        self.key = key

    def call(self) -> asyncio.Task[Token]:
        return asyncio.create_task(self.store.get(self.key, self.endpoint))

    async def calls(self, number: int) -> list[asyncio.Task[Token]]:
        calls = [self.call() for _ in range(number)]
        # Long enough for a second login to pass the limit.
        await asyncio.sleep(1)
        return calls

    def answer(self, number: int, value: str = "t") -> None:
        self.pending.answers[number].set_result(token_answer(value))

    def refuse(self, number: int) -> None:
        self.pending.answers[number].set_result(answer(400, {"error": "invalid_grant"}))


async def is_cancelled(call: asyncio.Task[Token]) -> bool:
    await asyncio.wait([call])
    return call.cancelled()


async def test_a_cancelled_waiter_does_not_cancel_the_login() -> None:
    scene = Scene()
    first, second, third = await scene.calls(3)
    first.cancel()
    third.cancel()
    await settle()
    scene.answer(0)
    assert (await second).value == "t"
    assert await is_cancelled(first)
    assert await is_cancelled(third)
    assert len(scene.host.requests) == 1


async def test_when_the_last_waiter_leaves_the_login_is_cancelled() -> None:
    scene = Scene()
    calls = await scene.calls(3)
    for call in calls:
        call.cancel()
    await settle()
    assert scene.pending.answers[0].cancelled()
    assert scene.host.in_flight == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_caller_after_the_last_waiter_has_left_starts_a_new_login() -> None:
    scene = Scene()
    (first,) = await scene.calls(1)
    first.cancel()
    await settle()
    (second,) = await scene.calls(1)
    scene.answer(1, "fresh")
    assert (await second).value == "fresh"


async def test_a_caller_during_the_cancellation_of_a_login_starts_a_new_one() -> None:
    wound_down = asyncio.Event()
    tokens = iter(["fresh"])

    class Slow:
        """Ends some time after its cancellation, like a transport that closes a connection."""

        renewable = True

        def __init__(self) -> None:
            self.calls = 0

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            self.calls += 1
            if self.calls > 1:
                return Token(next(tokens))
            try:
                await asyncio.sleep(1000)
            finally:
                await wound_down.wait()
            raise AssertionError

    auth = Slow()
    scene = Scene(TokenKey(ORIGIN, auth))
    (first,) = await scene.calls(1)
    first.cancel()
    assert await is_cancelled(first)
    second = scene.call()
    assert (await second).value == "fresh"
    wound_down.set()
    await settle()
    assert scene.store.ready(scene.key) is second.result()
    assert len(asyncio.all_tasks()) == 1


async def test_a_login_that_ignores_its_cancellation_does_not_replace_the_newer_token() -> None:
    class Stubborn:
        renewable = True

        def __init__(self) -> None:
            self.calls = 0

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            self.calls += 1
            if self.calls == 1:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    await asyncio.sleep(5)
            return Token(f"t-{self.calls}")

    scene = Scene(TokenKey(ORIGIN, Stubborn()))
    (first,) = await scene.calls(1)
    first.cancel()
    second = await scene.call()
    await asyncio.sleep(10)
    assert scene.store.ready(scene.key) is second
    assert len(asyncio.all_tasks()) == 1


async def test_a_caller_in_the_step_of_the_last_waiters_cancellation_keeps_the_login() -> None:
    scene = Scene()
    (first,) = await scene.calls(1)
    second = scene.call()
    first.cancel()
    # The second caller joins before the first has run its cancellation.
    await settle()
    scene.answer(0)
    assert (await second).value == "t"
    assert await is_cancelled(first)
    assert len(scene.host.requests) == 1


async def test_a_caller_one_step_after_the_last_waiters_cancellation_gets_a_token() -> None:
    for steps in range(6):
        scene = Scene()
        (first,) = await scene.calls(1)
        first.cancel()
        await settle(steps)
        (second,) = await scene.calls(1)
        for future in scene.pending.answers:
            if not future.done():
                future.set_result(token_answer("t"))
        assert (await second).value == "t"
        assert await is_cancelled(first)


@pytest.mark.parametrize("answer_first", [True, False])
@pytest.mark.parametrize("steps", range(8))
async def test_a_waiter_cancelled_near_the_result_does_not_affect_the_others(
    answer_first: bool, steps: int
) -> None:
    scene = Scene()
    first, second = await scene.calls(2)
    if answer_first:
        scene.answer(0)
        await settle(steps)
        was_done = first.done()
        first.cancel()
    else:
        was_done = False
        first.cancel()
        await settle(steps)
        scene.answer(0)
    assert (await second).value == "t"
    assert await is_cancelled(first) is not was_done
    assert scene.store.ready(KEY) is second.result()


@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("answer_first", [True, False])
@pytest.mark.parametrize("steps", range(8))
async def test_the_only_waiter_cancelled_near_the_result_leaves_a_usable_store(
    answer_first: bool, steps: int, refused: bool
) -> None:
    scene = Scene()
    (first,) = await scene.calls(1)
    finish = scene.refuse if refused else scene.answer
    if answer_first:
        finish(0)
        await settle(steps)
        first.cancel()
    else:
        first.cancel()
        await settle(steps)
        if not scene.pending.answers[0].done():
            finish(0)
    await asyncio.wait([first])
    await settle()
    assert len(asyncio.all_tasks()) == 1
    scene.host.handler = script(token_answer("next"))
    await asyncio.sleep(61)
    assert (await scene.call()).value in {"t", "next"}


async def test_an_unretrieved_error_is_not_reported_at_exit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for steps in range(8):
        scene = Scene()
        first, second = await scene.calls(2)
        scene.refuse(0)
        await settle(steps)
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
        for call in (first, second):
            if not call.cancelled():
                call.exception()
        await scene.store.aclose()
        del scene, first, second
        gc.collect()
    assert caplog.records == []


async def test_a_refusal_reaches_the_remaining_waiters() -> None:
    scene = Scene()
    first, second = await scene.calls(2)
    first.cancel()
    await settle()
    scene.refuse(0)
    with pytest.raises(RingMeError, match="invalid_grant"):
        await second


async def test_a_login_task_cancelled_from_outside_is_an_error_for_its_waiters() -> None:
    scene = Scene()
    calls = await scene.calls(2)
    (login,) = asyncio.all_tasks() - {*calls, asyncio.current_task()}
    login.cancel()
    for call in calls:
        with pytest.raises(TransportError, match="the login was cancelled"):
            await call
    (third,) = await scene.calls(1)
    scene.answer(1)
    assert (await third).value == "t"


async def test_an_auth_that_raises_cancelled_error_cancels_no_caller() -> None:
    class Confused:
        renewable = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            task = asyncio.create_task(asyncio.sleep(10))
            task.cancel()
            await task
            raise AssertionError

    scene = Scene(TokenKey(ORIGIN, Confused()))
    with pytest.raises(TransportError, match="the login was cancelled"):
        await scene.call()


async def test_a_trade_in_runs_to_its_end_without_waiters() -> None:
    scene = Scene(TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0")))
    (first,) = await scene.calls(1)
    first.cancel()
    await settle()
    scene.pending.answers[0].set_result(token_answer("t", refresh_token="r-1"))
    await settle()
    token = scene.store.ready(scene.key)
    assert token is not None
    assert token.refresh_token == "r-1"


async def test_a_new_caller_joins_a_trade_in_without_waiters() -> None:
    scene = Scene(TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0")))
    (first,) = await scene.calls(1)
    first.cancel()
    await settle()
    (second,) = await scene.calls(1)
    scene.answer(0)
    assert (await second).value == "t"


async def test_a_late_401_does_not_affect_a_login_in_flight() -> None:
    scene = Scene()
    (first,) = await scene.calls(1)
    scene.answer(0, "old")
    old = await first
    scene.store.drop(KEY, old)
    second, third = await scene.calls(2)
    scene.store.drop(KEY, old)
    scene.answer(1, "new")
    assert await second is await third
    scene.store.drop(KEY, old)
    assert scene.store.ready(KEY) is second.result()


async def test_waiting_for_a_finished_login_returns_at_once() -> None:
    login = SingleFlight()
    waiter = asyncio.create_task(login.wait(Patience()))
    await settle()
    token = Token("t")
    login.set_outcome(token)
    assert await waiter is token
    assert await login.wait(Patience()) is token
    assert not login.is_abandoned


async def test_an_exit_raised_in_a_login_ends_its_waiters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class TheEnd(BaseException):
        """Stands for SystemExit, which would end the test run."""

    class Ending:
        renewable = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            raise TheEnd

    scene = Scene(TokenKey(ORIGIN, Ending()))
    with pytest.raises(TransportError, match="the login was cancelled"):
        await scene.call()
    del scene
    # Until then the step that woke this test keeps the login alive.
    await settle()
    gc.collect()
    assert caplog.records == []


async def test_a_login_without_waiters_is_cancelled_without_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    (call,) = await scene.calls(1)
    call.cancel()
    assert await is_cancelled(call)
    await settle()
    assert scene.host.in_flight == 0
    assert caplog.records == []


async def test_the_task_of_a_login_has_a_name() -> None:
    scene = Scene()
    (call,) = await scene.calls(1)
    assert "ringme login" in {task.get_name() for task in asyncio.all_tasks()}
    scene.answer(0)
    await call


steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.just(0)),
        st.tuples(st.just("call"), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["answer", "refuse", "break"]), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.just(0)),
        st.tuples(st.just("step"), st.integers(1, 4)),
        st.tuples(st.just("pass"), st.sampled_from([1, 61, 3600])),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_caller_ends_with_its_own_outcome_in_any_order_of_events(
    plan: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        scene = Scene()
        answers = scene.pending.answers
        calls: list[asyncio.Task[Token]] = []
        cancelled: set[int] = set()
        for what, number in plan:
            match what:
                case "call":
                    calls.append(scene.call())
                case "cancel" if number < len(calls) and not calls[number].done():
                    calls[number].cancel()
                    cancelled.add(number)
                case "answer" | "refuse" | "break":
                    still = [future for future in answers if not future.done()]
                    if number < len(still):
                        end(still[number], what)
                case "drop":
                    token = scene.store.ready(KEY)
                    if token is not None:
                        scene.store.drop(KEY, token)
                case "step":
                    await settle(number)
                case "pass":
                    await asyncio.sleep(number)
            assert sum(not future.done() for future in answers) <= 1 + len(cancelled)
        while not all(call.done() for call in calls):
            for future in answers:
                if not future.done():
                    future.set_result(token_answer("t"))
            await asyncio.sleep(0.1)
        for number, call in enumerate(calls):
            assert call.cancelled() <= (number in cancelled)
            assert call.cancelled() or isinstance(call.exception(), RingMeError | None)
        await settle()
        assert scene.host.in_flight == 0
        assert len(asyncio.all_tasks()) == 1

    def end(future: asyncio.Future[object], how: str) -> None:
        if how == "break":
            future.set_exception(ConnectError("refused"))
        elif how == "refuse":
            future.set_result(answer(400, {"error": "invalid_grant"}))
        else:
            future.set_result(token_answer("t"))

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@pytest.mark.parametrize("outcome", ["token", "error", "late token"])
async def test_eager_tasks_change_nothing(outcome: str) -> None:
    class Own:
        renewable = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            if outcome == "error":
                raise ConnectError("refused")
            if outcome == "late token":
                await asyncio.sleep(1)
            return Token("t")

    eager: Callable[..., asyncio.Task[Token]] = getattr(asyncio, "eager_task_factory")  # noqa: B009
    asyncio.get_running_loop().set_task_factory(eager)  # type: ignore[arg-type]
    scene = Scene(TokenKey(ORIGIN, Own()))
    calls = [scene.call() for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    if outcome == "error":
        assert {type(each) for each in outcomes} == {ConnectError}
    else:
        assert set(outcomes) == {scene.store.ready(scene.key)}
    await scene.store.aclose()
