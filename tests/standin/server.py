"""The server: routes, the rules for every request, the books and the commands."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from tests.leaping import leap, stand_still

from .answers import Answers
from .api import ROOT, Api
from .books import Books
from .config import Config, Faults, Rule
from .faults import FaultBox
from .oauth import PATH as TOKEN_PATH
from .oauth import OAuth
from .wire import Connection, Message, Reply
from .world import Counters, Tenants, Tokens


class StandIn:
    """One stand-in: its state, and the functions that answer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.books = Books()
        self.answers = Answers(config)
        self.tenants = Tenants(config)
        self.tokens = Tokens(config)
        self.counters = Counters(config)
        self.faults = FaultBox(config.faults, config.rules)
        self.oauth = OAuth(config, self.books, self.answers, self.tokens, self.faults)
        self.api = Api(
            config,
            self.books,
            self.answers,
            self.tenants,
            self.tokens,
            self.counters,
            self.faults,
        )

    def handle(self, message: Message) -> Reply:
        """Answer one request on the main port."""
        path, _, query = message.target.partition("?")
        if path == "/__books":
            return self._books(parse_qs(query))
        if path == "/__do":
            return self._do(message)
        refused = self._check(message, path, query)
        if refused is not None:
            refused.entry = self.books.open(self.books.anonymous)
            return refused
        if path == TOKEN_PATH:
            return self.oauth.handle(message)
        if path.startswith(ROOT + "/"):
            return self.api.handle(message, path)
        self.books.violation("unknown path", path)
        reply = self.answers.refusal(404, None, "There is nothing here")
        reply.entry = self.books.open(self.books.anonymous)
        return reply

    def _check(self, message: Message, path: str, query: str) -> Reply | None:
        if len(message.all("host")) != 1:
            self.books.violation("not one Host header", path)
        if message.all("cookie"):
            self.books.violation("a cookie", path)
        if any(word in query for word in ("secret", "token", "password")):
            self.books.violation("a credential in the query", path)
        codings = ",".join(message.all("accept-encoding")).lower()
        if "gzip" not in codings:
            self.books.violation("no Accept-Encoding: gzip", path)
            if self.config.no_gzip == "refuse":
                return self.answers.refusal(406, None, "Accept-Encoding: gzip is mandatory")
        return None

    def other_host(self, message: Message) -> Reply:
        """Answer on the other port, where no request may arrive, and record each that does."""
        books = self.books
        books.other_host_requests += 1
        names = {name for name, _ in message.headers}
        text = message.target + message.body.decode("latin-1")
        words = ("secret", "password=", "token=", "tk")
        if names & {"authorization", "cookie"} or any(word in text for word in words):
            books.other_host_credentials += 1
        if len(books.other_host_heads) < 100:
            books.other_host_heads.append(f"{message.method} {message.target} {sorted(names)}")
        answer = {"access_token": "tk-of-a-thief", "token_type": "Bearer", "expires_in": 3600}
        return self.answers.json(200, answer | self.tenants.record(666))

    def _books(self, query: Mapping[str, list[str]]) -> Reply:
        self.books.windows = [window.shown() for window in self.counters.history]
        shown = self.books.shown(tenants=query.get("tenants", ["all"])[0])
        return Reply(200, [("Content-Type", "application/json")], json.dumps(shown).encode())

    def _do(self, message: Message) -> Reply:
        try:
            answer = self._command(json.loads(message.body))
            status = 200
        except (ValueError, KeyError, TypeError) as error:
            status, answer = 400, f"{type(error).__name__}: {error}"
        body = json.dumps({"answer": answer}).encode()
        return Reply(status, [("Content-Type", "application/json")], body)

    def _command(self, order: dict[str, Any]) -> Any:
        name = order.pop("do")
        if name not in _COMMANDS:
            raise ValueError(f"no command {name!r}; there are {sorted(_COMMANDS)}")
        return getattr(self, name)(**order)

    def revoke_tokens(self, app: str | None = None) -> int:
        """Revoke the tokens of all, or of one application; returns how many were live."""
        return self.tokens.revoke(app)

    def issue_token(self, app: str, user: str | None = None, lifetime: float | None = None) -> str:
        """Make a token without a login."""
        application = self.oauth.application(app)
        if application is None:
            raise ValueError("no such application")
        return self.tokens.issue(application, user, lifetime).value

    def change(self, tenant: int, fields: dict[str, Any]) -> None:
        """Change a record without a request and without checks."""
        self.tenants.change(tenant, fields)

    def record(self, tenant: int) -> dict[str, Any]:
        """The record as it is."""
        return self.tenants.record(tenant)

    def set_rules(self, rules: list[dict[str, Any]]) -> None:
        """Replace the rules for faults."""
        self._trouble(self.config.faults, [Rule.of(each) for each in rules])

    def set_faults(self, **faults: Any) -> None:
        """Replace the random faults."""
        self._trouble(Faults(**faults), self.faults.rules)

    def set_config(self, **config: Any) -> None:
        """Set a few plain settings while it runs."""
        for name, value in config.items():
            if name not in _PLAIN:
                raise ValueError(f"{name} cannot be set while it runs")
            setattr(self.config, name, value)

    def let_pass(self, seconds: float) -> None:
        """Advance its clock: tokens expire, windows end, and delayed answers are sent."""
        leap(seconds)

    def stand_still(self) -> None:
        """Stop its clock, which then only leaps."""
        stand_still()

    def reset_quota(self) -> None:
        """Every counter begins anew."""
        self.counters.forget()

    def reset_books(self) -> None:
        """Start empty books; call it when nothing is in flight."""
        self.books.clear()

    def _trouble(self, faults: Faults, rules: list[Rule]) -> None:
        self.config.faults = faults
        self.faults = self.oauth.faults = self.api.faults = FaultBox(faults, rules)

    def opened(self, _connection: Connection) -> None:
        """A connection came in."""
        self.books.connections += 1
        self.books.open_connections += 1
        self.books.max_open_connections = max(
            self.books.max_open_connections, self.books.open_connections
        )

    def closed(self, _connection: Connection) -> None:
        """It is gone."""
        self.books.open_connections -= 1


_COMMANDS = {
    *("revoke_tokens", "issue_token", "change", "record", "set_rules", "set_faults"),
    *("set_config", "let_pass", "stand_still", "reset_quota", "reset_books"),
}
_PLAIN = {
    *("latency", "login_latency", "token_lifetime", "token_uses", "expires_in", "token_type"),
    *("ceiling", "window_seconds", "compress", "no_gzip", "clock_skew", "unwritable"),
    *("login_per_second", "login_at_once", "limit_headers", "extra", "absent", "extension_len"),
}


async def listen(
    config: Config, port: int = 0
) -> tuple[StandIn, asyncio.Server, asyncio.Server, int, int]:
    """Start the server and the other host on loopback; gives both and their ports."""
    stand_in = StandIn(config)
    context: ssl.SSLContext | None = None
    if config.tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.tls["certfile"], config.tls["keyfile"])
    loop = asyncio.get_running_loop()

    def malformed(what: str) -> None:
        stand_in.books.violation("malformed HTTP", what)

    main = await loop.create_server(
        lambda: Connection(
            stand_in.handle,
            malformed=malformed,
            opened=stand_in.opened,
            closed=stand_in.closed,
            most_requests=config.requests_per_connection,
        ),
        "127.0.0.1",
        port,
        ssl=context,
        backlog=1024,
    )
    other = await loop.create_server(
        lambda: Connection(
            stand_in.other_host,
            malformed=malformed,
            opened=lambda _: None,
            closed=lambda _: None,
        ),
        "127.0.0.1",
        0,
    )
    main_port, other_port = (each.sockets[0].getsockname()[1] for each in (main, other))
    stand_in.answers.other_port = other_port
    return stand_in, main, other, main_port, other_port
