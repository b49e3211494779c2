"""Lists of tenants, as people and Excel write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ringme_async import ClientCredentials, Tenant
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.settings import Settings
from ringme_async.cli.tenants_file import TenantsFile, read_tenants

URL = "https://pbx.example.com"
SETTINGS = Settings(URL, ClientCredentials("dealer", "s3cret"))
NOTHING = Settings()
HOST_ALONE = Settings(URL)

Read = Callable[..., TenantsFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(
        content: str | bytes,
        settings: Settings = SETTINGS,
        encoding: str = "utf-8",
        **environ: str,
    ) -> TenantsFile:
        path = tmp_path / "tenants"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return read_tenants(str(path), encoding, settings, environ)

    return read


def refusal(read: Read, content: str | bytes, *arguments: object, **environ: str) -> list[str]:
    """Return the messages for a refused list, without the names of its folders."""
    with pytest.raises(CouldNotStart) as caught:
        read(content, *arguments, **environ)
    assert "s3cret" not in str(caught.value)
    return [re.sub(r"^/.*?/(?=tenants|changes)", "", one) for one in caught.value.sentences]


THERE_ARE = "there are name, client_id, app_id, secret, secret_env, base_url"
ACME = Tenant("@me", auth=ClientCredentials("app", "s3cret"), name="acme")


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_csv_is_read_however_excel_writes_it(
    delimiter: str, end: str, bom: str, read: Read
) -> None:
    rows = [
        ["name", "app_id", "secret"],
        ["acme", "app", "s3cret"],
        ['"Two; Three, ""Four"""', "app", '"s3cret"'],
        ["", "", ""],
        ["  last  ", " app ", "s3cret ", "", ""],
    ]
    content = bom + end.join(delimiter.join(row) for row in rows) + end + end
    tenants = read(content).tenants
    assert [tenant.name for tenant in tenants] == ["acme", 'Two; Three, "Four"', "last"]
    assert {tenant.auth for tenant in tenants} == {ACME.auth}
    assert tenants[0] == ACME


def test_a_list_in_cp1251_needs_the_option_encoding(read: Read) -> None:
    content = "name;client_id\n\u041b\u044e\u0442\u0438\u043a;1\n".encode("cp1251")
    (tenant,) = read(content, SETTINGS, "cp1251").tenants
    assert tenant.name == "\u041b\u044e\u0442\u0438\u043a"
    assert refusal(read, content) == [
        "tenants, line 2: this is no utf-8; if Excel has written it, try --encoding cp1251"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_overrules_the_option_encoding(encoding: str, read: Read) -> None:
    content = "\ufeffname;client_id\n\u041b\u044e\u0442\u0438\u043a;1\n".encode(encoding)
    (tenant,) = read(content, SETTINGS, "cp1251").tenants
    assert tenant.name == "\u041b\u044e\u0442\u0438\u043a"


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_unknown_encoding_is_wrong_usage(encoding: str, read: Read) -> None:
    with pytest.raises(WrongUsage, match="there is no encoding"):
        read("client_id\n1\n", SETTINGS, encoding)


def test_an_undecodable_byte_in_cp1251_is_reported_without_a_hint(read: Read) -> None:
    assert refusal(read, b"client_id\n1\x98\n", SETTINGS, "cp1251") == [
        "tenants, line 2: this is no cp1251"
    ]


def test_json_lines_are_read_too(read: Read) -> None:
    content = (
        '\ufeff{"name": "acme", "app_id": "app", "secret": "s3cret", "client_id": null}\r\n'
        "\r\n"
        '{"client_id": 12, "base_url": "https://other.example.com"}\r\n'
        '{"client_id": "13", "app_id": "app", "secret_env": "SECRET"}'
    )
    assert list(read(content, SECRET="other-s3cret").tenants) == [
        ACME,
        Tenant("12", base_url="https://other.example.com", name="12"),
        Tenant("13", auth=ClientCredentials("app", "other-s3cret"), name="13"),
    ]


def test_a_tenant_without_a_name_is_named_by_its_client_id(read: Read) -> None:
    found = read("client_id\n12\n13\n")
    assert list(found.tenants) == [Tenant("12", name="12"), Tenant("13", name="13")]
    assert found.named("13") == Tenant("13", name="13")
    assert found.named("14") is None


def test_the_secret_can_be_in_the_environment(read: Read) -> None:
    content = "name,app_id,secret_env\nacme,app,ACME\n"
    assert list(read(content, ACME="s3cret").tenants) == [ACME]
    message = ["tenants, line 2: the environment variable that secret_env names is not set"]
    assert refusal(read, content) == message
    # A user may have put the secret itself there.
    assert refusal(read, "name,app_id,secret_env\nacme,app,s3cret\n") == message


def test_headers_may_be_in_capitals_and_end_in_empty_cells(read: Read) -> None:
    assert list(read("Name;CLIENT_ID;;\nacme;12;;\n").tenants) == [Tenant("12", name="acme")]


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        (";;;;;", None),
        ("acme;twelve;;;;", "client_id is neither a number nor @me"),
        ("acme;\u0661\u0662;;;;", "client_id is neither a number nor @me"),
        ("acme;1,2E+05;;;;", "client_id is neither a number nor @me"),
        ("acme;12;app;;;", "an app_id needs either a secret or a secret_env"),
        ("acme;12;app;s3cret;SECRET;", "an app_id needs either a secret or a secret_env"),
        ("acme;12;;s3cret;;", "it has a secret, and no app_id"),
        (";@me;app;s3cret;;", "it has no name"),
        (";;app;s3cret;;", "it has no name"),
        ("acme;;;;;", "it has neither a client_id nor an app_id"),
        ("acme;12;app;s3cret\x01s3cret;;", "ClientCredentials: app_secret"),
        ("acme;12;;;;pbx.example.com", "base_url needs a scheme and a host"),
        ("acme;12;;;;;more", "it has 7 cells, and the header 6"),
        ('acme;"1"2;;;;', "the CSV is malformed from here on"),
        ('acme;"12;;;;', "the CSV is malformed from here on"),
        ("ac\0me;12;;;;", "a tenant cannot be called"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(row: str, flaw: str | None, read: Read) -> None:
    content = f"name;client_id;app_id;secret;secret_env;base_url\ngood;1;;;;\n{row}\n"
    if flaw is None:
        assert len(read(content).tenants) == 1
        return
    (message,) = refusal(read, content)
    assert message.startswith(f"tenants, line 3: {flaw}")


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("s3cret", "this is no JSON: Expecting value at column 1"),
        ("[1]", "this is no JSON object"),
        ("[" * 100_000, "this is no JSON object"),
        ('{"name": "a", "name": "b", "client_id": 12}', "a field is there twice"),
        ('{"name": "acme", "id": 12}', "unknown fields: 'id'"),
        ('{"name": 5, "client_id": 12}', "name is no text"),
        ('{"name": "acme", "app_id": "app", "secret": ["s3cret"]}', "secret is no text"),
        ('{"name": "acme", "client_id": true}', "client_id is neither a number nor @me"),
        ('{"name": "acme", "client_id": -12}', "client_id is neither a number nor @me"),
        (r'{"name": "\ud800", "client_id": 12}', "a tenant cannot be called"),
    ],
)
def test_a_wrong_object_is_named_with_its_number(row: str, flaw: str, read: Read) -> None:
    (message,) = refusal(read, f'{{"client_id": 1}}\n\n{row}\n')
    assert message.startswith(f"tenants, line 3: {flaw}")


def test_all_wrong_lines_are_reported_at_once_in_order(read: Read) -> None:
    content = "name,client_id\na,one\nb,2\nb,3,4\nc,\n"
    assert refusal(read, content) == [
        "tenants, line 2: client_id is neither a number nor @me",
        "tenants, line 4: it has 3 cells, and the header 2",
        "tenants, line 5: it has neither a client_id nor an app_id",
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(100, "tenants: 80 more lines are wrong"), (21, "tenants: one more line is wrong")],
)
def test_only_the_first_of_very_many_wrong_lines_are_named(
    wrong: int, message: str, read: Read
) -> None:
    sentences = refusal(read, "name,client_id\n" + "a,x\n" * wrong)
    assert len(sentences) == 21
    assert sentences[-1] == message


def test_line_numbers_are_the_files_even_after_a_cell_of_two_lines(
    read: Read,
) -> None:
    assert refusal(read, 'name,client_id\n"two\nlines",1\nb,x\n') == [
        "tenants, line 4: client_id is neither a number nor @me"
    ]


def test_a_repeated_name_is_refused_and_both_lines_are_named(read: Read) -> None:
    assert refusal(read, "name,client_id\nacme,1\nglobex,2\nacme,3\nacme,4\n") == [
        "tenants, line 4: the name 'acme' is on line 2 already",
        "tenants, line 5: the name 'acme' is on line 2 already",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "name;client_id;colour;depth\na;1;;\n",
            f"unknown columns: 'colour', 'depth'; {THERE_ARE}",
        ),
        ("name;client_id;name\na;1;a\n", "a column is named twice: 'name'"),
        ("acme;12;app;s3cret\n", "the first line is to name the columns, and names none"),
        ("[]", "there is no tenant in it"),
        ("name;client_id\n;\n", "there is no tenant in it"),
        ("", "there is no tenant in it"),
    ],
)
def test_a_file_that_is_no_list_of_tenants_is_refused_as_a_whole(
    content: str, message: str, read: Read
) -> None:
    assert refusal(read, content) == [f"tenants: {message}"]


def test_a_missing_list_is_reported(tmp_path: Path) -> None:
    path = str(tmp_path / "tenants.csv")
    with pytest.raises(CouldNotStart, match=r"tenants\.csv: No such file or directory"):
        read_tenants(path, "utf-8", SETTINGS, {})


def test_a_setting_missing_in_every_line_is_reported_once(read: Read) -> None:
    content = "name,client_id\na,1\nb,2\n"
    (message,) = refusal(read, content, NOTHING)
    assert message.startswith("there is no base URL")
    (message,) = refusal(read, content, HOST_ALONE)
    assert message.startswith("there are no credentials")


def test_a_setting_missing_in_some_lines_is_reported_for_each(read: Read) -> None:
    content = (
        "name,client_id,app_id,secret,base_url\n"
        f"a,1,app,s3cret,{URL}\n"
        "b,2,app,s3cret,\n"
        f"c,3,,,{URL}\n"
    )
    assert refusal(read, content, NOTHING) == [
        "tenants, line 3: it has no base_url, and there is none in the settings",
        "tenants, line 4: it has no app_id, and there are no credentials in the settings",
    ]


def test_secrets_readable_by_others_cause_a_warning(read: Read, tmp_path: Path) -> None:
    with_secret = read("name,app_id,secret\nacme,app,s3cret\n")
    assert with_secret.warning == ""
    assert "s3cret" not in repr(with_secret)
    (tmp_path / "tenants").chmod(0o640)
    again = read_tenants(with_secret.path, "utf-8", SETTINGS, {})
    assert again.warning.endswith(f"chmod 600 {with_secret.path}")
    (tmp_path / "tenants").write_text("client_id\n12\n")
    assert read_tenants(with_secret.path, "utf-8", SETTINGS, {}).warning == ""
