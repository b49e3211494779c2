"""Client ids, base URLs and tenants, and their checks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.auth import ClientCredentials
from ringme_async.errors import InvalidRequest
from ringme_async.tenant import Tenant, client_id_in_path, origin_of, same_host

HOSTILE_IDS = [
    "",
    " ",
    "../../admin",
    "1?x=1#f",
    "1%2f2",
    "12\r\nX: y",
    "12\n",
    "\n12",
    "\uff11\uff12",
    "\u0661",
    "@ME",
    "@me/",
    "@me\n",
    "@",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x10",
    " 12",
    "12 ",
    "1_000",
    "12/13",
    "12;a=b",
    "12\x00",
    "9" * 21,
    True,
    False,
    -1,
    10**20,
    10**5000,
    1.0,
    None,
    b"12",
    ["12"],
]


@pytest.mark.parametrize("client_id", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_an_invalid_client_id_is_refused(client_id: object) -> None:
    with pytest.raises(InvalidRequest, match="a client id is a number"):
        client_id_in_path(client_id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("client_id", "in_path"), [(12, "12"), ("12", "12"), (0, "0"), ("0012", "0012"), ("@me", "@me")]
)
def test_numbers_and_at_me_are_unchanged_in_the_path(client_id: int | str, in_path: str) -> None:
    assert client_id_in_path(client_id) == in_path


@given(st.text())
def test_only_ascii_digits_and_at_me_are_valid(text: str) -> None:
    try:
        passed = client_id_in_path(text)
    except InvalidRequest:
        return
    assert passed == text
    assert text == "@me" or set(text) <= set("0123456789")


def test_the_message_of_a_refusal_is_one_short_line() -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_id_in_path("x\n" * 1000)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://pbx.example.com", "https://pbx.example.com"),
        ("https://pbx.example.com/", "https://pbx.example.com"),
        ("https://PBX.Example.com:8443", "https://pbx.example.com:8443"),
        ("https://pbx.example.com/api/ver1.0", "https://pbx.example.com"),
        ("https://pbx.example.com/api/ver1.0/", "https://pbx.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[::1]", "https://[::1]"),
        ("https://pbx.example.com:443", "https://pbx.example.com"),
        ("http://pbx.example.com:80", "http://pbx.example.com"),
        ("http://pbx.example.com:443", "http://pbx.example.com:443"),
    ],
)
def test_a_base_url_is_reduced_to_its_origin(base_url: str, origin: str) -> None:
    assert origin_of(base_url) == origin


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "pbx.example.com",
        "ftp://pbx.example.com",
        "https://",
        "https://:443",
        "https://pbx.example.com:port",
        "https://pbx.example.com:99999",
        "https://pbx.example.com/other",
        "https://pbx.example.com/?x=1",
        "https://pbx.example.com/#f",
        "https://pbx example.com",
        "https://pbx.example.com\r\nX: y",
        "https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
        "https://[::1",
        "https://[1.2.3.4]",
        "https://[::1::]",
        "https://\u0456" + "x" * 64,
        "https://\u2028.example",
        None,
        b"https://pbx.example.com",
    ],
    ids=repr,
)
def test_an_invalid_base_url_is_refused(base_url: object) -> None:
    with pytest.raises(InvalidRequest, match="base_url"):
        origin_of(base_url)  # type: ignore[arg-type]


@pytest.mark.parametrize("base_url", ["https://user:s3cret@pbx.example.com", "https://s3cret@a"])
def test_credentials_in_a_base_url_are_refused_and_not_shown(base_url: str) -> None:
    with pytest.raises(InvalidRequest, match="must not hold credentials") as caught:
        origin_of(base_url)

    assert "s3cret" not in str(caught.value)


def test_a_tenant_is_by_default_the_client_of_its_credentials() -> None:
    tenant = Tenant(auth=ClientCredentials("app", "s3cret"))

    assert tenant.client_id == "@me"
    assert tenant.origin is None


def test_a_tenant_with_its_own_host_has_an_origin() -> None:
    assert Tenant(12, base_url="https://other.example/").origin == "https://other.example"


def test_the_repr_of_a_tenant_shows_no_secret() -> None:
    assert "s3cret" not in repr(Tenant(auth=ClientCredentials("app", "s3cret"), name="acme"))


def test_a_malformed_tenant_is_refused_at_construction() -> None:
    with pytest.raises(InvalidRequest, match="a client id"):
        Tenant("../../admin")
    with pytest.raises(InvalidRequest, match="base_url"):
        Tenant(12, base_url="nonsense")


def test_tenants_are_equal_by_value() -> None:
    assert Tenant(12, name="acme") == Tenant(12, name="acme")
    assert len({Tenant(12), Tenant(12), Tenant(13)}) == 2


def test_a_str_subclass_with_another_format_does_not_change_the_path() -> None:
    class Sly(str):
        __slots__ = ()

        def __format__(self, spec: str) -> str:
            return "../../admin"

    assert f"{client_id_in_path(Sly('12'))}" == "12"


def test_a_bare_secret_is_refused_and_not_shown() -> None:
    bare: Any = "s3cret"

    with pytest.raises(InvalidRequest, match="auth must be credentials") as caught:
        Tenant(auth=bare)

    assert "s3cret" not in str(caught.value)


def test_a_name_that_is_no_string_is_refused() -> None:
    name: Any = 5
    with pytest.raises(InvalidRequest, match="name is a string, not 5"):
        Tenant(12, name=name)


NAMES = {
    "pbx.example.com": ["pbx.example.com", "PBX.Example.com"],
    "xn--e1afmkfd.xn--p1ai": ["xn--e1afmkfd.xn--p1ai", "XN--E1AFMKFD.xn--P1AI"],
    "127.0.0.1": ["127.0.0.1"],
    "[::1]": ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]"],
    "[2001:db8::a]": ["[2001:DB8::A]", "[2001:0db8:0:0::000a]"],
}
PORTS = {
    ("https", ""): ["", ":", ":443", ":0443"],
    ("http", ""): ["", ":", ":80"],
    ("https", ":8443"): [":8443", ":08443"],
    ("http", ":8443"): [":8443", ":08443"],
}
PATHS = ["", "/", "//", "/api/ver1.0", "/api/ver1.0/"]


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """Draw an origin and a spelling of it."""
    scheme, port = draw(st.sampled_from(list(PORTS)))
    name = draw(st.sampled_from(list(NAMES)))
    written = draw(st.sampled_from([scheme, scheme.upper()]))
    host = draw(st.sampled_from(NAMES[name]))
    end = draw(st.sampled_from(PORTS[scheme, port])) + draw(st.sampled_from(PATHS))
    return f"{scheme}://{name}{port}", f"{written}://{host}{end}"


@given(spelled(), spelled())
def test_all_spellings_of_a_host_have_one_origin(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    origin, base_url = one
    assert origin_of(base_url) == origin == origin_of(origin)
    assert same_host(base_url, other[1]) is (origin == other[0])


def test_a_dot_at_the_end_of_a_host_name_is_ignored() -> None:
    # Requests keep the dot, because it marks an absolute name.
    assert origin_of("https://pbx.example.com.:443/") == "https://pbx.example.com."
    assert same_host("https://pbx.example.com.", "https://PBX.example.com")
    assert same_host("https://pbx.example.com.:8443", "https://pbx.example.com:8443")
    assert not same_host("https://pbx.example.com.", "https://pbx.example.org")


def test_an_internationalized_name_is_refused_with_its_ascii_form() -> None:
    with pytest.raises(InvalidRequest) as caught:
        origin_of("https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444")
    assert str(caught.value).endswith('in ASCII: "https://xn--e1afmkfd.xn--p1ai"')
