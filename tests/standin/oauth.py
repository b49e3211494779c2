"""The token endpoint (API page, section 2)."""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import parse_qs

from .answers import Answers
from .books import Books, Login
from .clock import now
from .config import Application, Config
from .faults import FaultBox
from .wire import Message, Reply
from .world import Token, Tokens

PATH = "/oauth/token"


class Refused(Exception):
    """An OAuth error (RFC 6749, section 5.2)."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.description = description


class OAuth:
    """Issues tokens within the login limits."""

    def __init__(
        self, config: Config, books: Books, answers: Answers, tokens: Tokens, faults: FaultBox
    ) -> None:
        self.config = config
        self.books = books
        self.answers = answers
        self.tokens = tokens
        self.faults = faults
        self._applications = {each.app_id: each for each in config.applications}
        self._starts: deque[float] = deque()
        self._in_flight = 0

    def application(self, app_id: str) -> Application | None:
        """The application of this App ID."""
        found = self._applications.get(app_id)
        own = self.config.own_applications
        return found if found is not None or own is None else own.find(app_id)

    def handle(self, message: Message) -> Reply:
        """Answer one token request."""
        form = parse_qs(message.body.decode("utf-8", "replace"), keep_blank_values=True)
        app_id = form.get("client_id", [""])[0]
        login = self.books.login(app_id, form.get("grant_type", [""])[0])
        self._in_flight += 1
        reply = self._answer(message, form, login)
        if reply.delay == 0:
            reply.delay = self.config.login_latency
        reply.entry = self.books.open(also=lambda outcome, _ok: self._ended(login, outcome))
        return reply

    def _ended(self, login: Login, outcome: str) -> None:
        login.outcome = outcome
        self._in_flight -= 1
        self.books.login_ended()

    def _answer(self, message: Message, form: dict[str, list[str]], login: Login) -> Reply:
        excess = self._excess()
        if excess is not None:
            reply = self.answers.refusal(429, None, "Too many logins")
            reply.outcome = excess
            return reply
        fault = self.faults.on_login(login.app)
        if fault is not None:
            self.books.faults[f"login {fault.kind}"] += 1
            if not fault.after:
                return self.answers.instead(fault, message.target)
        reply = self._grant(message, form)
        return reply if fault is None else self.answers.spoil(reply, fault)

    def _excess(self) -> str | None:
        moment = now()
        while self._starts and self._starts[0] <= moment - 1.0:
            self._starts.popleft()
        most = self.config.login_per_second
        if most is not None and len(self._starts) >= most:
            return "429 too many a second"
        if self.config.login_at_once is not None and self._in_flight > self.config.login_at_once:
            return "429 too many at once"
        self._starts.append(moment)
        return None

    def _grant(self, message: Message, form: dict[str, list[str]]) -> Reply:
        try:
            self._check_request(message, form)
            application = self._authenticate(form)
            user = self._check_grant(application, form)
        except Refused as error:
            said = {"error": error.error, "error_description": error.description}
            reply = self.answers.json(error.status, said, [("Cache-Control", "no-store")])
            reply.outcome = f"{error.status} {error.error}"
            return reply
        return self._give(application, user, form)

    def _check_request(self, message: Message, form: dict[str, list[str]]) -> None:
        kind = (message.get("content-type") or "").partition(";")[0].strip().lower()
        if message.method != "POST":
            self.books.violation("unknown method", f"{message.method} at the token endpoint")
            raise Refused(400, "invalid_request", "POST is the only way")
        if kind != "application/x-www-form-urlencoded":
            self.books.violation("wrong content type", f"login with {kind!r}")
            raise Refused(400, "invalid_request", "The parameters must be form-encoded")
        if message.all("authorization"):
            self.books.violation("Authorization at the token endpoint", "login")
        twice = [name for name, values in form.items() if len(values) > 1]
        if twice:
            raise Refused(400, "invalid_request", f"{twice[0]} is there twice")

    def _authenticate(self, form: dict[str, list[str]]) -> Application:
        application = self.application(form.get("client_id", [""])[0])
        if application is None or form.get("client_secret") != [application.secret]:
            status = self.config.wrong_secret_status
            raise Refused(status, "invalid_client", "Unknown App ID or wrong App Secret")
        return application

    def _check_grant(self, application: Application, form: dict[str, list[str]]) -> str | None:
        grant = form.get("grant_type", [""])[0]
        kinds = {
            "client_credentials": {"trusted"},
            "password": {"password"},
            "refresh_token": {"trusted", "password", "public"},
        }
        if grant not in kinds:
            raise Refused(400, "unsupported_grant_type", "This grant is not known here")
        if application.kind not in kinds[grant]:
            raise Refused(400, "unauthorized_client", "Not with this kind of application")
        if grant == "password":
            user = application.users.get(form.get("username", [""])[0])
            if user is None or form.get("password") != [user.password]:
                raise Refused(400, "invalid_grant", "Wrong user name or password")
            return form["username"][0]
        if grant == "refresh_token":
            value = form.get("refresh_token", [""])[0]
            owner = self.tokens.owner_of_refresh(value)
            if owner is None or owner[0].app_id != application.app_id:
                raise Refused(400, "invalid_grant", "Unknown refresh token")
            if self.config.refresh_tokens:
                self.tokens.retire_refresh(value)
            return owner[1]
        return None

    def _give(
        self, application: Application, user: str | None, form: dict[str, list[str]]
    ) -> Reply:
        token: Token = self.tokens.issue(application, user)
        answer: dict[str, Any] = {
            "access_token": token.value,
            "token_type": self.config.token_type,
        }
        seconds = int(self.config.token_lifetime)
        match self.config.expires_in:
            case "true":
                answer["expires_in"] = seconds
            case "string":
                answer["expires_in"] = str(seconds)
            case "missing":
                pass
            case lie:
                answer["expires_in"] = lie
        if self.config.refresh_tokens:
            answer["refresh_token"] = self.tokens.issue_refresh(application, user)
        if "scope" in form:
            answer["scope"] = form["scope"][0]
        return self.answers.json(200, answer, [("Cache-Control", "no-store")])
