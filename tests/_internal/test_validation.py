"""A wrong argument is refused at once, by its name, without showing a secret."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, get_type_hints

import pytest
from attrs import define, field, frozen

from ringme_async import (
    AiohttpTransport,
    BearerToken,
    ClientCredentials,
    Event,
    InvalidRequest,
    LoginLimit,
    PasswordCredentials,
    RefreshToken,
    RetryPolicy,
    RingMe,
    Tenant,
    Timeouts,
    Token,
    TokenHost,
    TokenStore,
)
from ringme_async._internal.validation import instance_of, kind_of, refusing, whole_number
from ringme_async.ringme import RingMeOptions
from tests.scripted import ScriptedTransport, record

URL = "https://pbx.example.com"
AUTH = BearerToken("t0ken")
SECRET = "s3cret"
WITH_SECRET = f"https://ann:{SECRET}@pbx.example.com"


def refusal_of(make: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make()
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        *(
            ("timeout", value, "timeout must be a number of seconds above 0, not ")
            for value in (0, -1, None, True, math.nan, -math.inf, "5", 10**400, 10**5000)
        ),
        ("timeouts", "5", "timeouts must be a Timeouts, not a str"),
        ("timeouts", 5, "timeouts must be a Timeouts, not an int"),
        ("timeouts", Timeouts, "timeouts must be a Timeouts, not the class Timeouts"),
        ("retry", 5, "retry must be a RetryPolicy, not an int"),
        ("retry", False, "retry must be a RetryPolicy, not a bool"),
        ("login_limit", 5, "login_limit must be a LoginLimit, not an int"),
        ("tokens", "tokens.json", "tokens must be a TokenStore, not a str"),
        ("transport", 5, "transport must be a Transport, such as AiohttpTransport(), not an int"),
        (
            "transport",
            AiohttpTransport,
            "transport must be a Transport, such as AiohttpTransport(), not the class Aiohttp",
        ),
        ("on_quota", "park", 'on_quota must be "raise" or "wait", not \'park\''),
        ("on_quota", [], 'on_quota must be "raise" or "wait", not []'),
        ("url_form", "both", 'url_form must be "client" or "client_info", not \'both\''),
        ("url_form", [], 'url_form must be "client" or "client_info", not []'),
        ("observers", 5, "observers must be a list of functions that take an event, not an int"),
        ("observers", print, "observers must be a list of functions that take an event, not a bu"),
        ("observers", [print, 5], "observers must be a list of functions that take an event; an i"),
        ("base_url", 5, 'base_url is a URL such as "https://pbx.example.com", not int'),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, int) else "",
)
def test_an_error_names_the_wrong_argument_of_a_ringme(name: str, value: Any, told: str) -> None:
    options: dict[str, Any] = {"base_url": URL, "auth": AUTH, name: value}

    refusal = refusal_of(lambda: RingMe(**options))

    assert str(refusal).startswith(told)
    assert len(str(refusal)) < 200


@pytest.mark.parametrize("timeout", [1e-9, 1, 10**300, math.inf])
def test_any_time_above_zero_is_a_timeout(timeout: float) -> None:
    RingMe(URL, auth=AUTH, timeout=timeout, timeouts=Timeouts(timeout, timeout))


@pytest.mark.parametrize("value", [0, -1, None, True, math.nan, "5", 10**400], ids=repr)
@pytest.mark.parametrize("name", ["connect", "attempt"])
def test_an_error_names_an_invalid_timeout_of_an_attempt(name: str, value: Any) -> None:
    refusal = refusal_of(lambda: Timeouts(**{name: value}))

    assert str(refusal).startswith(f"{name} must be a number of seconds above 0, not ")


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None], ids=repr)
def test_a_whole_number_is_no_bool_no_float_and_not_too_small(value: object) -> None:
    refusal = refusal_of(lambda: whole_number("n", value, least=1))

    assert str(refusal) == f"n must be a whole number from 1 up, not {value!r}"


def test_an_error_names_an_invalid_path_of_a_store() -> None:
    path: Any = 5

    assert (
        str(refusal_of(lambda: TokenStore(path=path))) == "path must be that of a file, not an int"
    )


def test_a_valid_value_is_returned() -> None:
    limit = LoginLimit()

    assert instance_of(LoginLimit, "login_limit", limit) is limit
    assert instance_of(LoginLimit, "login_limit", None) == LoginLimit()
    assert whole_number("n", 0, least=0) == 0
    assert kind_of(RetryPolicy()) == "a RetryPolicy"


@define
class Unhashable:
    """Credentials that can change cannot stand for a token."""

    renewable: bool = True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        raise AssertionError


@frozen
class UnhashableInside:
    scopes: list[str] = field(factory=list[str], repr=False)
    renewable: bool = True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        raise AssertionError


@frozen
class WithoutFetch:
    renewable: bool = True
    fetch: object = 5


@pytest.mark.parametrize(
    "take", [lambda auth: RingMe(URL, auth=auth), lambda auth: Tenant(auth=auth)]
)
@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (SECRET, "not a str"),
        (("app", SECRET), "not a tuple"),
        ({"app_secret": SECRET}, "not a dict"),
        (ClientCredentials, "not the class ClientCredentials"),
        (Unhashable(), "an Unhashable"),
        (UnhashableInside([SECRET]), "an UnhashableInside is not"),
        (WithoutFetch(), "not a WithoutFetch"),
    ],
    ids=repr,
)
def test_invalid_credentials_are_refused_at_once(
    take: Callable[[Any], object], auth: object, told: str
) -> None:
    refusal = refusal_of(lambda: take(auth))

    assert str(refusal).startswith("auth must be ")
    assert told in str(refusal)
    assert SECRET not in str(refusal)


def test_credentials_of_a_custom_class_are_accepted() -> None:
    @frozen
    class FromVault:
        renewable: bool = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            raise AssertionError

    assert Tenant(auth=FromVault()).auth == FromVault()


ENVIRON = {"RINGME_BASE_URL": URL, "RINGME_APP_ID": "app", "RINGME_APP_SECRET": SECRET}
REFUSED: dict[str, Callable[[], object]] = {
    "a URL with credentials": lambda: RingMe(WITH_SECRET, auth=AUTH),
    "a URL that is none, with credentials": lambda: RingMe(f"{WITH_SECRET}:x", auth=AUTH),
    "a good secret and a bad timeout": lambda: RingMe(WITH_SECRET, auth=AUTH, timeout=0),
    "a bare secret": lambda: RingMe(URL, auth=SECRET),  # type: ignore[arg-type]
    "a tenant's URL with credentials": lambda: Tenant(1, base_url=WITH_SECRET),
    "a tenant's URL that is none": lambda: Tenant(1, base_url=f"{WITH_SECRET}:x"),
    "a tenant's bare secret": lambda: Tenant(1, auth=SECRET),  # type: ignore[arg-type]
    "a tenant's name": lambda: Tenant(1, auth=ClientCredentials("a", SECRET), name=5),  # type: ignore[arg-type]
    "a variable with credentials": lambda: RingMe.from_env(
        {**ENVIRON, "RINGME_BASE_URL": WITH_SECRET}
    ),
    "a missing variable": lambda: RingMe.from_env({**ENVIRON, "RINGME_BASE_URL": ""}),
    "a missing App ID": lambda: RingMe.from_env({**ENVIRON, "RINGME_APP_ID": ""}),
    "a missing password": lambda: RingMe.from_env({**ENVIRON, "RINGME_USERNAME": "ann"}),
    "a malformed secret": lambda: RingMe.from_env({**ENVIRON, "RINGME_APP_SECRET": f"{SECRET}\n"}),
    "a malformed token": lambda: RingMe.from_env({**ENVIRON, "RINGME_TOKEN": f"{SECRET}\n"}),
    "an option": lambda: RingMe.from_env(ENVIRON, timeout=0),
    "an App Secret": lambda: ClientCredentials("app", f"{SECRET}\n"),
    "a password": lambda: PasswordCredentials("app", SECRET, "ann", f"{SECRET}\n"),
    "a refresh token": lambda: RefreshToken("app", SECRET, f"{SECRET}\n"),
    "a bearer token": lambda: BearerToken(f"{SECRET}\n"),
    "a token": lambda: Token(f"{SECRET}\n"),
    "a store": lambda: TokenStore(capacity=0),
    "a limit": lambda: LoginLimit(concurrent=0),
}


def own_frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Return the frames below the test's own frame, whose locals hold the test's secrets."""
    while trace is not None:
        if trace.tb_frame.f_globals["__name__"] != __name__:
            yield trace
        trace = trace.tb_next


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_a_traceback_with_locals_shows_no_secret(make: Callable[[], object]) -> None:
    refusal = refusal_of(make)

    assert refusal.__context__ is None
    frames = next(own_frames(refusal.__traceback__), None)
    shown = traceback.TracebackException(
        InvalidRequest, refusal, frames, capture_locals=True
    ).format()
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_an_object_whose_constructor_raised_can_be_shown(make: Callable[[], object]) -> None:
    refusal = refusal_of(make)

    for step in own_frames(refusal.__traceback__):
        for local in step.tb_frame.f_locals.values():
            assert repr(local)


def test_a_ringme_whose_constructor_raised_can_be_shown() -> None:
    made: list[RingMe] = []

    class Kept(RingMe):
        def __init__(self, base_url: str) -> None:
            made.append(self)
            super().__init__(base_url, timeout=0)

    refusal_of(lambda: Kept(URL))

    assert repr(made[0]) == "<RingMe of many hosts>"


def test_a_bug_in_a_call_of_from_env_shows_no_variable() -> None:
    options: dict[str, Any] = {"time_out": 5}
    with pytest.raises(TypeError, match="time_out") as caught:
        RingMe.from_env(ENVIRON, **options)

    frames = caught.value.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_name != "from_env":
        frames = frames.tb_next
    assert frames is not None
    shown = traceback.TracebackException(TypeError, caught.value, frames, capture_locals=True)
    assert SECRET not in "".join(shown.format())


def test_an_error_is_raised_from_the_line_of_the_call() -> None:
    @refusing
    def check(value: int, *, more: int) -> int:
        """Say no."""
        raise InvalidRequest(f"{value} and {more}")

    refusal = refusal_of(lambda: check(1, more=2))

    assert str(refusal) == "1 and 2"
    names = [frame.name for frame in traceback.extract_tb(refusal.__traceback__)]
    assert "check" not in names
    assert (check.__name__, check.__doc__) == ("check", "Say no.")


def test_from_env_takes_all_options_of_a_ringme() -> None:
    options = get_type_hints(RingMeOptions)
    taken = {
        name: parameter.annotation
        for name, parameter in inspect.signature(RingMe, eval_str=True).parameters.items()
        if name not in {"base_url", "auth"}
    }

    assert options == taken


async def test_from_env_passes_its_options_on() -> None:
    told: list[Event] = []

    def tell(event: Event) -> None:
        told.append(event)

    transport = ScriptedTransport([record()])
    environ = {"RINGME_BASE_URL": URL, "RINGME_TOKEN": "t0ken"}

    async with RingMe.from_env(
        environ,
        transport=transport,
        observers=[tell],
        url_form="client_info",
        timeouts=Timeouts(attempt=7),
        retry=RetryPolicy(attempts=1),
    ) as ringme:
        await ringme.clients.get(12)

    (sent,) = transport.requests
    assert sent.url.endswith("/client/client_info/12/")
    assert sent.timeouts.attempt == 7
    assert told


async def test_a_login_has_the_user_agent_of_calls() -> None:
    transport = ScriptedTransport([record()])

    async with RingMe(URL, auth=ClientCredentials("app", SECRET), transport=transport) as ringme:
        await ringme.clients.get(12)

    (login,), (call,) = transport.logins, transport.requests
    assert login.headers["user-agent"] == call.headers["user-agent"]
    assert call.headers["user-agent"].startswith("ringme-async/")
