"""Headers from observers are sent with attempts, and never replace the SDK's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from ringme_async import (
    AttemptSent,
    BearerToken,
    ClientUpdate,
    Event,
    HeaderObserver,
    Observer,
    RingMe,
)
from tests.scripted import ScriptedTransport, record, refusal

pytestmark = pytest.mark.jumping

ZONE = ClientUpdate(timezone="Asia/Omsk")


@define
class Giver:
    """Gives each attempt the same headers."""

    given: Any
    asked: list[AttemptSent] = field(factory=list)

    def __call__(self, event: Event) -> None:
        """Ignore the event."""

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Return the headers."""
        self.asked.append(event)
        return self.given


class Broken(Giver):
    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        raise RuntimeError("broken observer")


async def sent_with(*observers: Observer) -> dict[str, str]:
    transport = ScriptedTransport([record()])
    auth = BearerToken("t0ken")
    async with RingMe(
        "https://pbx.example.com", auth=auth, transport=transport, observers=observers
    ) as ringme:
        await ringme.clients.update(12, ZONE)
    return dict(transport.requests[0].headers)


async def test_headers_of_an_observer_are_sent_along() -> None:
    plain = await sent_with()

    assert await sent_with(Giver({"Traceparent": "00-1-2-01"})) == plain | {
        "traceparent": "00-1-2-01"
    }


async def test_each_attempt_asks_for_headers_of_its_own() -> None:
    giver = Giver({})
    transport = ScriptedTransport([refusal(503), record()])
    auth = BearerToken("t0ken")
    async with RingMe(
        "https://pbx.example.com", auth=auth, transport=transport, observers=[giver]
    ) as ringme:
        await ringme.clients.get(12)

    assert [event.attempt for event in giver.asked] == [1, 2]
    assert giver.asked[0].url == "https://pbx.example.com/api/ver1.0/client/12/client/"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "accept",
        "ACCEPT-ENCODING",
        "content-type",
        "Content-Length",
        "host",
        "transfer-encoding",
        "user-agent",
        "cookie",
    ],
)
async def test_an_observer_overrides_no_header_of_the_sdk(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = await sent_with()

    assert await sent_with(Giver({name: "theirs", "b3": "1"})) == plain | {"b3": "1"}
    assert f"may not set the header {name.lower()}" in caplog.text


@pytest.mark.parametrize(
    "given",
    [{"b3": "1\r\nhost: evil.example"}, {"b3\n": "1"}, {"b 3": "1"}, {"": "1"}, {"b3": "\xe9"}],
)
async def test_a_header_that_cannot_be_sent_is_left_out(
    given: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert await sent_with(Giver(given)) == await sent_with()
    assert "cannot be sent" in caplog.text
    assert "evil" not in caplog.text


@pytest.mark.parametrize("broken", [Broken({}), Giver({"b3": 1}), Giver(None)])
async def test_an_observer_that_cannot_give_headers_breaks_no_call(
    broken: Giver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "ringme_async.observe"):
        sent = await sent_with(broken, Giver({"b3": "1"}))

    assert sent["b3"] == "1"
    assert f"{type(broken).__name__} failed on headers" in caplog.text


async def test_a_plain_function_sends_no_headers() -> None:
    events: list[Event] = []

    assert not isinstance(events.append, HeaderObserver)
    assert await sent_with(events.append) == await sent_with()


async def test_the_last_of_two_observers_wins() -> None:
    sent = await sent_with(Giver({"b3": "1", "x": "1"}), Giver({"B3": "2"}))

    assert (sent["b3"], sent["x"]) == ("2", "1")


async def test_a_forbidden_header_causes_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    giver = Giver({"Cookie": "a=b", "x": "\r\n"})
    transport = ScriptedTransport([refusal(503), record()])
    auth = BearerToken("t0ken")
    with caplog.at_level(logging.WARNING, "ringme_async.observe"):
        async with RingMe(
            "https://pbx.example.com", auth=auth, transport=transport, observers=[giver]
        ) as ringme:
            await ringme.clients.get(12)

    assert len(giver.asked) == 2
    assert caplog.messages == [
        "The observer Giver may not set the header cookie",
        "The observer Giver gave a header that cannot be sent",
    ]
