"""No failure of a call leaves a token or a secret in the frames of its traceback."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from ringme_async import (
    AiohttpTransport,
    ClientCredentials,
    ClientUpdate,
    Failed,
    InMemoryTransport,
    PasswordCredentials,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    RingMeError,
    Timeouts,
    Transport,
)
from ringme_async.testing import FakeRingMe, faults
from ringme_async.transports.httptools import HttptoolsTransport

SECRET = "s3cret/of+the-App"
PASSWORD = "pass&word-of-anna"
ONCE = RetryPolicy(attempts=1)
BRIEF = Timeouts(connect=0.2, attempt=0.2)
TWICE = RetryPolicy(attempts=2, base=0.001, cap=0.001)

WAYS: dict[str, Callable[[FakeRingMe], Transport]] = {
    "memory": InMemoryTransport,
    "aiohttp": lambda _fake: AiohttpTransport(max_body=100_000),
    "httptools": lambda _fake: HttptoolsTransport(max_body=100_000),
}
FAULTS: dict[str, Callable[[], faults.Fault]] = {
    "busy": faults.Busy,
    "cut": faults.CutBody,
    "empty": lambda: faults.Empty(502),
    "garbled": faults.GarbledBody,
    "garbled gzip": faults.GarbledGzip,
    "bomb": lambda: faults.GzipBomb(10_000_000),
    "html": lambda: faults.Html(502),
    "limited": faults.RateLimited,
    "redirect": lambda: faults.Redirect("https://elsewhere.example/"),
    "reset before": faults.ResetBefore,
    "reset after": faults.ResetAfter,
    "server error": faults.ServerError,
    "stall": faults.Stall,
    "forbidden": lambda: faults.Status(403),
    "unauthorized": lambda: faults.Status(401),
}


@asynccontextmanager
async def connected(
    way: str,
    fake: FakeRingMe,
    secret: str = SECRET,
    retry: RetryPolicy = ONCE,
    timeouts: Timeouts = BRIEF,
) -> AsyncIterator[RingMe]:
    auth = ClientCredentials("dealer", secret)
    settings: dict[str, Any] = {
        "auth": auth,
        "retry": retry,
        "timeouts": timeouts,
    }
    if way == "memory":
        transport = WAYS[way](fake)
        async with RingMe(fake.base_url, transport=transport, **settings) as ringme:
            yield ringme
        return
    async with fake.serve() as url, RingMe(url, transport=WAYS[way](fake), **settings) as ringme:
        yield ringme


@pytest.fixture
def fake() -> FakeRingMe:
    fake = FakeRingMe()
    fake.add_tenants(2)
    fake.add_dealer("dealer", SECRET)
    return fake


def chain(error: BaseException | None, seen: set[int] | None = None) -> Iterator[BaseException]:
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    yield from chain(error.__cause__, seen)
    yield from chain(error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from chain(inner, seen)


def locals_of(trace: TracebackType | None) -> Iterator[tuple[str, object]]:
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__:
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{code.co_filename}:{code.co_qualname}: {name}", value
        trace = trace.tb_next


def shown(value: object, levels: int = 4) -> Iterator[str]:
    """Show a value as tools do that show locals, its fields and items one by one as well."""
    yield repr(value)
    if levels == 0:
        return
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            if field.repr and hasattr(value, field.name):
                yield from shown(getattr(value, field.name), levels - 1)
    elif isinstance(value, dict):
        for name, inner in list(value.items()):
            yield from shown(name, levels - 1)
            yield from shown(inner, levels - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in list(value):
            yield from shown(inner, levels - 1)


def exposed(error: BaseException, *secrets: str) -> list[str]:
    """Name the locals that show a secret."""
    written = {
        form
        for secret in secrets
        for form in (
            secret,
            quote(secret, safe=""),
            base64.b64encode(secret.encode()).decode().rstrip("="),
        )
    }
    return [
        place
        for one in chain(error)
        for place, value in locals_of(one.__traceback__)
        if any(form in text for text in shown(value) for form in written)
    ]


def test_what_a_frame_shows_is_found() -> None:
    def leak(held: str) -> None:
        raise ValueError(len(held))

    code = leak.__code__.replace(co_filename="elsewhere.py")
    with pytest.raises(ValueError, match="21") as caught:
        type(leak)(code, globals())(f"[a {SECRET}]")
    assert [place[-4:] for place in exposed(caught.value, SECRET)] == ["held"]


async def failure_of(call: Awaitable[object]) -> RingMeError:
    with pytest.raises(RingMeError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_failed_call_shows_no_token(way: str, fault: str, fake: FakeRingMe) -> None:
    async with connected(way, fake) as ringme:
        await ringme.clients.get(2)
        (token,) = fake.engine.oauth.token_registry._grants
        fake.faults.always(FAULTS[fault](), tenant=1)
        for call in (
            ringme.clients.get(1, timeout=1),
            ringme.clients.update(1, ClientUpdate(hold_music=5), timeout=1),
        ):
            error = await failure_of(call)
            tokens = [token, *fake.engine.oauth.token_registry._grants]
            assert exposed(error, SECRET, *tokens) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"limited", "unauthorized"}))
async def test_a_failed_login_shows_no_secret(way: str, fault: str, fake: FakeRingMe) -> None:
    async with connected(way, fake) as ringme:
        fake.faults.always(FAULTS[fault](), on="/oauth")
        error = await failure_of(ringme.clients.get(1, timeout=1))
        assert exposed(error, SECRET) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_refused_login_shows_no_secret(way: str, fake: FakeRingMe) -> None:
    async with connected(way, fake, "another/s3cret") as ringme:
        error = await failure_of(ringme.clients.get(1))
        assert exposed(error, "another/s3cret") == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_is_tried_again_shows_no_token(way: str, fake: FakeRingMe) -> None:
    async with connected(way, fake, retry=TWICE) as ringme:
        fake.faults.always(faults.ResetAfter(), tenant=1)
        error = await failure_of(ringme.clients.get(1))
        assert exposed(error, SECRET, *fake.engine.oauth.token_registry._grants) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_host_that_is_down_shows_no_secret(way: str, fake: FakeRingMe) -> None:
    async with connected(way, fake) as ringme:
        await ringme.clients.get(2)
        await fake.engine.go_down()
        error = await failure_of(ringme.clients.get(1, timeout=1))
        assert exposed(error, SECRET, *fake.engine.oauth.token_registry._grants) == []


@pytest.mark.parametrize("way", WAYS)
async def test_failures_of_a_bulk_run_and_a_plan_show_no_token(way: str, fake: FakeRingMe) -> None:
    async with connected(way, fake) as ringme:
        plan = await ringme.clients.plan({1: ClientUpdate(hold_music=5)})
        fake.tenant(1).set(hold_music=6)
        outcomes = [*await plan.apply(), *await ringme.clients.get_many([1, 2, 99, "@you"])]
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
        assert len(failures) == 3
        for failed in failures:
            assert exposed(failed.error, SECRET, *fake.engine.oauth.token_registry._grants) == []


async def test_a_user_and_a_password_are_not_shown(fake: FakeRingMe) -> None:
    auth = PasswordCredentials("dealer", SECRET, "anna@firma.example", PASSWORD)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        error = await failure_of(ringme.clients.get(1))
        assert exposed(error, SECRET, PASSWORD) == []


@pytest.mark.parametrize("on", ["GET", "PUT", "/oauth"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_is_cancelled_shows_no_secret(
    way: str, on: str, fake: FakeRingMe
) -> None:
    async with connected(way, fake, timeouts=Timeouts(connect=5, attempt=5)) as ringme:
        if on != "/oauth":
            await ringme.clients.get(2)
        fake.faults.always(faults.Stall(), on=on)
        call = (
            ringme.clients.update(1, ClientUpdate(hold_music=5))
            if on == "PUT"
            else ringme.clients.get(1)
        )
        task = asyncio.create_task(call)
        while fake.requests.total < (1 if on == "/oauth" else 3):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert exposed(caught.value, SECRET, *fake.engine.oauth.token_registry._grants) == []


@pytest.mark.parametrize("way", ["memory"])
async def test_a_bug_behind_a_transport_shows_no_token(way: str, fake: FakeRingMe) -> None:
    async def broken(request: Request) -> Response:
        if request.url.endswith("/oauth/token"):
            return await fake(request)
        raise ZeroDivisionError

    auth = ClientCredentials("dealer", SECRET)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(broken)) as ringme:
        with pytest.raises(ZeroDivisionError) as caught:
            await ringme.clients.get(1)
        assert exposed(caught.value, SECRET, *fake.engine.oauth.token_registry._grants) == []


@pytest.mark.parametrize("on", ["GET", "/oauth"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_deadline_shows_no_secret(way: str, on: str, fake: FakeRingMe) -> None:
    async with connected(way, fake, timeouts=Timeouts(connect=5, attempt=5)) as ringme:
        if on == "GET":
            await ringme.clients.get(2)
        fake.faults.always(faults.Stall(), on=on)
        error = await failure_of(ringme.clients.get(1, timeout=0.1))
        assert exposed(error, SECRET, *fake.engine.oauth.token_registry._grants) == []
