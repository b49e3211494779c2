"""The resource "Client" (API page, sections 1, 3 and 4)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from .answers import Answers
from .books import Books
from .config import Application, Config
from .faults import Fault, FaultBox
from .wire import Message, Reply
from .world import Counters, Tenants, Token, Tokens, wrong_with

ROOT = "/api/ver1.0"


def client_in(path: str) -> str | None:
    """The client id in either form of the path; None if it is no path of this resource."""
    if not path.startswith(f"{ROOT}/client/") or not path.endswith("/"):
        return None
    match path.removeprefix(f"{ROOT}/client/").split("/"):
        case ["client_info", who, ""] | [who, "client", ""] if who:
            return unquote(who)
    return None


class Api:
    """Answers reads and changes of clients."""

    def __init__(
        self,
        config: Config,
        books: Books,
        answers: Answers,
        tenants: Tenants,
        tokens: Tokens,
        counters: Counters,
        faults: FaultBox,
    ) -> None:
        self.config = config
        self.books = books
        self.answers = answers
        self.tenants = tenants
        self.tokens = tokens
        self.counters = counters
        self.faults = faults
        self.writing: set[int] = set()

    def handle(self, message: Message, path: str) -> Reply:
        """Answer one request under the API's root."""
        token = self._token(message, path)
        if token is None:
            reply = self._unauthorized([])
            reply.entry = self.books.open(self.books.anonymous)
            return reply
        application = token.application
        who = client_in(path)
        tenant = self._number(who, application)
        ledgers = [self.books.application(application.app_id)]
        if tenant is not None:
            ledgers.append(self.books.tenant(tenant))
        entry = self.books.open(*ledgers)
        if not token.alive():
            reply = self._unauthorized(self.counters.headers(application))
            reply.entry = entry
            return reply
        if token.uses_left is not None:
            token.uses_left -= 1
        reply = self._answer(message, token, who, tenant)
        if reply.delay == 0:
            reply.delay = self.answers.latency()
        reply.entry = entry
        exclusive = self.config.exclusive_writes and reply.outcome != "busy"
        if message.method == "PUT" and tenant is not None and exclusive:
            self.writing.add(tenant)
            entry.also = lambda _outcome, _ok: self.writing.discard(tenant)
        return reply

    def _token(self, message: Message, path: str) -> Token | None:
        given = message.all("authorization")
        if len(given) > 1:
            self.books.violation("two Authorization headers", path)
            return None
        if not given:
            self.books.violation("no Authorization header", path)
            return None
        scheme, _, value = given[0].partition(" ")
        return self.tokens.find(value.strip()) if scheme.lower() == "bearer" else None

    def _unauthorized(self, limits: list[tuple[str, str]]) -> Reply:
        headers = [("WWW-Authenticate", 'Bearer realm="RingMe", error="invalid_token"'), *limits]
        return self.answers.refusal(401, None, "No token, or it has expired or is wrong", headers)

    @staticmethod
    def _number(who: str | None, application: Application) -> int | None:
        if who == "@me":
            return application.tenant
        if who is not None and who.isascii() and who.isdigit() and len(who) <= 20:
            return int(who)
        return None

    def _answer(self, message: Message, token: Token, who: str | None, tenant: int | None) -> Reply:
        application = token.application
        fault = self.faults.on_call(message.method, tenant) if tenant is not None else None
        if fault is not None:
            self.books.faults[fault.kind] += 1
            if fault.before:
                return self.answers.instead(fault, message.target)
        if fault is not None and fault.kind == "token_death":
            token.dead = True
            return self.answers.instead(fault, "", self.counters.headers(application))
        passed = self.counters.take(application)
        headers = self.counters.headers(application)
        if not passed:
            return self.answers.refusal(
                429, "rate_limit_exceeded", "The hourly limit is used up", headers
            )
        if fault is not None and not fault.after:
            return self.answers.instead(fault, message.target, headers)
        reply = self._act(message, token, who, tenant, headers)
        return reply if fault is None else self._spoilt(reply, fault)

    def _spoilt(self, reply: Reply, fault: Fault) -> Reply:
        if fault.kind == "wrong_type" and not reply.ok:
            return reply
        return self.answers.spoil(reply, fault)

    def _act(
        self,
        message: Message,
        token: Token,
        who: str | None,
        tenant: int | None,
        headers: list[tuple[str, str]],
    ) -> Reply:
        refuse = self.answers.refusal
        if who is None:
            self.books.violation("unknown path", message.target)
            return refuse(404, None, "There is no such resource", headers)
        if message.method not in {"GET", "PUT"}:
            self.books.violation("unknown method", message.method)
            return refuse(405, None, "Not allowed", [*headers, ("Allow", "GET, PUT")])
        if tenant is None or tenant not in self.tenants:
            return refuse(404, "client_not_found", "There is no client with this id", headers)
        word = self._barrier(message.method, token, tenant)
        if word is not None:
            return refuse(403, word, "You may not do that", headers)
        if message.method == "PUT":
            if tenant in self.writing:
                reply = refuse(429, None, "A request like this is already running", headers)
                reply.outcome = "busy"
                return reply
            refused = self._change(message, token.application, tenant, headers)
            if refused is not None:
                return refused
        elif message.body:
            self.books.violation("a GET with a body", message.target)
        return self.answers.json(200, self.tenants.record(tenant), headers)

    def _barrier(self, method: str, token: Token, tenant: int) -> str | None:
        application = token.application
        user = application.users.get(token.user) if token.user is not None else None
        if tenant in self.config.blocked or (user is not None and user.blocked):
            return "user_blocked"
        if tenant != application.tenant and tenant not in application.reach:
            return "access_denied"
        too_low = ("none",) if method == "GET" else ("none", "read")
        if application.access in too_low:
            return "app_access_type_deny"
        if user is not None and user.access in too_low:
            return "user_access_type_deny"
        return None

    def _change(
        self,
        message: Message,
        application: Application,
        tenant: int,
        headers: list[tuple[str, str]],
    ) -> Reply | None:
        refuse = self.answers.refusal
        kind = (message.get("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self.books.violation("wrong content type", f"PUT with {kind!r}")
            return refuse(400, "wrong_content_type", "The body must be JSON", headers)
        try:
            body: Any = json.loads(message.body)
        except ValueError:
            self.books.violation("broken JSON", message.target)
            return refuse(400, "wrong_body", "The body is not JSON", headers)
        if not isinstance(body, dict):
            self.books.violation("broken JSON", message.target)
            return refuse(400, "wrong_body", "The body must be an object", headers)
        for name, value in body.items():
            if name not in self.tenants.writable:
                return refuse(400, "wrong_parameter", f"{name}: cannot be changed", headers)
            wrong = wrong_with(name, value)
            if wrong is not None:
                return refuse(400, "wrong_parameter", wrong, headers)
            if name in self.config.unwritable:
                return refuse(403, "access_denied", f"{name}: not by the client", headers)
        forms = self.config.stored_as
        self.tenants.change(
            tenant,
            {
                name: forms.get(value, value) if isinstance(value, str) else value
                for name, value in body.items()
            },
        )
        self.books.applied(tenant, application.app_id, body)
        return None
