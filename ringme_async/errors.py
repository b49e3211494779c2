"""The exceptions: every call ends in a value or in one of these."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, TypeVar

__all__ = ["copy_error"]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LONGEST_QUOTE = 200
# The statuses of a refused login; None if an ``Auth`` raised the error without HTTP.
_REFUSALS = frozenset({None, 400, 401, 403})

# OpenSSL's reasons for an answer that is no TLS, in older and in newer versions.
_PLAIN_PORT = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


ConnectFailure = Literal["unresolved", "refused"]


def one_line(text: str, limit: int = _LONGEST_QUOTE) -> str:
    """Fold foreign text into one short, printable line for a message."""
    folded = " ".join(text.split())
    printable = "".join(char if char.isprintable() else "\ufffd" for char in folded)
    return printable if len(printable) <= limit else printable[: limit - 1] + "\u2026"


def duration(seconds: float) -> str:
    """Write a number of seconds in words, rounded up: 12 min 5 s."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


class RingMeError(Exception):
    """The base class of every error that a call raises.

    Attributes:
        client_id: The client's id in the path; None if the call was for no client.
        attempts: The number of requests that entered the transport.
        maybe_applied: True if the server may have applied the call although it failed.
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
        """What went wrong, without the client, the attempts and the next step."""
        return str(self.args[0])

    @property
    def next_step(self) -> str:
        """What to do next; empty if there is nothing to do."""
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
    """The SDK refused an argument before it sent anything."""


class TransportError(RingMeError):
    """No usable answer arrived.

    Attributes:
        sent: True if the request may have reached the server; False if it certainly has not.
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
    """The connection failed: name, route, port, TLS or proxy. Nothing was sent.

    Attributes:
        kind: ``"unresolved"`` if the host's name is unknown, ``"refused"`` if its port refuses
            connections; None for any other reason, and always behind a proxy.
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
    """The server's certificate is not trusted; a retry does not help. Nothing was sent."""

    advice = (
        "if the server has the certificate of a company's own CA, give the transport that CA (ssl=);"
        " else check the base URL and the certificate"
    )


class TransportTimeout(TransportError):
    """One attempt took longer than its time-out allows."""


class ResponseLost(TransportError):
    """The connection broke before the answer was read to its end."""

    advice_on_tls_port: ClassVar[str] = "the port may speak https, not http: check the base URL"


class ResponseTooLarge(TransportError):
    """The answer's decompressed body is larger than the transport's cap."""


class DecodeError(RingMeError):
    """An answer arrived that is not what the API promises.

    Attributes:
        field: The field that is wrong; None if the body as a whole is.
        value: The field's value.
        body: The answer's bytes, unchanged.
        garbled: True if the body is no JSON, such as a proxy's page or a truncated body. A retry
            may then succeed. It does not help where the server means to send the wrong value.
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
    """The answer holds the record of another client; only its id is kept, as ``value``.

    The connection of that answer is not used again.
    """

    advice = "tell the provider: the server, or a proxy on the way, mixes up its answers"


class ApiError(RingMeError):
    """The server answered with an error.

    Attributes:
        status_code: The HTTP status.
        status: The API's error code (``access_denied``); None if the answer has none.
        message: The API's error message; None if the answer has none.
        headers: The answer's headers.
        body: The answer's bytes, unchanged.
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
    """401: the token is missing, expired or wrong, and a new one was refused as well."""

    advice = "check the credentials: a fresh token was refused too, or none can be fetched"


class Forbidden(ApiError):
    """403: the application or the user has no permission."""


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
    """The argument that makes the SDK wait; a bulk run has another one."""

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
    """429 without a used-up quota: a similar request is running; a short wait is right."""


class ServerError(ApiError):
    """5xx: the server failed."""


class TokenError(RingMeError):
    """The token endpoint refused the credentials; a retry does not help.

    Attributes:
        error: OAuth's error code, such as ``invalid_client``; empty if there was none.
        error_description: The server's description; None if there was none.
        status_code: The HTTP status of the answer; 2xx if the answer has no usable token.
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
    """The call's deadline passed; ``__cause__`` is its last error."""

    advice = "raise timeout= if the server is merely slow"
    advice_on_run: ClassVar[str] = "raise the deadline= of the run if the server is merely slow"


class RingMeClosed(RingMeError):
    """The ``RingMe`` was closed before the call or during it."""

    advice = "let its calls end before it is closed, or make another one"


class Conflict(RingMeError):
    """A field of the plan has changed on the server since the plan was made; nothing was sent.

    With ``maybe_applied`` the change may be the plan's own write, in the server's form.
    """


class NotApplied(RingMeError):
    """The server accepted the change, but its answer's record does not show it."""


E = TypeVar("E", bound=Exception)


def copy_error(error: E) -> E:
    """Copy an exception.

    The copy of a ``RingMeError`` has no traceback, cause or context, because their frames held a
    secret. Any other exception is a bug and keeps its traceback, so that it can be found. An
    exception that cannot be copied is returned itself.
    """
    if isinstance(error, RingMeError):
        twin = type(error).__new__(type(error), *error.args)
        twin.__dict__.update(vars(error))
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
        return twin
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - copying a foreign exception may raise anything
        return error
    if type(copied) is not type(error):
        return error
    copied.__cause__ = error.__cause__
    copied.__context__ = error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(error.__traceback__)
