"""The resources below ``/api/ver1.0`` (API page, sections 1, 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import unquote

from attrs import define, field

from ringme_async.testing.fake.accounts import Access, Accounts, FakeTenant
from ringme_async.testing.fake.client_schema import FIELDS, JSON, flaw_in
from ringme_async.testing.fake.exchange import API_ROOT, Exchange, Route
from ringme_async.testing.fake.rate_limits import RateLimits
from ringme_async.testing.fake.request_log import RequestLog
from ringme_async.testing.fake.responses import BUSY, NOTHING, json_answer, raw_answer, refusal
from ringme_async.testing.fake.tokens import Grant, TokenRegistry
from ringme_async.transports import Headers, Request, Response

_LONGEST_ID = 19

ResourceAnswer: TypeAlias = "JSON | Callable[[Request], JSON | Response]"


@define(eq=False)
class ClientAPI:
    """Answers everything below ``/api/ver1.0``."""

    accounts: Accounts
    token_registry: TokenRegistry
    rate_limits: RateLimits
    log: RequestLog
    date: Callable[[float], str]
    later_revision: bool
    one_write_at_a_time: bool = False
    _writing: set[int] = field(factory=set[int])
    _routes: list[Route] = field(factory=list[Route])

    def __attrs_post_init__(self) -> None:
        for path in ("/client/{client_id}/client/", "/client/client_info/{client_id}/"):
            route = self._route_of(path)
            route.handlers["GET"] = self._read
            route.handlers["PUT"] = self._change

    def add_resource(self, method: str, path: str, answer: ResourceAnswer, status: int) -> None:
        def handle(exchange: Exchange, _tenant: FakeTenant) -> Response:
            payload = answer(exchange.request) if callable(answer) else answer
            if isinstance(payload, Response):
                fields = {**self.headers(exchange), **payload.headers}
                return Response(payload.status, Headers(fields), payload.body)
            if status == 204:
                return Response(204, Headers(self.headers(exchange)))
            return json_answer(status, payload, self.headers(exchange))

        self._route_of(path).handlers[method] = handle

    def release(self, exchange: Exchange) -> None:
        if exchange.writes and exchange.tenant_id is not None:
            self._writing.discard(exchange.tenant_id)

    def identify(self, exchange: Exchange) -> None:
        scheme, _, token = exchange.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            exchange.grant = grant = self.token_registry.grant_of(token.strip())
            if grant is not None:
                exchange.application = grant.application
                exchange.user = grant.user
        parts = exchange.path.split("/")
        if "%" in exchange.path:
            parts = [unquote(part) for part in parts]
        exchange.route = route = next(
            (route for route in self._routes if route.matches(parts)), None
        )
        if route is not None:
            exchange.tenant_id = _tenant_id(route.client_id(parts), exchange)
        if exchange.request.body:
            exchange.sent, exchange.flaw = _object_in(exchange.request)
        elif exchange.method == "PUT":
            exchange.flaw = "the body must be a JSON object, and there is none"

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        fields = self.rate_limits.headers(exchange.application, exchange.at)
        fields["date"] = self.date(exchange.at)
        return fields

    def count(self, exchange: Exchange) -> None:
        if exchange.application is not None:
            self.rate_limits.admit(exchange.application, exchange.at)

    def kill_token(self, exchange: Exchange) -> None:
        if exchange.grant is not None:
            exchange.grant.revoked = True

    def answer(self, exchange: Exchange) -> Response:
        grant = exchange.grant
        if grant is None or not grant.is_live(exchange.at):
            return self._unauthorized(exchange)
        if exchange.method == "PUT" and exchange.tenant_id in self._writing:
            return refusal(429, BUSY, headers={"date": self.date(exchange.at)})
        if not self.rate_limits.admit(grant.application, exchange.at):
            self.log.violation("hourly_limit", "the hourly limit was used up", exchange.at)
            return self._refuse(
                exchange, 429, "The hourly limit is used up.", "rate_limit_exceeded"
            )
        route = exchange.route
        if route is None:
            return self._refuse(exchange, 404, "There is no such resource.")
        handler = route.handlers.get(exchange.method)
        if handler is None:
            allowed = ", ".join(sorted(route.handlers))
            return refusal(
                405,
                f"Only {allowed} may be used here.",
                headers={**self.headers(exchange), "allow": allowed},
            )
        refused = self._access_refusal(exchange, route, grant)
        if refused is not None:
            return refused
        return handler(exchange, self._tenant_of(exchange) or grant.tenant)

    def _tenant_of(self, exchange: Exchange) -> FakeTenant | None:
        return None if exchange.tenant_id is None else self.accounts.tenants.get(exchange.tenant_id)

    def _access_refusal(self, exchange: Exchange, route: Route, grant: Grant) -> Response | None:
        user = grant.user
        tenant = self._tenant_of(exchange)
        if route.names_client and tenant is None:
            message = "There is no client with this id."
            return self._refuse(exchange, 404, message, "client_not_found")
        if grant.application.tenant.blocked or grant.tenant.blocked:
            return self._refuse(exchange, 403, "The client is blocked.", "user_blocked")
        if user is not None and user.blocked:
            return self._refuse(exchange, 403, "The user is blocked.", "user_blocked")
        if tenant is not None and not grant.reaches(tenant):
            return self._refuse(exchange, 403, "This client is none of yours.", "access_denied")
        if tenant is not None and tenant.blocked:
            return self._refuse(exchange, 403, "The client is blocked.", "user_blocked")
        if not _allows(grant.application.access, exchange):
            message = "The application's access level is too low."
            return self._refuse(exchange, 403, message, "app_access_type_deny")
        if user is not None and not _allows(user.access, exchange):
            message = "The user's access level is too low."
            return self._refuse(exchange, 403, message, "user_access_type_deny")
        return None

    def _read(self, exchange: Exchange, tenant: FakeTenant) -> Response:
        return raw_answer(200, tenant.encoded(), self.headers(exchange))

    def _change(self, exchange: Exchange, tenant: FakeTenant) -> Response:
        if self.one_write_at_a_time:
            self._writing.add(tenant.id)
            exchange.writes = True
        flaws = [exchange.flaw] if exchange.flaw is not None else self._flaws_in(exchange.sent)
        if flaws:
            return self._refuse(exchange, 400, f"Wrong: {'; '.join(flaws)}.", "wrong_parameter")
        locked = ", ".join(sorted(exchange.sent.keys() & tenant.locked))
        if locked:
            message = f"{locked} may not be changed by this client."
            return self._refuse(exchange, 403, message, "access_denied")
        exchange.changed = tenant.differences(exchange.sent)
        if exchange.sent:
            tenant.set(**exchange.sent)
        return self._read(exchange, tenant)

    def _flaws_in(self, fields: Mapping[str, JSON]) -> list[str]:
        flaws = (self._flaw_in(name, value) for name, value in fields.items())
        return [flaw for flaw in flaws if flaw is not None]

    def _flaw_in(self, name: str, value: JSON) -> str | None:
        spec = FIELDS.get(name)
        if spec is None or (spec.later and not self.later_revision):
            return f"{name!a} is no field of a client"
        if not spec.writable:
            return f"{name} cannot be written"
        return flaw_in(spec, value)

    def _unauthorized(self, exchange: Exchange) -> Response:
        challenge = 'Bearer realm="ringme"'
        message = "There is no token."
        if "authorization" in exchange.request.headers:
            challenge += ', error="invalid_token"'
            message = "The token has expired or is wrong."
        fields = {**self.headers(exchange), "www-authenticate": challenge}
        return refusal(401, message, headers=fields)

    def _refuse(
        self, exchange: Exchange, code: int, message: str, word: str | None = None
    ) -> Response:
        return refusal(code, message, word, self.headers(exchange))

    def _route_of(self, path: str) -> Route:
        segments = tuple(f"{API_ROOT}{path}".split("/"))
        for route in self._routes:
            if route.segments == segments:
                return route
        route = Route(segments, {})
        self._routes.append(route)
        return route


def _tenant_id(client_id: str | None, exchange: Exchange) -> int | None:
    if client_id == "@me":
        return None if exchange.grant is None else exchange.grant.tenant.id
    if client_id is None or not (client_id.isascii() and client_id.isdigit()):
        return None
    # No client has an id longer than the API's integers.
    return int(client_id) if len(client_id) <= _LONGEST_ID else None


def _allows(access: Access, exchange: Exchange) -> bool:
    return access == "full" or (access == "read" and exchange.method == "GET")


def _object_in(request: Request) -> tuple[Mapping[str, JSON], str | None]:
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":
        given = kind.strip() or "nothing"
        return NOTHING, f"the Content-Type must be application/json, not {given}"
    try:
        value: JSON = json.loads(
            request.body.decode(), parse_float=_number, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        return NOTHING, "the body must be JSON in UTF-8"
    if not isinstance(value, dict):
        return NOTHING, "the body must be a JSON object"
    return value, None


def _number(text: str) -> JSON:
    # JSON has one kind of number: 7.0 is a whole one.
    number = float(text)
    return int(number) if number.is_integer() else number


def _refuse_constant(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")
