"""A call as a value, and the state of its attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, Literal, TypeVar

from attrs import define, field

from ringme_async.auth import TokenKey
from ringme_async.errors import RingMeError
from ringme_async.policies.quota import Reservation
from ringme_async.transports import Response

T = TypeVar("T")

API_ROOT = "/api/ver1.0"
OnQuota = Literal["raise", "wait"]


@define(eq=False)
class Call(Generic[T]):
    """One operation as data, to send once or several times; never changed.

    Its maker has checked ``path``, ``query`` and ``client_id``.

    Attributes:
        url: The URL without the query.
    """

    method: str
    path: str
    key: TokenKey
    decode: Callable[[Response], T] = field(repr=False)
    client_id: str | None
    idempotent: bool
    timeout: float
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    on_quota: OnQuota = "raise"
    url: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.url = f"{self.key.origin}{API_ROOT}{self.path}"


@define(eq=False)
class CallState:
    """The progress of a call; it outlives a cancelled call and every run of a parked one.

    Attributes:
        early_reservation: The request reserved before the call got its slot, if any.
        pauses_deadline: Whether a wait for quota moves the deadline.
    """

    attempts: int = 0
    maybe_applied: bool = False
    waiting_for_login: bool = False
    last_error: RingMeError | None = None
    sent_at: float | None = None
    early_reservation: Reservation | None = None
    pauses_deadline: ClassVar[bool] = False


def attach_context(error: RingMeError, call: Call[T], state: CallState) -> None:
    """Add the client and the state of the attempts to an error."""
    error.client_id = call.client_id
    # Before the first attempt, the error of a failed login keeps its own count.
    error.attempts = state.attempts or error.attempts
    error.maybe_applied = error.maybe_applied or state.maybe_applied
