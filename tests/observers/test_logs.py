"""The logging observer's lines, loggers and levels; no line holds a secret."""

from __future__ import annotations

import logging
import re

import pytest

from ringme_async import (
    CallEnded,
    ClientUpdate,
    Event,
    InvalidRequest,
    Parked,
    RingMeError,
    TokenFetched,
    Woken,
)
from ringme_async.observers import LoggingObserver
from ringme_async.testing import faults
from tests.observers.world import make_fake, observed

pytestmark = pytest.mark.jumping


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[tuple[str, str]]:
    return [
        (record.name, re.sub(r"\d+\.\d+ s|call \d+", "~", record.getMessage()))
        for record in caplog.records
        if record.levelno == level
    ]


async def test_a_retry_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    fake = make_fake()
    fake.faults.next(faults.ServerError(503))
    with caplog.at_level(logging.INFO, "ringme_async"):
        async with observed(fake, LoggingObserver()) as ringme:
            await ringme.clients.get(1)

    assert lines(caplog) == [
        (
            "ringme_async.retries",
            "~: /client/1/client/: ServerError at attempt 1, again in ~",
        )
    ]
    assert len(caplog.records) == 1


async def test_a_wait_for_quota_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ringme_async"):
        async with observed(make_fake(ceiling=1), LoggingObserver()) as ringme:
            await ringme.clients.get_many([1, 2], concurrency=1)

    (_, waits), (name, goes_on) = lines(caplog)
    assert name == "ringme_async.quota"
    assert re.fullmatch(r"client 2 waits 3\d\d\d s for its quota", waits)
    assert goes_on == "client 2 goes on"


def test_a_call_without_a_client_waits_without_a_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ringme_async"):
        LoggingObserver()(Parked(None, 60.0))
        LoggingObserver()(Woken(None))

    assert caplog.messages == ["a call waits 60 s for its quota", "a call goes on"]


async def test_calls_attempts_and_logins_are_logged_at_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "ringme_async"):
        async with observed(make_fake(), LoggingObserver()) as ringme:
            await ringme.clients.get(1)

    host = make_fake().base_url.partition("://")[2]
    assert lines(caplog, logging.DEBUG) == [
        ("ringme_async.calls", "~: GET /client/1/client/"),
        ("ringme_async.tokens", f"{host} gave a token for client_credentials in ~"),
        ("ringme_async.calls", f"~: GET {host} /client/1/client/, attempt 1"),
        ("ringme_async.calls", f"~: GET {host} /client/1/client/, attempt 1: 200 in ~"),
        ("ringme_async.calls", "~: GET /client/1/client/: done after 1 attempt and ~"),
    ]
    assert lines(caplog) == []


async def test_a_failure_is_logged_with_its_status_and_error_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "ringme_async"):
        async with observed(make_fake(), LoggingObserver()) as ringme:
            with pytest.raises(RingMeError):
                await ringme.clients.get(4040)

    assert "attempt 1: 404 ClientNotFound in" in caplog.text
    assert "/client/4040/client/: ClientNotFound after 1 attempt and" in caplog.text


def test_several_attempts_are_logged_in_the_plural(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "ringme_async"):
        LoggingObserver()(CallEnded(7, "GET", "/x", None, 3, 0.5, None))

    assert caplog.messages == ["call 7: GET /x: done after 3 attempts and 0.500 s"]


async def test_no_secret_query_or_body_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    fake = make_fake()
    fake.faults.next(faults.ServerError(503))
    with caplog.at_level(logging.DEBUG, "ringme_async"):
        async with observed(fake, LoggingObserver()) as ringme:
            await ringme.clients.update(1, ClientUpdate(timezone="Asia/Omsk"))
            with pytest.raises((RingMeError, InvalidRequest)):
                await ringme.request("GET", "/client/1/extension/", params={"q": "private"})

    assert len(caplog.records) > 5
    for private in ("app-secret", "Bearer", "private", "Omsk", "ringme_test"):
        assert private not in caplog.text


async def test_a_disabled_level_formats_no_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unspeakable(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError("nobody listens")

    event: Event = TokenFetched(Unspeakable("a"), Unspeakable("b"), 0.1)
    with caplog.at_level(logging.WARNING, "ringme_async"):
        LoggingObserver()(event)
        async with observed(make_fake(), LoggingObserver()) as ringme:
            await ringme.clients.get(1)

    assert caplog.records == []


def test_a_program_without_logging_sees_nothing_on_its_terminal() -> None:
    handlers = logging.getLogger("ringme_async").handlers

    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
