"""What observers are told, and that they can break nothing."""

from __future__ import annotations

import logging

import pytest

from ringme_async.events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallStarted,
    Event,
    Observers,
    Parked,
    RetryScheduled,
    Woken,
)

URL = "https://pbx.example.com/api/ver1.0/client/12/client/"


async def test_a_trace_emits_the_whole_call_under_one_number() -> None:
    told: list[Event] = []
    trace = Observers([told.append]).trace("GET", "/client/12/client/", URL, "12")

    trace.call_started()
    trace.attempt_sent(1)
    trace.attempt_ended(503, ValueError())
    trace.retry_scheduled(0.5, ValueError())
    trace.parked(3600.0)
    trace.woken()
    trace.attempt_sent(2)
    trace.attempt_ended(200, None)
    trace.call_ended(None)

    assert [type(event) for event in told] == [
        CallStarted,
        AttemptSent,
        AttemptEnded,
        RetryScheduled,
        Parked,
        Woken,
        AttemptSent,
        AttemptEnded,
        CallEnded,
    ]
    assert len({event.call for event in told if hasattr(event, "call")}) == 1


async def test_a_failed_attempt_has_the_name_of_its_error() -> None:
    told: list[Event] = []
    trace = Observers([told.append]).trace("GET", "/", URL, None)

    trace.attempt_ended(None, TimeoutError())

    match told:
        case [AttemptEnded(status_code=None, error_type="TimeoutError", host="pbx.example.com")]:
            pass
        case _:
            pytest.fail(f"unexpected: {told}")


async def test_two_calls_have_two_numbers() -> None:
    told: list[Event] = []
    observers = Observers([told.append])

    observers.trace("GET", "/", "a", None).call_started()
    observers.trace("GET", "/", "a", None).call_started()

    first, second = told
    assert isinstance(first, CallStarted)
    assert isinstance(second, CallStarted)
    assert first.call != second.call


def test_an_observer_that_raises_is_logged_and_the_next_gets_the_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken observer")

    with caplog.at_level(logging.ERROR, "ringme_async.observe"):
        Observers([broken, told.append])(Woken("12"))

    assert told == [Woken("12")]
    assert "broken failed on Woken" in caplog.text


def test_an_observer_that_raises_at_every_event_is_logged_once_with_a_traceback_for_each_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("broken observer")

    def as_broken(event: Event) -> None:
        raise RuntimeError("another broken observer")

    tell = Observers([broken, as_broken])
    with caplog.at_level(logging.DEBUG, "ringme_async.observe"):
        for event in (Woken("1"), Woken("2"), Woken("3"), Parked("1", 60.0)):
            tell(event)

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().rpartition(" failed on ")[2] for record in errors] == [
        "Woken",
        "Woken",
        "Parked",
        "Parked",
    ]
    assert all(record.exc_info for record in errors)
    assert {record.levelno for record in caplog.records} == {logging.ERROR, logging.DEBUG}
    assert len(caplog.records) == 8


def test_without_observers_no_event_is_made() -> None:
    trace = Observers().trace("GET", "/", "a", None)

    assert trace is Observers().trace("PUT", "/other", "b", "12")
