"""The tree of exceptions: every call ends in a value or in one of these."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, TypeVar

__all__ = ["copy_error"]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LONGEST_QUOTE = 200
# How logins are refused, with OAuth's word for it or without; None where it is not for HTTP to say.
_REFUSALS = frozenset({None, 400, 401, 403})

# What OpenSSL calls an answer that is no TLS, the older and the newer versions of it.
_PLAIN_PORT = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


ConnectFailure = Literal["unresolved", "refused"]


def one_line(text: str, limit: int = _LONGEST_QUOTE) -> str:
    """Fold foreign text into one bounded, printable line, fit for a message."""
    folded = " ".join(text.split())
    printable = "".join(char if char.isprintable() else "\ufffd" for char in folded)
    return printable if len(printable) <= limit else printable[: limit - 1] + "\u2026"


def duration(seconds: float) -> str:
    """Write a wait in words, rounded up: 12 min 5 s."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


class RingMeError(Exception):
    """Whatever goes wrong between a call and its value.

    Attributes:
        client_id: Whom the call was for, as it stood in the path; None if it was for nobody.
        attempts: How many requests entered the transport.
        maybe_applied: True if the server may have acted on the call although it failed.
    """

    advice: str = ""

    def __init__(
        self,
        message: str,
        *,
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(message)
        self.client_id = client_id
        self.attempts = attempts
        self.maybe_applied = maybe_applied

    @property
    def reason(self) -> str:
        """What went wrong, without who, how often and what to do."""
        return str(self.args[0])

    @property
    def next_step(self) -> str:
        """What to do next; empty where there is nothing to do."""
        return self.advice

    def __str__(self) -> str:
        who = f"client {self.client_id}: " if self.client_id is not None else ""
        tried = f" (tried {self.attempts} times)" if self.attempts > 1 else ""
        applied = "; the change may have been applied" if self.maybe_applied else ""
        advice = f"; {self.next_step}" if self.next_step else ""
        return f"{who}{self.reason.removesuffix('.')}{tried}{applied}{advice}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class InvalidRequest(RingMeError, ValueError):
    """The call was refused before anything was sent, because it could never be right."""


class TransportError(RingMeError):
    """No usable answer arrived.

    Attributes:
        sent: May the request have reached the server? False only where it surely has not.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message, client_id=client_id, attempts=attempts, maybe_applied=maybe_applied
        )
        self.sent = sent


class ConnectError(TransportError):
    """No connection came about: name, route, port, TLS or proxy. Nothing was sent.

    Attributes:
        kind: ``"unresolved"`` if the host's name is unknown, ``"refused"`` if its port takes no
            connections; None for any other reason, also where a proxy stands in between.
    """

    advice = "check the base URL, the network and the server's certificate"
    advice_on_plain_port = "the port may speak http, not https: check the base URL"

    def __init__(
        self,
        message: str,
        *,
        sent: bool = False,
        kind: ConnectFailure | None = None,
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message,
            sent=sent,
            client_id=client_id,
            attempts=attempts,
            maybe_applied=maybe_applied,
        )
        self.kind = kind

    @property
    def next_step(self) -> str:
        """What to do next."""
        if any(word in self.reason for word in _PLAIN_PORT):
            return self.advice_on_plain_port
        return self.advice


class CertificateError(ConnectError):
    """The server's certificate is not trusted; trying again does not help. Nothing was sent."""

    advice = (
        "if the server has the certificate of a company's own CA, give the transport that CA (ssl=);"
        " else check the base URL and the certificate"
    )


class TransportTimeout(TransportError):
    """One attempt took longer than its time-out allows."""


class ResponseLost(TransportError):
    """The connection broke, or the answer could not be read to its end."""

    advice_on_tls_port: ClassVar[str] = "the port may speak https, not http: check the base URL"


class ResponseTooLarge(TransportError):
    """The answer's body, decompressed, is over the transport's cap."""


class DecodeError(RingMeError):
    """An answer arrived that is not what the API promises.

    Attributes:
        field: The field that is wrong; None if the body as a whole is.
        value: What stood there.
        body: The answer's bytes as they came.
        garbled: True if the body is no JSON at all, such as a proxy's page or a body cut short. The
            same call may then end better; what the server means to send, it will send again.
    """

    advice = "the server's answer is not what its documentation promises"
    advice_on_whole: ClassVar[str] = f"{advice}: is the base URL that of the API?"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        body: bytes = b"",
        garbled: bool = False,
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message, client_id=client_id, attempts=attempts, maybe_applied=maybe_applied
        )
        self.field = field
        self.value = value
        self.body = body
        self.garbled = garbled

    @property
    def next_step(self) -> str:
        """What to do next."""
        return self.advice if self.field else self.advice_on_whole


class WrongRecord(DecodeError):
    """The answer holds the record of another client; nothing of that is kept but its id.

    The connection that brought it carries no further request. ``value`` is the id.
    """

    advice = "tell the provider: the server, or a proxy on the way, mixes up its answers"


class ApiError(RingMeError):
    """The server answered, and the answer is no.

    Attributes:
        status_code: The HTTP status.
        status: The API's own word for it (``access_denied``); None if the answer has none.
        message: The API's sentence about it; None if the answer has none.
        headers: The answer's headers.
        body: The answer's bytes as they came.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 0,
        status: str | None = None,
        api_message: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message, client_id=client_id, attempts=attempts, maybe_applied=maybe_applied
        )
        self.status_code = status_code
        self.status = status
        self.message = api_message
        self.headers: dict[str, str] = dict(headers)
        self.body = body


class BadRequest(ApiError):
    """400: a parameter is wrong."""

    advice_on_tls_port: ClassVar[str] = "the port speaks https, not http: check the base URL"


class Unauthorized(ApiError):
    """401: no token, or the token has expired or is wrong, and a new one was refused as well."""

    advice = "check the credentials: a fresh token was refused too, or none can be fetched"


class Forbidden(ApiError):
    """403: this application or user may not do that."""


class AccessDenied(Forbidden):
    """403 ``access_denied``: this user has no right to the resource."""


class UserBlocked(Forbidden):
    """403 ``user_blocked``: the user, or the client it belongs to, is blocked."""

    advice = "the provider has to unblock the user or the client"


class UserAccessTypeDenied(Forbidden):
    """403 ``user_access_type_deny``: the user's access level is too low."""


class AppAccessTypeDenied(Forbidden):
    """403 ``app_access_type_deny``: the application's access level is too low."""


class NotFound(ApiError):
    """404: no such resource."""

    advice = "check the path, and that the base URL is that of the API"


class ClientNotFound(NotFound):
    """404 ``client_not_found``: there is no client with this id."""

    advice = ""


class RateLimited(ApiError):
    """429 ``rate_limit_exceeded``: the hourly limit is used up.

    Attributes:
        reset_after: Seconds from now until the limit is reset.
    """

    remedy: str = 'on_quota="wait"'
    """The argument that has the SDK wait; that of a bulk run is another."""

    def __init__(
        self,
        message: str,
        *,
        reset_after: float = 60.0,
        status_code: int = 429,
        status: str | None = None,
        api_message: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message,
            status_code=status_code,
            status=status,
            api_message=api_message,
            headers=headers,
            body=body,
            client_id=client_id,
            attempts=attempts,
            maybe_applied=maybe_applied,
        )
        self.reset_after = reset_after

    @property
    def next_step(self) -> str:
        """What to do next."""
        return f"try again in {duration(self.reset_after)}, or pass {self.remedy}"


class Busy(ApiError):
    """429 of the other kind: a request like this is already running; a short wait is right."""


class ServerError(ApiError):
    """5xx: the server failed."""


class TokenError(RingMeError):
    """The token endpoint refused the credentials; trying again does not help.

    Attributes:
        error: OAuth's word for it, such as ``invalid_client``.
        error_description: The server's sentence about it; None if there was none.
        status_code: The HTTP status of the answer; 200 if it was one that holds no usable token.
    """

    advice = "check the App ID, the App Secret and the kind of the application"
    advice_on_stranger = "this is hardly a token endpoint: check the base URL"

    def __init__(
        self,
        message: str,
        *,
        error: str = "",
        error_description: str | None = None,
        status_code: int | None = None,
        client_id: str | None = None,
        attempts: int = 0,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(
            message, client_id=client_id, attempts=attempts, maybe_applied=maybe_applied
        )
        self.error = error
        self.error_description = error_description
        self.status_code = status_code

    @property
    def next_step(self) -> str:
        """What to do next."""
        if self.error or self.status_code in _REFUSALS:
            return self.advice
        return self.advice_on_stranger


class DeadlineExceeded(RingMeError):
    """The call's own deadline passed; ``__cause__`` is the last thing that went wrong."""

    advice = "raise timeout= if the server is merely slow"
    advice_on_run: ClassVar[str] = "raise the deadline= of the run if the server is merely slow"


class RingMeClosed(RingMeError):
    """The ``RingMe`` was closed before the call, or while it was under way."""

    advice = "let its calls end before it is closed, or make another one"


class Conflict(RingMeError):
    """A plan found a field that somebody else has changed since; nothing was sent.

    With ``maybe_applied`` it may be the plan's own write, in the server's form.
    """


class NotApplied(RingMeError):
    """The server took the change and answered with a record that does not show it."""


E = TypeVar("E", bound=Exception)


def copy_error(error: E) -> E:
    """Make another exception that says the same.

    A twin of one of our own errors is bare: without traceback, cause and context, since these
    lead to frames that held a secret. A foreign one is a bug in somebody's code and keeps its
    traceback, so that it can be found; if it does not let itself be copied, it is shared.
    """
    if isinstance(error, RingMeError):
        twin = type(error).__new__(type(error), *error.args)
        twin.__dict__.update(vars(error))
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
        return twin
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - whatever a foreign class does when it is copied
        return error
    if type(copied) is not type(error):
        return error
    copied.__cause__ = error.__cause__
    copied.__context__ = error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(error.__traceback__)
