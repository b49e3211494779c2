"""The token endpoint and the authorization page (API page, section 2; RFC 6749)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from attrs import frozen

from ringme_async.testing.fake.accounts import Accounts, ApplicationKind, FakeApplication, FakeUser
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.testing.fake.exchange import Exchange
from ringme_async.testing.fake.responses import NO_HEADERS, json_answer, refusal
from ringme_async.testing.fake.tokens import OAuthSettings, TokenRegistry, masked
from ringme_async.transports import Headers, Request, Response

TOKEN_PATH = "/oauth/token"
AUTHORIZE_PATH = "/oauth/authorize"

_FORM = "application/x-www-form-urlencoded"
_NOT_KEPT = {"cache-control": "no-store", "pragma": "no-cache"}
_KIND_FOR_GRANT: Mapping[str, ApplicationKind] = {
    "client_credentials": "trusted",
    "password": "password_credentials",
    "authorization_code": "public",
}


class _Refused(Exception):
    """An error answer of RFC 6749, section 5.2."""

    def __init__(
        self,
        code: int,
        error: str,
        description: str,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(description)
        self.code = code
        self.payload: JSON = {"error": error, "error_description": description}
        self.headers = headers


@frozen(eq=False)
class OAuthAPI:
    """Answers everything below ``/oauth`` and ``/login``."""

    settings: OAuthSettings
    accounts: Accounts
    token_registry: TokenRegistry
    date: Callable[[float], str]

    def identify(self, exchange: Exchange) -> None:
        form = _pairs(
            exchange.request.body if exchange.method == "POST" else exchange.query.encode()
        )
        exchange.sent = dict(masked(_json_parameters(exchange.request.body) or form))
        app_id = dict(form).get("client_id")
        if app_id is None:
            exchange.application = self._find_application(_basic(exchange.request.headers)[0])
        else:
            exchange.application = self.accounts.applications.get(app_id)
        if exchange.application is not None:
            exchange.tenant_id = exchange.application.tenant.id

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        return {**_NOT_KEPT, "date": self.date(exchange.at)}

    def count(self, exchange: Exchange) -> None:
        """Do nothing: logins have no hourly counter."""

    def kill_token(self, exchange: Exchange) -> None:
        """Do nothing: a login has no token."""

    def answer(self, exchange: Exchange) -> Response:
        date = self.date(exchange.at)
        if exchange.path == TOKEN_PATH:
            wanted, handle = "POST", self._give_token
        elif exchange.path == AUTHORIZE_PATH:
            wanted, handle = "GET", self._authorize
        else:
            return refusal(404, "There is no such resource.", headers={"date": date})
        if exchange.method != wanted:
            fields = {"allow": wanted, "date": date}
            return refusal(405, f"Only {wanted} is allowed here.", headers=fields)
        try:
            return handle(exchange)
        except _Refused as refused:
            fields = {**refused.headers, **self.headers(exchange)}
            return json_answer(refused.code, refused.payload, fields)

    def _give_token(self, exchange: Exchange) -> Response:
        form = _form(exchange.request)
        application = self._authenticate(form, exchange.request.headers)
        exchange.application, exchange.tenant_id = application, application.tenant.id
        grant = _required(form, "grant_type")
        if form.get("scope", "all") != "all":
            raise _Refused(400, "invalid_scope", "The only scope is all.")
        if grant == "refresh_token":
            return self._refresh(exchange, form, application)
        kind = _KIND_FOR_GRANT.get(grant)
        if kind is None:
            raise _Refused(400, "unsupported_grant_type", "There is no such grant type.")
        if kind != application.kind:
            message = f"An application of the kind {application.kind} may not use this grant."
            raise _Refused(400, "unauthorized_client", message)
        user = self._user_of(kind, form, application)
        return self._token(exchange, application, user, self._new_refresh_token(application, user))

    def _user_of(
        self, kind: ApplicationKind, form: Mapping[str, str], application: FakeApplication
    ) -> FakeUser | None:
        if kind == "trusted":
            return None
        if kind == "password_credentials":
            user = self.accounts.users.get(_required(form, "username"))
            if user is None or user.password != _required(form, "password"):
                raise _Refused(400, "invalid_grant", "The user name or the password is wrong.")
            return user
        code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
        redeemed = self.token_registry.redeem(code, application, redirect_uri)
        if redeemed is None:
            raise _Refused(400, "invalid_grant", "The code is wrong, used, or for another place.")
        return redeemed[0]

    def _refresh(
        self, exchange: Exchange, form: Mapping[str, str], application: FakeApplication
    ) -> Response:
        presented = _required(form, "refresh_token")
        grant = self.token_registry.refresh(presented, application)
        if grant is None:
            raise _Refused(400, "invalid_grant", "The refresh token is wrong or has ended.")
        successor = None
        if self.settings.rotate:
            self.token_registry.end_refresh_token(presented)
            successor = self.token_registry.issue_refresh_token(application, grant.user)
        return self._token(exchange, application, grant.user, successor)

    def _token(
        self,
        exchange: Exchange,
        application: FakeApplication,
        user: FakeUser | None,
        refresh_token: str | None,
    ) -> Response:
        settings = self.settings
        token = self.token_registry.issue(
            application, user, lifetime=settings.lifetime, now=exchange.at
        )
        payload: dict[str, JSON] = {"access_token": token, "token_type": settings.token_type}
        seconds = int(settings.lifetime)
        if settings.expires_in == "number":
            payload["expires_in"] = seconds
        elif settings.expires_in == "string":
            payload["expires_in"] = str(seconds)
        if refresh_token is not None:
            payload["refresh_token"] = refresh_token
        exchange.user = user
        return json_answer(200, payload, self.headers(exchange))

    def _new_refresh_token(self, application: FakeApplication, user: FakeUser | None) -> str | None:
        setting = self.settings.refresh_tokens
        if setting == "always" or (setting == "public" and application.kind == "public"):
            return self.token_registry.issue_refresh_token(application, user)
        return None

    def _authenticate(self, form: Mapping[str, str], headers: Headers) -> FakeApplication:
        by_header = "authorization" in headers
        if not by_header:
            secret = form.get("client_secret", "")
            application = self.accounts.applications.get(_required(form, "client_id"))
            spellings = {secret}
        elif "client_secret" in form:
            raise _Refused(400, "invalid_request", "The client is authenticated in two ways.")
        else:
            app_id, secret = _basic(headers)
            application = self._find_application(app_id)
            spellings = {secret, unquote_plus(secret)}
        if application is None or not _secret_matches(secret, spellings, application):
            raise self._invalid_client(by_header)
        return application

    def _find_application(self, app_id: str) -> FakeApplication | None:
        # RFC 6749 form-encodes both parts of the header, but many clients do not.
        known = self.accounts.applications
        return known.get(app_id) or known.get(unquote_plus(app_id))

    def _invalid_client(self, by_header: bool) -> _Refused:
        # RFC 6749 demands 401 and a challenge when the client used the header.
        code = 401 if by_header else self.settings.refusal_code
        headers = {"www-authenticate": 'Basic realm="ringme"'} if by_header else NO_HEADERS
        return _Refused(code, "invalid_client", "The App ID or the App Secret is wrong.", headers)

    def _authorize(self, exchange: Exchange) -> Response:
        query = dict(_pairs(exchange.query.encode()))
        application = self.accounts.applications.get(query.get("client_id", ""))
        if application is None or application.kind != "public":
            raise _Refused(400, "unauthorized_client", "There is no such public application.")
        redirect_uri = query.get("redirect_uri", "")
        if not urlsplit(redirect_uri).scheme:
            raise _Refused(400, "invalid_request", "redirect_uri must be an absolute URL.")
        if query.get("response_type") == "code":
            user = self.consenting(application)
            answer = {"code": self.token_registry.issue_code(application, user, redirect_uri)}
        else:
            answer = {"error": "unsupported_response_type"}
        if "state" in query:
            answer["state"] = query["state"]
        fields = {
            "location": _with_parameters(redirect_uri, answer),
            "date": self.date(exchange.at),
        }
        return Response(302, Headers(fields))

    def consenting(self, application: FakeApplication) -> FakeUser | None:
        """Find the user who agrees: the first one of the application's client."""
        users = self.accounts.users.values()
        return next((user for user in users if user.tenant is application.tenant), None)


def _secret_matches(secret: str, spellings: set[str], application: FakeApplication) -> bool:
    if not secret:
        return application.kind == "public"
    return application.app_secret in spellings


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    try:
        text = encoded.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        return []


def _json_parameters(body: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a request that sends JSON instead of a form."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, dict):
        return []
    return [(str(name), str(value)) for name, value in cast("dict[str, object]", found).items()]


def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise _Refused(
            400, "invalid_request", f"The body must be {_FORM}, not {kind or 'untyped'}."
        )
    pairs = _pairs(request.body)
    form = {name: value for name, value in pairs if value}
    if len(pairs) != len({name for name, _ in pairs}):
        raise _Refused(400, "invalid_request", "A parameter is there more than once.")
    return form


def _required(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise _Refused(400, "invalid_request", f"The parameter {name} is missing.")
    return form[name]


def _basic(headers: Headers) -> tuple[str, str]:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return "", ""
    app_id, _, secret = pair.partition(":")
    return app_id, secret


def _with_parameters(url: str, parameters: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))
