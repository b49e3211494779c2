"""No failure of a login shows a secret in an exception or a log."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import traceback
from pathlib import Path

import pytest

from ringme_async.auth import (
    Auth,
    ClientCredentials,
    PasswordCredentials,
    RefreshToken,
    TokenKey,
    TokenStore,
)
from ringme_async.auth.credentials import file_key
from ringme_async.auth.token_file import TokenFile
from ringme_async.errors import ConnectError, RingMeError
from ringme_async.transports import Headers, Request, Response
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import ORIGIN, Host, endpoint_over, token_answer

pytestmark = pytest.mark.jumping

APP_SECRET = "hush/app+secret"
PASSWORD = "hush pass&word"
REFRESH = "hush%refresh"
SECRETS = [APP_SECRET, PASSWORD, REFRESH, "hush"]
AUTHS: list[Auth] = [
    ClientCredentials("app", APP_SECRET),
    PasswordCredentials("app", APP_SECRET, "ann", PASSWORD),
    RefreshToken("app", APP_SECRET, REFRESH),
]
STATUSES = [200, 301, 307, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503]


def echo(status: int, shape: str) -> Host:
    """A server that echoes the whole request, as a debug page does."""

    async def handle(request: Request) -> Response:
        form = request.body.decode()
        body = {
            "raw": request.body,
            "html": f"<html><pre>{form}</pre>".encode(),
            "oauth": json.dumps({"error": form, "error_description": form}).encode(),
            "api": json.dumps({"status": form, "message": form}).encode(),
            "token": json.dumps({"access_token": f"{form}\n", "token_type": form}).encode(),
            "type": json.dumps({"access_token": "t", "token_type": form}).encode(),
        }[shape]
        return Response(status, Headers({"location": f"http://x/?{form}", "x-debug": form}), body)

    return Host(handle)


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
@pytest.mark.parametrize("shape", ["raw", "html", "oauth", "api", "token", "type"])
@pytest.mark.parametrize("status", STATUSES)
async def test_a_server_that_echoes_the_form_reveals_no_secret(
    auth: Auth, shape: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RingMeError) as caught:
        await TokenStore().get(TokenKey(ORIGIN, auth), endpoint_over(echo(status, shape)))
    assert_keeps(told_by(caught.value), *SECRETS)
    assert_keeps(caplog.text, *SECRETS)


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
async def test_a_transport_error_with_the_form_reveals_no_secret(
    auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def handle(request: Request) -> Response:
        form = request.body.decode()
        raise ConnectError("refused") from OSError(form)

    with pytest.raises(RingMeError) as caught:
        await TokenStore().get(TokenKey(ORIGIN, auth), endpoint_over(Host(handle)))
    assert_keeps(told_by(caught.value), *SECRETS)
    assert_keeps(caplog.text, *SECRETS)


async def test_a_broken_token_file_reveals_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    path.touch(0o600)
    for content in (b"hush\n", b'{"ringme_tokens": 1}\nhush\n'):
        path.write_bytes(content)
        TokenStore(path=path)
    assert len(caplog.records) == 2
    assert_keeps(caplog.text, "hush")


async def test_a_store_reveals_no_secret(tmp_path: Path) -> None:
    store = TokenStore(path=tmp_path / "tokens")
    await store.get(TokenKey(ORIGIN, AUTHS[0]), endpoint_over(Host()))
    assert_keeps(repr(store) + repr(vars(store)), *SECRETS, "token-1")


class Halted(BaseException):
    """Stands for a KeyboardInterrupt, which would end the test run."""


@pytest.mark.parametrize("begun", [False, True], ids=["a new file", "a line more"])
@pytest.mark.parametrize("at", ["write", "fsync"])
def test_a_program_interrupted_in_a_write_reveals_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, begun: bool
) -> None:
    file = TokenFile(tmp_path / "tokens", capacity=9, wall_clock=time.time)
    if begun:
        file.keep("k-0", "hush-t-0", 60.0, "hush-r-0")
        file.write()

    def halt(*_: object) -> int:
        raise Halted

    monkeypatch.setattr(os, at, halt)
    file.keep("k-1", "hush-t-1", 60.0, "hush-r-1")
    with pytest.raises(Halted) as caught:
        file.write()
    assert_keeps(own_frames(caught.value), "hush")


async def test_a_trade_in_cancelled_after_its_answer_reveals_no_secret(tmp_path: Path) -> None:
    async def handle(request: Request) -> Response:
        await asyncio.sleep(5)
        return token_answer("hush-t", refresh_token="hush-r")

    store = TokenStore(path=tmp_path / "tokens")
    key = TokenKey(ORIGIN, AUTHS[2])
    call = asyncio.create_task(store.get(key, endpoint_over(Host(handle))))
    await asyncio.sleep(1)
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(1)
    closing.cancel()
    for task in (call, closing):
        with pytest.raises((RingMeError, asyncio.CancelledError)) as caught:
            await task
        assert_keeps(told_by(caught.value), *SECRETS)


async def test_a_trade_in_that_waits_for_another_process_reveals_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = TokenKey(ORIGIN, AUTHS[2])
    file = TokenFile(tmp_path / "tokens", capacity=9, wall_clock=time.time)
    lock = file.lock_of(str(file_key(key)))
    assert lock.acquire()
    with pytest.raises(RingMeError) as caught:
        await TokenStore(path=tmp_path / "tokens").get(key, endpoint_over(Host()))
    lock.release()
    assert_keeps(told_by(caught.value), *SECRETS)
    assert_keeps(caplog.text, *SECRETS)


def own_frames(error: BaseException) -> str:
    """Show the traceback with its locals, without the test's own frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return repr([(frame.name, frame.locals) for frame in shown.stack if "test" not in frame.name])
