"""Credentials: values that are checked at construction and never show a secret."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import pytest
from attrs import field, frozen

from ringme_async.auth import (
    Auth,
    BearerToken,
    ClientCredentials,
    LoginLimit,
    PasswordCredentials,
    RefreshToken,
    Token,
    TokenHost,
    TokenKey,
)
from ringme_async.auth.credentials import file_key
from ringme_async.errors import InvalidRequest
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import ORIGIN, Host, endpoint_over, script, token_answer

SECRET = "hush-hush-0"
MAKERS: dict[str, Callable[[str], Auth]] = {
    "BearerToken": BearerToken,
    "ClientCredentials": lambda secret: ClientCredentials("app", secret),
    "PasswordCredentials secret": lambda secret: PasswordCredentials("app", secret, "ann", "pw"),
    "PasswordCredentials password": lambda secret: PasswordCredentials("app", "x", "ann", secret),
    "RefreshToken secret": lambda secret: RefreshToken("app", secret, "refresh"),
    "RefreshToken token": lambda secret: RefreshToken("app", "x", secret),
}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every_kind
def test_equal_credentials_make_equal_keys(make: Callable[[str], Auth]) -> None:
    one, other = TokenKey(ORIGIN, make(SECRET)), TokenKey(ORIGIN, make(SECRET))
    assert one == other
    assert hash(one) == hash(other)


@every_kind
def test_another_secret_is_another_key(make: Callable[[str], Auth]) -> None:
    assert TokenKey(ORIGIN, make(SECRET)) != TokenKey(ORIGIN, make("hush-hush-1"))


@every_kind
def test_another_origin_is_another_key(make: Callable[[str], Auth]) -> None:
    elsewhere = TokenKey("https://pbx.example.org", make(SECRET))
    assert TokenKey(ORIGIN, make(SECRET)) != elsewhere


def test_credentials_of_different_classes_are_not_equal() -> None:
    assert len({PasswordCredentials("a", "b", "c", "d"), RefreshToken("a", "b", "c")}) == 2
    assert ClientCredentials("a", "b") != ClientCredentials("a", "b", scope="calls")


@every_kind
def test_no_repr_shows_a_secret(make: Callable[[str], Auth]) -> None:
    assert_keeps(repr(TokenKey(ORIGIN, make(SECRET))), SECRET)


@every_kind
def test_credentials_do_not_change(make: Callable[[str], Auth]) -> None:
    auth = make(SECRET)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        auth.renewable = False  # type: ignore[misc]


@every_kind
def test_credentials_and_keys_can_be_pickled(make: Callable[[str], Auth]) -> None:
    key = TokenKey(ORIGIN, make(SECRET))
    assert pickle.loads(pickle.dumps(key)) == key


def test_keys_of_a_thousand_tenants_have_different_hashes() -> None:
    keys = [TokenKey(ORIGIN, ClientCredentials(f"app-{n}", "secret")) for n in range(1_000)]
    assert len(set(map(hash, keys))) > 990


FIND_A_KEY = """
import pickle, sys
from ringme_async.auth import ClientCredentials, TokenKey
key = pickle.load(sys.stdin.buffer)
print(key in {TokenKey(key.origin, ClientCredentials("app", "secret"))})
"""


# Two seeds, so that one differs from this process's.
@pytest.mark.parametrize("seed", ["1", "2"])
def test_an_unpickled_key_is_found_in_a_process_with_other_hashes(seed: str) -> None:
    key = TokenKey(ORIGIN, ClientCredentials("app", "secret"))
    found = subprocess.run(
        [sys.executable, "-c", FIND_A_KEY],
        input=pickle.dumps(key),
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
    ).stdout
    assert found == b"True\n"


@every_kind
def test_every_kind_is_an_auth(make: Callable[[str], Auth]) -> None:
    assert isinstance(make(SECRET), Auth)


def test_only_a_fixed_token_cannot_be_renewed() -> None:
    renewable = {name: make(SECRET).renewable for name, make in MAKERS.items()}
    assert [name for name, can in renewable.items() if not can] == ["BearerToken"]


BAD_TEXTS = {
    "a line break at the end": SECRET + "\n",
    "a header of one's own": SECRET + "\r\nX-Evil: 1",
    "a NUL": SECRET + "\0",
    "a tab": "\t" + SECRET,
    "a DEL": SECRET + "\x7f",
    "a C1 control": SECRET + "\x85",
    "half a surrogate pair": SECRET + "\ud800",
}


@every_kind
@pytest.mark.parametrize("bad", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_malformed_secret_is_refused_without_showing_it(
    make: Callable[[str], Auth], bad: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(bad)
    # The frames of this test and of the lambda are the user's; the SDK's come below.
    assert_keeps(str(caught.value) + repr(vars(caught.value)), SECRET)


@every_kind
@pytest.mark.parametrize("bad", ["", None, 12, b"bytes"])
def test_a_secret_that_is_empty_or_no_string_is_refused(
    make: Callable[[object], Auth], bad: object
) -> None:
    with pytest.raises(InvalidRequest, match="must"):
        make(bad)


@pytest.mark.parametrize(
    "bad", [SECRET + "\u20ac", SECRET + "é", " " + SECRET, SECRET + " ", "\u202e" + SECRET]
)
def test_a_bearer_token_is_printable_ascii_without_spaces_around_it(bad: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        BearerToken(bad)
    assert_keeps(str(caught.value), SECRET)


@pytest.mark.parametrize("good", ["a", "a b", "mF_9.B5f-4.1JqM", "x" * 5_000, "YWJj+/=="])
def test_a_bearer_token_may_hold_every_character_of_the_rfc(good: str) -> None:
    assert BearerToken(good).token == good


def test_secrets_may_hold_any_printable_characters() -> None:
    assert PasswordCredentials("приложение", "a&b=c+d%20", "ann@x", "пароль €").password


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClientCredentials("app\n", SECRET),
        lambda: PasswordCredentials("", SECRET, "ann", SECRET),
        lambda: RefreshToken("app", SECRET, SECRET + "\n"),
        lambda: BearerToken(SECRET + "\n"),
        lambda: Token(SECRET + "\n", refresh_token=SECRET),
    ],
)
def test_no_frame_of_a_refusal_holds_a_secret(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make()
    error = caught.value
    # The frames of this test and of the lambda hold the user's own secret.
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    ours = error.with_traceback(error.__traceback__.tb_next.tb_next)
    assert_keeps(told_by(ours), SECRET)


FIELDS: list[tuple[Callable[..., Auth], list[str]]] = [
    (ClientCredentials, ["app_id", "app_secret", "scope"]),
    (PasswordCredentials, ["app_id", "app_secret", "username", "password", "scope"]),
    (RefreshToken, ["app_id", "app_secret", "refresh_token"]),
]
WRONG: list[tuple[object, str]] = [
    ("", "must not be empty"),
    (b"bytes", "must be a string, not bytes"),
    ("a\n", "must not hold control characters, such as a line break at its end"),
]


@pytest.mark.parametrize(
    ("make", "names", "named", "wrong", "flaw"),
    [
        (make, names, named, wrong, flaw)
        for make, names in FIELDS
        for named in names
        for wrong, flaw in WRONG
        if (named, wrong) != ("scope", "")
    ],
)
def test_a_refusal_says_which_field_is_wrong_and_how(
    make: Callable[..., Auth], names: list[str], named: str, wrong: object, flaw: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(**(dict.fromkeys(names, "fine") | {named: wrong}))
    assert str(caught.value) == f"{make.__name__}: {named} {flaw}"


NOT_IN_A_HEADER = (
    "must be printable ASCII without spaces around it; this one holds something else, perhaps a"
    " line break"
)


@pytest.mark.parametrize(
    ("wrong", "flaw"),
    [
        ("", "must not be empty"),
        (b"bytes", "must be a string, not bytes"),
        ("a\n", NOT_IN_A_HEADER),
    ],
    ids=repr,
)
def test_a_refusal_says_what_is_wrong_with_a_bearer_token(wrong: Any, flaw: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        BearerToken(wrong)
    assert str(caught.value) == f"BearerToken: token {flaw}"


ENDS_AT_NO_TIME = "^a token needs a number of seconds as its expires_at, or None$"
NO_REFRESH_TOKEN = "^a token needs a string as its refresh_token, or None$"


@pytest.mark.parametrize("when", ["5", True, float("nan"), 10**400, -(10**400)], ids=str)
def test_a_token_with_a_malformed_expiry_is_refused(when: Any) -> None:
    with pytest.raises(InvalidRequest, match=ENDS_AT_NO_TIME) as caught:
        Token(SECRET, expires_at=when)

    assert_keeps(told_by(caught.value.with_traceback(None)), SECRET)


def test_a_token_with_a_refresh_token_that_is_no_string_is_refused() -> None:
    refresh: Any = SECRET.encode()
    with pytest.raises(InvalidRequest, match=NO_REFRESH_TOKEN) as caught:
        Token("t", refresh_token=refresh)

    assert_keeps(told_by(caught.value.with_traceback(None)), SECRET)


@pytest.mark.parametrize("when", [None, 0, 5.5, -1, float("inf")])
def test_a_token_may_expire_at_any_time(when: float | None) -> None:
    assert Token("t", when, "r").expires_at == when


def test_a_token_is_equal_to_itself_only() -> None:
    assert Token("t") != Token("t")


def test_a_new_token_is_neither_accepted_nor_trusted() -> None:
    token = Token("t")
    assert token.accepted is False
    assert token.credit == 1
    assert token.trusted is False


def test_a_token_has_the_value_of_its_header() -> None:
    assert Token("t").authorization == "Bearer t"


def test_a_token_shows_when_it_expires_and_nothing_else() -> None:
    assert repr(Token("hush", 12.5, "hush")) == "Token(expires_at=12.5)"


def test_a_token_is_read_only_except_for_accepted() -> None:
    token = Token("t")
    token.accepted = True
    for name in ("value", "expires_at", "refresh_token", "authorization"):
        with pytest.raises(attrs.exceptions.FrozenAttributeError):
            setattr(token, name, "other")


class TestForms:
    """The form that each class sends (API page, section 2)."""

    async def fetch(self, auth: Auth, *, previous: Token | None = None) -> dict[str, str]:
        host = Host()
        await auth.fetch(endpoint_over(host).at(ORIGIN), previous)
        return host.forms[0]

    async def test_client_credentials(self) -> None:
        assert await self.fetch(ClientCredentials("app", "a&b=c d+ü")) == {
            "grant_type": "client_credentials",
            "client_id": "app",
            "client_secret": "a&b=c d+ü",
            "scope": "all",
        }

    async def test_password_credentials(self) -> None:
        assert await self.fetch(PasswordCredentials("app", "secret", "ann", "p w")) == {
            "grant_type": "password",
            "client_id": "app",
            "client_secret": "secret",
            "username": "ann",
            "password": "p w",
            "scope": "all",
        }

    async def test_refresh_token(self) -> None:
        assert await self.fetch(RefreshToken("app", "secret", "r-1")) == {
            "grant_type": "refresh_token",
            "client_id": "app",
            "client_secret": "secret",
            "refresh_token": "r-1",
        }

    async def test_the_newest_refresh_token_is_sent(self) -> None:
        auth = RefreshToken("app", "secret", "r-1")
        form = await self.fetch(auth, previous=Token("t", refresh_token="r-2"))
        assert form["refresh_token"] == "r-2"

    async def test_an_empty_scope_is_not_sent(self) -> None:
        assert "scope" not in await self.fetch(ClientCredentials("app", "secret", scope=""))
        auth = PasswordCredentials("app", "secret", "ann", "pw", scope="")
        assert "scope" not in await self.fetch(auth)

    async def test_a_bearer_token_sends_nothing(self) -> None:
        host = Host()
        token = await BearerToken("fixed").fetch(endpoint_over(host).at(ORIGIN), None)
        assert token.value == "fixed"
        assert host.requests == []


async def test_a_new_refresh_token_replaces_the_old_one() -> None:
    host = Host(script(token_answer("t-1", refresh_token="r-3")))
    auth = RefreshToken("app", "secret", "r-1")
    token = await auth.fetch(endpoint_over(host).at(ORIGIN), Token("t-0", refresh_token="r-2"))
    assert token.refresh_token == "r-3"


async def test_without_a_new_refresh_token_the_old_one_is_kept() -> None:
    host = Host(script(token_answer("t-1")))
    previous = Token("t-0", refresh_token="r-2")
    auth = RefreshToken("app", "secret", "r-1")
    token = await auth.fetch(endpoint_over(host).at(ORIGIN), previous)
    assert token.refresh_token == "r-2"
    assert token.expires_at is not None


async def test_a_custom_auth_may_fetch_without_the_host() -> None:
    @frozen
    class FromVault:
        path: str
        values: list[str] = field(repr=False, hash=False, eq=False)
        renewable: ClassVar[bool] = True

        async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
            now = asyncio.get_running_loop().time()
            return Token(self.values.pop(0), expires_at=now + 60)

    auth: Auth = FromVault("kv/ringme", ["v-1"])
    assert (await auth.fetch(endpoint_over(Host()).at(ORIGIN), None)).value == "v-1"


class TestNamesInTheFile:
    """The names of keys in the token file."""

    def test_every_part_of_the_key_changes_its_name(self) -> None:
        auths: list[Auth] = [
            ClientCredentials("a", "b"),
            ClientCredentials("a", "c"),
            ClientCredentials("b", "b"),
            ClientCredentials("a", "b", scope="x"),
            PasswordCredentials("a", "b", "c", "d"),
            PasswordCredentials("a", "b", "c", "e"),
            PasswordCredentials("a", "b", "d", "d"),
            RefreshToken("a", "b", "all"),
            RefreshToken("a", "b", "c"),
        ]
        keys = [TokenKey(origin, auth) for auth in auths for origin in (ORIGIN, "http://x")]
        assert len({file_key(key) for key in keys}) == len(keys)

    @pytest.mark.parametrize(
        ("auth", "named"),
        [
            (
                ClientCredentials("app-id", "app-secret"),
                "a37c455ff5ea772b99fe608209fbca08bdccb306ee7808bbb804b00b13c470b3",
            ),
            (
                PasswordCredentials("app-id", "app-secret", "ann", "pw"),
                "61059c6359686b39a9570132d1689dee2bf0efbc5bf77cbe94df168f50616881",
            ),
            (
                RefreshToken("app-id", "app-secret", "refresh"),
                "ae6492b7375270776131f2d84bac2f7facf74ef789ad81b1bc6d90834b35c960",
            ),
        ],
        ids=lambda auth: type(auth).__name__,
    )
    def test_a_key_has_the_same_name_in_every_process(self, auth: Auth, named: str) -> None:
        assert file_key(TokenKey("https://pbx.example.com", auth)) == named

    @pytest.mark.parametrize(
        ("kind", "texts"), [(kind, ["a"] * len(names)) for kind, names in FIELDS]
    )
    def test_a_custom_auth_has_no_name(self, kind: type[Any], texts: list[str]) -> None:
        own = type("Own", (kind,), {})
        assert file_key(TokenKey(ORIGIN, kind(*texts))) is not None
        assert file_key(TokenKey(ORIGIN, own(*texts))) is None

    def test_a_bearer_token_has_no_name(self) -> None:
        assert file_key(TokenKey(ORIGIN, BearerToken("t"))) is None


def test_login_limits_are_equal_by_value() -> None:
    assert len({LoginLimit(), LoginLimit(18.0, 6), LoginLimit(9)}) == 2
