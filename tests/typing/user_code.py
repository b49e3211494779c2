"""What users write. Nothing here runs: mypy and pyright, both strict, read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import assert_never, assert_type

from attrs import frozen

from ringme_async import (
    UNSET,
    AiohttpTransport,
    AttemptSent,
    Auth,
    BearerToken,
    BulkReport,
    Client,
    ClientCredentials,
    ClientNotFound,
    ClientType,
    ClientUpdate,
    Done,
    Event,
    Failed,
    GeoList,
    HeaderObserver,
    InMemoryTransport,
    LoginLimit,
    NotAttempted,
    Outcome,
    PasswordCredentials,
    RateLimited,
    RefreshToken,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    RingMeError,
    Tenant,
    Timeouts,
    Token,
    TokenHost,
    Transport,
)
from ringme_async.observers import LoggingObserver
from ringme_async.observers.otel import OpenTelemetryObserver


async def read_and_change_one() -> None:
    async with RingMe("https://pbx.example.com", auth=ClientCredentials("app", "secret")) as ringme:
        assert_type(ringme, RingMe)
        me = await ringme.clients.get("@me")
        assert_type(me, Client)
        assert_type(me.id, int)
        assert_type(me.timezone, str | None)
        assert_type(me.type, ClientType | str | None)
        assert_type(me.create_date, datetime | str | None)
        if isinstance(me.geo_list, GeoList):
            assert_type(me.geo_list.allows("RU"), bool)
        update = ClientUpdate(timezone="Asia/Omsk", hold_music=None, geo_list="RU BY")
        changed = await ringme.clients.update(12, update, timeout=5.0, on_quota="wait")
        assert_type(changed, Client)
        assert_type(update.apply_to(me), Client)
        assert_type(ClientUpdate.diff(me, changed), ClientUpdate)
        if update.hold_music is not UNSET:
            assert_type(update.hold_music, int | None)


async def call_another_resource(ringme: RingMe) -> bytes:
    answer = await ringme.request("GET", "/client/@me/extension/", idempotent=True)
    assert_type(answer, Response)
    assert_type(answer.headers["content-type"], str)
    return answer.body


async def tell_errors_apart(ringme: RingMe) -> float | None:
    try:
        await ringme.clients.get(12)
    except RateLimited as error:
        return error.reset_after
    except ClientNotFound as error:
        assert_type(error.status, str | None)
    except RingMeError as error:
        assert_type(error.client_id, str | None)
        assert_type(error.attempts, int)
        assert_type(error.maybe_applied, bool)
    return None


def tell_outcomes_apart(outcome: Outcome[Client]) -> str:
    match outcome:
        case Done(value=client):
            assert_type(client, Client)
            return f"{client.name} at place {outcome.index}"
        case Failed(error=error):
            assert_type(error, RingMeError)
            return f"{outcome.who}: {error}, tried {outcome.attempts} times"
        case NotAttempted():
            return "not tried"
        case _:
            assert_never(outcome)


async def read_many(ringme: RingMe) -> list[Client]:
    tenants = [
        Tenant(auth=ClientCredentials("a", "secret-a"), name="acme"),
        Tenant(12, auth=BearerToken("token"), base_url="https://other.example.com"),
    ]
    report = await ringme.clients.get_many([1, "2", "@me", *tenants], concurrency=64)
    assert_type(report, BulkReport[Client])
    for outcome in report:
        tell_outcomes_apart(outcome)
    return list(report.values())


async def stream_many(ringme: RingMe) -> AsyncIterator[Client]:
    async with ringme.clients.get_many(range(100_000), deadline=3600.0) as run:
        async for outcome in run:
            assert_type(outcome, Outcome[Client])
            if outcome.ok:
                assert_type(run.progress.done, int)
            if isinstance(outcome, Done):
                yield outcome.value


async def ids_from_a_database() -> AsyncIterator[int]:
    for client_id in range(3):
        yield client_id


async def read_as_they_come(ringme: RingMe) -> None:
    await ringme.clients.get_many(ids_from_a_database(), ordered=True)


def changes() -> Iterator[tuple[int | Tenant, ClientUpdate]]:
    yield 12, ClientUpdate(geo_list=GeoList("*"))
    yield Tenant("@me", auth=BearerToken("token")), ClientUpdate(dial_rule_id=None)


async def change_many(ringme: RingMe) -> None:
    assert_type(await ringme.clients.update_many(changes()), BulkReport[Client])
    by_id = {12: ClientUpdate(geo_list="RU BY"), 13: ClientUpdate(timezone="Asia/Omsk")}
    async with ringme.clients.update_many(by_id, concurrency=8) as run:
        async for outcome in run:
            tell_outcomes_apart(outcome)


@frozen
class FromVault:
    """Credentials of a user's own kind."""

    name: str
    renewable: bool = True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        form = {"grant_type": "client_credentials", "client_id": self.name}
        return await host.post(form)


class Counting:
    """A transport of a user's own, around another one."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.sent = 0

    async def send(self, request: Request) -> Response:
        self.sent += 1
        return await self.inner.send(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def answer_in_memory(request: Request) -> Response:
    return Response(200, body=b'{"id": 12}' if request.method == "GET" else b"{}")


def make_one() -> RingMe:
    transport: Transport = Counting(AiohttpTransport())
    auth: Auth = FromVault("app")
    return RingMe(
        "https://pbx.example.com",
        auth=auth,
        transport=transport,
        timeout=30.0,
        timeouts=Timeouts(connect=5.0, attempt=10.0),
        retry=RetryPolicy(attempts=5, base=0.2, cap=10.0),
        on_quota="wait",
        login_limit=LoginLimit(per_second=10, concurrent=3),
        url_form="client_info",
    )


def every_kind_of_credentials() -> list[Auth]:
    return [
        BearerToken("token"),
        ClientCredentials("app", "secret", scope="all"),
        PasswordCredentials("app", "secret", "user", "password"),
        RefreshToken("app", "secret", "refresh"),
    ]


def in_a_test() -> RingMe:
    return RingMe(
        "https://ringme.test",
        auth=BearerToken("token"),
        transport=InMemoryTransport(answer_in_memory),
    )


class RequestNumbers:
    def __call__(self, event: Event) -> None: ...

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        return {"x-request-id": f"{event.call}-{event.attempt}"}


def show(event: Event) -> None:
    assert_type(event.__class__.__name__, str)


def observed() -> RingMe:
    numbers: HeaderObserver = RequestNumbers()
    events: list[Event] = []
    return RingMe(
        "https://pbx.example.com",
        auth=BearerToken("token"),
        observers=[LoggingObserver(), OpenTelemetryObserver(), numbers, show, events.append],
    )
