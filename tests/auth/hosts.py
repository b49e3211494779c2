"""Token endpoints for tests: in memory, with a record of their requests."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from attrs import define, field

from ringme_async.auth import (
    ClientCredentials,
    LoginLimit,
    TokenEndpoint,
    TokenKey,
)
from ringme_async.events import Observers
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudgets
from ringme_async.transports import Headers, Request, Response, Timeouts

ORIGIN = "https://pbx.example.com"
KEY = TokenKey(ORIGIN, ClientCredentials("app-1", "s3cret-of-app-1"))


def key_of(number: int, origin: str = ORIGIN) -> TokenKey:
    return TokenKey(origin, ClientCredentials(f"app-{number}", f"s3cret-of-app-{number}"))


def form_of(request: Request) -> dict[str, str]:
    form = parse_qs(request.body.decode(), keep_blank_values=True)
    return {name: values[0] for name, values in form.items()}


def answer(
    status: int = 200, body: object = b"", content_type: str = "application/json", **headers: str
) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, Headers({"content-type": content_type, **headers}), raw)


def token_answer(value: str, **more: object) -> Response:
    body = {"access_token": value, "token_type": "Bearer", "expires_in": 3600, **more}
    return answer(200, body)


Handler = Callable[[Request], Awaitable[Response]]


@define(eq=False)
class Host:
    """A transport that answers each token request with a numbered token, or with ``handler``."""

    handler: Handler | None = None
    seconds: float = 0.0
    requests: list[Request] = field(factory=list)
    starts: list[float] = field(factory=list)
    in_flight: int = 0
    peak: int = 0

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        self.starts.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
            if self.handler is not None:
                return await self.handler(request)
            return token_answer(f"token-{len(self.requests)}")
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        pass

    @property
    def forms(self) -> list[dict[str, str]]:
        return [form_of(request) for request in self.requests]

    @property
    def logins(self) -> Counter[str]:
        return Counter(form["client_id"] for form in self.forms)


def script(*steps: Response | Exception) -> Handler:
    """Answer with each step in turn; the last one repeats."""
    left = list(steps)

    async def handle(_request: Request) -> Response:
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, Exception):
            raise step
        return step

    return handle


@define(eq=False)
class PendingAnswers:
    """A handler whose answers the test sets one by one."""

    answers: list[asyncio.Future[Response]] = field(factory=list)

    async def __call__(self, _request: Request) -> Response:
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.answers.append(future)
        return await future


async def settle(steps: int = 20) -> None:
    """Run every step that needs no time to pass."""
    for _ in range(steps):
        await asyncio.sleep(0)


def endpoint_over(
    host: Host,
    *,
    login_limit: LoginLimit | None = None,
    retry: RetryPolicy | None = None,
    budgets: RetryBudgets | None = None,
    timeouts: Timeouts | None = None,
    observers: Observers | None = None,
) -> TokenEndpoint:
    return TokenEndpoint(
        host,
        login_limit=login_limit,
        retry=retry or RetryPolicy(base=0.0),
        budgets=budgets,
        timeouts=timeouts,
        observers=observers,
    )


def most_in_a_second(starts: list[float]) -> int:
    """The number of starts in the busiest sliding second."""
    most = first = 0
    for last, moment in enumerate(starts):
        while moment - starts[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
