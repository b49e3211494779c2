"""Headers from observers reach a server over a socket."""

from __future__ import annotations

from ringme_async import AiohttpTransport, ClientCredentials, RingMe
from tests.observers.test_headers import Giver
from tests.observers.world import make_fake


async def test_headers_of_an_observer_reach_the_server() -> None:
    fake = make_fake()
    giver = Giver({"traceparent": "00-1-2-01", "host": "evil.example"})
    auth = ClientCredentials("app-id", "app-secret")
    async with (
        fake.serve() as url,
        RingMe(url, auth=auth, transport=AiohttpTransport(), observers=[giver]) as ringme,
    ):
        await ringme.clients.get(1)

    (read,) = fake.requests.of(1)
    assert read.headers["traceparent"] == "00-1-2-01"
    assert read.headers["host"] == url.partition("://")[2]
