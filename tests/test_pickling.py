"""Every public value and error goes through a pickle: to another process, or into a cache."""

from __future__ import annotations

import inspect
import pickle
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args, get_origin

import attrs
import pytest

import ringme_async
import ringme_async.mirror
from ringme_async import (
    UNSET,
    Applied,
    BearerToken,
    BulkReport,
    BulkSummary,
    Client,
    ClientCredentials,
    ClientType,
    ClientUpdate,
    Done,
    Event,
    Failed,
    FieldChange,
    GeoList,
    Headers,
    LoginLimit,
    NotAttempted,
    PasswordCredentials,
    Plan,
    PlannedChange,
    Progress,
    RateLimited,
    RefreshToken,
    Request,
    Response,
    RetryPolicy,
    RingMeError,
    Tenant,
    Timeouts,
    Token,
    Written,
    client_from_json,
)
from ringme_async.mirror import ApplyReport, FailureKind, Journal, Mirror, RefreshReport
from tests.scripted import RECORD

DOORS = (ringme_async, ringme_async.mirror)
PUBLIC = {name: getattr(door, name) for door in DOORS for name in door.__all__}

# They hold connections, tasks or a loop's timers.
ALIVE = {"AiohttpTransport", "BulkRun", "InMemoryTransport", "RingMe", "TokenHost", "TokenStore"}

CLIENT = client_from_json({**RECORD, "later": {"a": [1, None]}})
CHANGE = PlannedChange(
    Tenant(12, name="acme"),
    12,
    (FieldChange("later", {"a": [1]}, None),),
    "https://pbx.example.com",
)
FAILED = Failed(13, 1, 2, RateLimited("no", reset_after=5.0, client_id="13"), retries=1)
COUNTS = {"done": 1, "RateLimited": 1, "not_attempted": 0}
ACME = Tenant(
    12, auth=ClientCredentials("app", "s3cret"), base_url="https://pbx.example.com", name="acme"
)
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


def clock() -> datetime:
    return MOMENT


def filled(kind: Any) -> object:
    """Make a value whose parts are numbers and texts."""
    return kind(**dict.fromkeys(attrs.fields_dict(kind), 1))


SAMPLES: list[object] = [
    UNSET,
    ClientType.LEGAL_ENTITY,
    CLIENT,
    Client(id=12),
    ClientUpdate(timezone="Asia/Omsk", hold_music=None, extra={"later": [1]}),
    GeoList("RU BY"),
    ACME,
    BearerToken("token"),
    ClientCredentials("app", "s3cret"),
    PasswordCredentials("app", "s3cret", "user", "password"),
    RefreshToken("app", "s3cret", "refresh"),
    Token("token", 5.0, "refresh"),
    LoginLimit(),
    RetryPolicy(attempts=2, base=0.1, cap=1.0),
    Timeouts(connect=1.0, attempt=2.0),
    Headers({"Date": "x", "Authorization": "Bearer token"}),
    Request("PUT", "https://pbx.example.com/", Headers({"A": "b"}), b"{}", Timeouts(1.0, 2.0)),
    Response(200, Headers({"A": "b"}), b"{}"),
    Done(ACME, 0, 1, CLIENT),
    FAILED,
    NotAttempted("@me", 2, 1, "parked", retries=0),
    BulkReport(COUNTS, (FAILED,), 1, 1, True, (Done(12, 0, 1, CLIENT), FAILED)),
    BulkSummary(COUNTS, (FAILED,), 1, 1, False),
    filled(Progress),
    Applied(CLIENT, ("timezone",)),
    Written({"timezone": "Asia/Calcutta"}, {"timezone": "Asia/Kolkata"}),
    FieldChange("timezone", "Europe/Moscow", "Asia/Omsk"),
    CHANGE,
    Plan((CHANGE,), 1, (FAILED,), lambda: None),
    *(filled(kind) for kind in get_args(Event)),
    Journal("clients.jsonl", overwrite=True, clock=clock),
    Mirror("postgresql://user:s3cret@host/name", batch=5, every=2.0, clock=clock),
    ApplyReport(
        run="r",
        applied=1,
        as_wished=2,
        failed=3,
        conflicts=1,
        skipped=0,
        not_attempted=0,
    ),
    FailureKind(error="Busy", status_code=429, count=2, example="no", next_step="wait"),
    RefreshReport(run="r", read=1, failed=2, skipped=3, not_attempted=4, changed=5),
]
# How the parts of errors are filled in; the rest is what they all have.
PARTS: dict[str, object] = {
    "garbled": True,
    "client_id": "12",
    "attempts": 3,
    "maybe_applied": True,
    "sent": True,
    "kind": "refused",
    "field": "timezone",
    "value": {"a": [1]},
    "body": b"{}",
    "status_code": 429,
    "status": "busy",
    "api_message": "no",
    "headers": Headers({"retry-after": "5"}),
    "reset_after": 5.0,
    "error": "invalid_client",
    "error_description": "no",
}


def errors() -> Iterator[RingMeError]:
    """Make each public error bare, and with all its parts."""
    for kind in PUBLIC.values():
        if inspect.isclass(kind) and issubclass(kind, RingMeError):
            named = list(inspect.signature(kind).parameters)[1:]
            yield kind("what went wrong")
            yield kind("what went wrong", **{name: PARTS[name] for name in named})


ERRORS = list(errors())


def is_value(thing: object) -> bool:
    return (
        inspect.isclass(thing)
        and not getattr(thing, "_is_protocol", False)
        and get_origin(thing) is None
    )


def state_of(thing: object) -> object:
    """Take a value apart, for those that are equal to themselves alone."""
    if isinstance(thing, RingMeError):
        return (
            type(thing),
            str(thing),
            {name: state_of(part) for name, part in vars(thing).items()},
        )
    if isinstance(thing, tuple):
        return tuple(map(state_of, thing))
    if attrs.has(type(thing)):
        names = [field.name for field in attrs.fields(type(thing)) if field.name != "_apply"]
        return (type(thing), {name: state_of(getattr(thing, name)) for name in names})
    return thing


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_tried_here_or_is_no_value(name: str) -> None:
    thing = PUBLIC[name]
    if not is_value(thing):
        assert isinstance(pickle.loads(pickle.dumps(thing)), type(thing))
        return
    tried = any(type(sample) is thing for sample in (*SAMPLES, *ERRORS))
    assert tried != (name in ALIVE)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_value_comes_out_of_a_pickle_as_it_went_in(sample: object, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(sample, protocol))
    assert state_of(twin) == state_of(sample)
    assert repr(twin) == repr(sample)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_out_of_a_pickle_with_all_that_it_says(error: RingMeError) -> None:
    twin = pickle.loads(pickle.dumps(error))
    assert state_of(twin) == state_of(error)
    assert twin.args == error.args
    assert repr(twin) == repr(error)


def test_the_default_jitter_takes_no_generators_state_along() -> None:
    before = pickle.dumps(RetryPolicy())
    random.random()
    assert pickle.dumps(RetryPolicy()) == before
    assert len(before) < 300
    assert 0 <= pickle.loads(before).random() < 1


def test_credentials_that_are_pickled_keep_their_secret_and_do_not_show_it() -> None:
    twin = pickle.loads(pickle.dumps(ACME))
    assert twin == ACME
    assert hash(twin) == hash(ACME)
    assert "s3cret" not in repr(twin)
