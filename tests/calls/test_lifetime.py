"""One RingMe lives in one process and one event loop, and ends when it is closed."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Awaitable, Callable

import pytest

from ringme_async import (
    AiohttpTransport,
    Auth,
    BearerToken,
    BulkReport,
    Client,
    ClientCredentials,
    ClientUpdate,
    DeadlineExceeded,
    Failed,
    InMemoryTransport,
    InvalidRequest,
    RetryPolicy,
    RingMe,
    RingMeClosed,
    ServerError,
    TokenStore,
    Transport,
)
from ringme_async.calls.lifetime import Lifetime
from ringme_async.transports import Request, Response
from ringme_async.transports.httptools import HttptoolsTransport
from tests.scripted import ScriptedTransport, asked_for, never, record, refusal, token
from tests.unhurried import without_slowness

URL = "https://pbx.example.com"
FIXED = BearerToken("t0ken")
APP = ClientCredentials("app-id", "s3cret")
OMSK = ClientUpdate(timezone="Asia/Omsk")

jumping = pytest.mark.jumping


async def closed_under(call: Awaitable[object], ringme: RingMe, after: float = 1.0) -> RingMeClosed:
    """Close a RingMe while a call is under way, and give how the call ended."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(after)
    assert not task.done()
    await ringme.aclose()
    assert task.done()
    with pytest.raises(RingMeClosed) as caught:
        await task
    return caught.value


@jumping
class TestACallUnderWayWhenItsRingMeIsClosed:
    async def test_ends_at_once_and_says_why(self) -> None:
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([never]))

        error = await closed_under(ringme.clients.get(12), ringme)

        assert str(error) == (
            "client 12: this RingMe was closed while the call was under way;"
            " let its calls end before it is closed, or make another one"
        )
        assert (error.attempts, error.maybe_applied, error.__cause__) == (1, False, None)

    async def test_may_have_been_applied_if_it_was_sent(self) -> None:
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([never]))

        error = await closed_under(ringme.clients.update(12, OMSK), ringme)

        assert error.maybe_applied

    async def test_keeps_the_error_before_as_its_cause(self) -> None:
        transport = ScriptedTransport([refusal(503, retry_after="30")])
        ringme = RingMe(URL, auth=FIXED, transport=transport)

        error = await closed_under(ringme.clients.update(12, OMSK), ringme)

        assert isinstance(error.__cause__, ServerError)
        assert (error.attempts, error.maybe_applied) == (1, True)

    async def test_stops_waiting_for_its_login(self) -> None:
        transport = ScriptedTransport([refusal(401)], [token(), never])
        ringme = RingMe(URL, auth=APP, transport=transport)

        error = await closed_under(ringme.clients.get("@me"), ringme)

        assert len(transport.logins) == 2
        assert (error.client_id, error.attempts) == ("@me", 1)
        assert error.__cause__ is not None

    async def test_stops_waiting_for_its_quota(self) -> None:
        used_up = refusal(429, "rate_limit_exceeded", x_ratelimit_reset="1800")
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([used_up]))

        call = ringme.clients.get(12, on_quota="wait", timeout=3600)
        error = await closed_under(call, ringme)

        assert error.attempts == 1

    async def test_ends_before_the_transport_is_closed(self) -> None:
        class Watched(ScriptedTransport):
            async def aclose(self) -> None:
                assert call.done()
                await super().aclose()

        async def slow_to_leave(request: Request) -> Response:
            try:
                return await never(request)
            finally:
                await asyncio.sleep(5)

        transport = Watched([slow_to_leave])
        ringme = RingMe(URL, auth=FIXED, transport=transport)
        call = asyncio.ensure_future(ringme.clients.get(12))
        await asyncio.sleep(1)

        await asyncio.gather(ringme.aclose(), ringme.aclose())

        assert transport.closed == 2
        with pytest.raises(RingMeClosed):
            await call

    async def test_keeps_a_value_that_has_arrived(self) -> None:
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([record(id=12)]))
        call = asyncio.ensure_future(ringme.clients.get(12))
        while not call.done():
            await asyncio.sleep(0)

        await ringme.aclose()

        assert (await call).id == 12

    async def test_may_close_the_ringme_itself(self) -> None:
        async def close(request: Request) -> Response:
            await ringme.aclose()
            return record()

        transport = ScriptedTransport([close])
        ringme = RingMe(URL, auth=FIXED, transport=transport)

        with pytest.raises(RingMeClosed):
            await ringme.clients.get(12)

        assert transport.closed == 1

    async def test_ends_by_its_deadline_if_that_came_first(self) -> None:
        async def slow_to_leave(request: Request) -> Response:
            try:
                return await never(request)
            finally:
                await asyncio.sleep(5)

        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([slow_to_leave]))
        call = asyncio.ensure_future(ringme.clients.get(12, timeout=1))
        await asyncio.sleep(3)

        await ringme.aclose()

        with pytest.raises(DeadlineExceeded, match=r"timeout=1 s"):
            await call

    async def test_ends_even_if_closing_is_cancelled(self) -> None:
        async def stubborn(request: Request) -> Response:
            try:
                return await never(request)
            finally:
                await asyncio.sleep(5)

        transport = ScriptedTransport([stubborn])
        ringme = RingMe(URL, auth=FIXED, transport=transport)
        call = asyncio.ensure_future(ringme.clients.get(12))
        await asyncio.sleep(1)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await ringme.aclose()

        assert transport.closed == 1
        with pytest.raises(RingMeClosed):
            await call


@jumping
async def test_a_call_after_the_end_is_refused_and_not_sent() -> None:
    transport = ScriptedTransport([record()])
    async with RingMe(URL, auth=FIXED, transport=transport) as ringme:
        pass

    with pytest.raises(RingMeClosed, match="closed before the call") as caught:
        await ringme.clients.get(12)
    with pytest.raises(RingMeClosed):
        await ringme.request("GET", "/client/@me/client/")

    assert (caught.value.client_id, caught.value.attempts) == ("12", 0)
    assert transport.requests == []


@jumping
async def test_a_run_under_way_when_its_ringme_is_closed_has_an_outcome_for_every_element() -> None:
    ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([asked_for, asked_for, never]))

    async def read() -> BulkReport[Client]:
        return await ringme.clients.get_many(range(100), concurrency=8)

    run = asyncio.ensure_future(read())
    await asyncio.sleep(1)
    await ringme.aclose()
    report = await run

    assert len(report) == 100
    assert sum(outcome.ok for outcome in report) == 2
    failed = [outcome for outcome in report if isinstance(outcome, Failed)]
    assert {type(outcome.error) for outcome in failed} == {RingMeClosed}
    assert len(failed) + report.counts["not_attempted"] == 98


@jumping
async def test_the_tokens_of_a_ringme_that_was_closed_say_so_to_another_one() -> None:
    tokens = TokenStore()
    async with RingMe(URL, auth=APP, transport=ScriptedTransport([record()]), tokens=tokens):
        pass
    transport = ScriptedTransport([record()])

    async with RingMe(URL, auth=APP, transport=transport, tokens=tokens) as other:
        with pytest.raises(RingMeClosed, match="that these tokens were kept for was closed"):
            await other.clients.get(12)


class TestAnotherEventLoop:
    def test_is_refused_after_the_first_one_has_ended(self) -> None:
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([record(id=12)]))

        async def read() -> Client:
            return await ringme.clients.get(12)

        assert asyncio.run(read()).id == 12
        with pytest.raises(InvalidRequest, match="belongs to an event loop that has ended"):
            asyncio.run(read())

        asyncio.run(ringme.aclose())
        asyncio.run(ringme.aclose())

    def test_is_refused_while_the_first_one_goes_on_and_cannot_close_it(self) -> None:
        transport = ScriptedTransport([record(id=12)])
        ringme = RingMe(URL, auth=FIXED, transport=transport)

        async def read() -> Client:
            return await ringme.clients.get(12)

        with asyncio.Runner() as first, asyncio.Runner() as second:
            first.run(read())
            with pytest.raises(InvalidRequest, match="belongs to another event loop"):
                second.run(read())
            with pytest.raises(InvalidRequest, match="belongs to another event loop"):
                second.run(ringme.aclose())
            assert transport.closed == 0
            assert first.run(read()).id == 12
            first.run(ringme.aclose())

        assert transport.closed == 1

    def test_fails_every_element_of_a_run(self) -> None:
        ringme = RingMe(URL, auth=FIXED, transport=ScriptedTransport([record(id=12)]))

        async def read() -> BulkReport[Client]:
            return await ringme.clients.get_many([1, 2])

        asyncio.run(read())
        report = asyncio.run(read())

        assert [type(outcome.error) for outcome in report.failures] == [InvalidRequest] * 2
        asyncio.run(ringme.aclose())

    def test_may_be_the_only_loop_of_a_ringme(self) -> None:
        async def make() -> RingMe:
            return RingMe(URL, auth=FIXED, transport=ScriptedTransport([record(id=12)]))

        async def read(ringme: RingMe) -> Client:
            async with ringme:
                return await ringme.clients.get(12)

        assert asyncio.run(read(asyncio.run(make()))).id == 12


async def test_another_process_can_neither_use_nor_close_a_ringme_and_is_not_warned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = ScriptedTransport([record(id=12)])
    ringme = RingMe(URL, auth=FIXED, transport=transport)
    await ringme.clients.get(12)

    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(InvalidRequest, match="the process that this one was forked from"):
            await ringme.clients.get(12)
        with pytest.raises(InvalidRequest, match="the process that this one was forked from"):
            await ringme.aclose()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            copy_of_the_child = RingMe(URL, auth=FIXED, transport=transport)
            await copy_of_the_child.clients.get(12)
            child.setattr(os, "getpid", lambda: -2)
            del copy_of_the_child
            gc.collect()

    assert transport.closed == 0
    await ringme.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
class TestAForkedProcess:
    def run(self, program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert without_slowness(done.stderr) == ""
        return done.stdout

    PARENT = """
        import asyncio, os, sys
        from ringme_async import BearerToken, InvalidRequest, RingMe
        from tests.scripted import asked_for, ScriptedTransport, record

        ringme = RingMe("https://a.example", auth=BearerToken("t"),
                        transport=ScriptedTransport([record(id=12)]))

        async def read():
            return await ringme.clients.get(12)

        async def refused(call):
            try:
                await call
            except InvalidRequest as error:
                print(error, flush=True)
        """

    def test_cannot_use_a_ringme_that_its_parent_has_used(self) -> None:
        told = self.run(
            self.PARENT
            + """
        with asyncio.Runner() as runner:
            runner.run(read())
            child = os.fork()
            if not child:
                asyncio.set_event_loop(None)
                with asyncio.Runner() as own:
                    own.run(refused(read()))
                    own.run(refused(ringme.aclose()))
                del ringme
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(runner.run(read()).id)
            runner.run(ringme.aclose())
        """
        )

        refusal = (
            "this RingMe belongs to the process that this one was forked from;"
            " make one in each process"
        )
        assert told.splitlines() == [f"client 12: {refusal}", refusal, "12"]

    def test_may_use_a_ringme_that_its_parent_has_only_made(self) -> None:
        told = self.run(
            self.PARENT
            + """
        child = os.fork()
        if not child:
            print(asyncio.run(read()).id, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
        )

        assert told == "12\n"


class TestARingMeThatWasNeverClosed:
    async def warned(
        self, use: Callable[[RingMe], Awaitable[object]], transport: Transport | None = None
    ) -> list[warnings.WarningMessage]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ringme = RingMe(URL, auth=FIXED, transport=transport or ScriptedTransport([record()]))
            await use(ringme)
            del ringme, use
            gc.collect()
        return caught

    async def test_warns_once_of_the_line_where_it_was_made(self) -> None:
        (warning,) = await self.warned(lambda ringme: ringme.clients.get(12))

        assert warning.category is ResourceWarning
        assert str(warning.message) == (
            f"<RingMe {URL}> was never closed; use `async with`, or await its aclose()"
        )
        assert warning.filename == __file__
        assert "ringme = RingMe(URL" in linecache.getline(__file__, warning.lineno)

    async def test_is_silent_if_it_was_never_used(self) -> None:
        assert await self.warned(lambda ringme: asyncio.sleep(0)) == []

    async def test_is_silent_if_it_was_closed(self) -> None:
        async def use(ringme: RingMe) -> None:
            async with ringme:
                await ringme.clients.get(12)

        assert await self.warned(use) == []

    async def test_lives_as_long_as_its_clients(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clients = RingMe(URL, auth=FIXED, transport=ScriptedTransport([record()])).clients
            await clients.get(12)
            gc.collect()
            assert caught == []
            del clients
            gc.collect()

        assert len(caught) == 1

    async def test_releases_any_transport_with_let_go(self) -> None:
        class Released(ScriptedTransport):
            def let_go(self) -> None:
                released.append("let go")

        released: list[str] = []
        await self.warned(lambda ringme: ringme.clients.get(12), Released([record()]))

        assert released == ["let go"]

    async def test_releases_no_transport_that_only_seems_to_have_let_go(self) -> None:
        class Wrapped(ScriptedTransport):
            def __getattr__(self, name: str) -> Callable[[], None]:
                return lambda: asked.append(name)

        asked: list[str] = []
        await self.warned(lambda ringme: ringme.clients.get(12), Wrapped([record()]))

        assert asked == []

    def test_names_the_line_that_called_from_env(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            environ = {"RINGME_BASE_URL": URL, "RINGME_TOKEN": "t"}
            ringme = RingMe.from_env(environ, transport=ScriptedTransport([record()]))

            async def use(ringme: RingMe) -> None:
                await ringme.clients.get(12)

            asyncio.run(use(ringme))
            del ringme
            gc.collect()

        (warning,) = caught
        assert warning.filename == __file__

    @pytest.mark.parametrize("end", ["running", "paused", "closed"])
    def test_releases_its_transport_unless_its_loop_may_run_in_another_thread(
        self, end: str
    ) -> None:
        let_go: list[str] = []

        async def use() -> list[Lifetime]:
            lifetime = Lifetime("<RingMe>", lambda: let_go.append(end))
            assert lifetime.loop is None
            loop = asyncio.get_running_loop()
            lifetime.until(loop.time(), loop)
            assert lifetime.loop is loop
            kept = [lifetime]
            del lifetime
            if end == "running":
                kept.clear()
            return kept

        with warnings.catch_warnings(record=True) as caught, asyncio.Runner() as runner:
            warnings.simplefilter("always")
            kept = runner.run(use())
            if end == "closed":
                runner.close()
            kept.clear()
            gc.collect()

        assert len(caught) == 1
        assert let_go == ([] if end == "paused" else [end])

    @pytest.mark.parametrize("where", ["inside", "after"])
    def test_over_a_network_gives_one_warning_and_none_of_the_library(self, where: str) -> None:
        program = f"""
        import asyncio
        from ringme_async import BearerToken, RingMe
        from ringme_async.testing import FakeRingMe

        kept = []

        async def main():
            fake = FakeRingMe()
            app = fake.add_application(tenant=fake.add_tenant())
            async with fake.serve() as url:
                ringme = RingMe(url, auth=BearerToken(fake.issue_token(app)))
                await ringme.clients.get("@me")
                if "{where}" == "inside":
                    del ringme
                else:
                    kept.append(ringme)

        asyncio.run(main())
        """
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0
        told = [line for line in done.stderr.splitlines() if "Warning" in line]
        assert len(told) == 1, done.stderr
        assert "<string>:" in told[0]
        assert "was never closed" in told[0]


@jumping
async def test_a_closed_ringme_does_not_retry_a_failed_login() -> None:
    transport = ScriptedTransport([record()], [refusal(503, retry_after="20")])
    ringme = RingMe(URL, auth=APP, transport=transport, retry=RetryPolicy(base=0.0))

    error = await closed_under(ringme.clients.get(12), ringme)

    assert isinstance(error.__cause__, ServerError)
    assert len(transport.logins) == 1


@jumping
async def test_a_request_that_the_transport_refuses_was_not_sent() -> None:
    transport = ScriptedTransport([InvalidRequest("no such loop"), record(id=12)])

    async with RingMe(URL, auth=FIXED, transport=transport) as ringme:
        with pytest.raises(InvalidRequest) as caught:
            await ringme.clients.update(12, OMSK)
        assert (await ringme.clients.get(12)).id == 12

    assert not caught.value.maybe_applied


@pytest.mark.parametrize("auth", [FIXED, APP], ids=["token", "login"])
@pytest.mark.parametrize(
    "transport",
    [AiohttpTransport, HttptoolsTransport, lambda: InMemoryTransport(never)],
    ids=["aiohttp", "httptools", "memory"],
)
async def test_a_transport_closed_by_another_ringme_gives_a_plain_error(
    auth: Auth, transport: Callable[[], Transport]
) -> None:
    shared = transport()
    async with RingMe(URL, auth=auth, transport=shared):
        pass

    async with RingMe(URL, auth=auth, transport=shared) as ringme:
        with pytest.raises(InvalidRequest, match=r"is closed; .* give each RingMe its own") as one:
            await ringme.clients.update(12, OMSK)
        (many,) = await ringme.clients.get_many([12])

    assert not one.value.maybe_applied
    assert isinstance(many, Failed)
    assert isinstance(many.error, InvalidRequest)
