"""Lists of changes: empty leaves alone, null clears."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async import ClientUpdate, Tenant
from ringme_async.cli.changes_file import Changes, read_changes
from ringme_async.cli.errors import CouldNotStart
from ringme_async.cli.tenants_file import TenantsFile
from ringme_async.cli.update_options import WRITABLE, any_value, update_of, value_of
from ringme_async.resources.clients.update import WRITABLE as REALLY_WRITABLE

ACME = Tenant("12", name="acme")
TENANTS = TenantsFile("tenants.csv", [ACME], "")

Read = Callable[..., Changes]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(
        content: str, tenants: TenantsFile | None = TENANTS, *, has_auth: bool = True
    ) -> Changes:
        path = tmp_path / "changes"
        path.write_text(content, encoding="utf-8")
        return read_changes(str(path), "utf-8", tenants, has_auth=has_auth)

    return read


def refusal(read: Read, content: str, **arguments: object) -> list[str]:
    with pytest.raises(CouldNotStart) as caught:
        read(content, **arguments)
    return [re.sub(r"^/.*?/(?=tenants|changes)", "", one) for one in caught.value.sentences]


def test_the_columns_are_the_writable_fields() -> None:
    assert WRITABLE == REALLY_WRITABLE


def test_in_csv_an_empty_cell_leaves_alone_and_null_clears(read: Read) -> None:
    content = (
        "client_id;timezone;geo_list;hold_music;disk_space_notify_threshold\r\n"
        "1;Asia/Omsk;;null;\r\n"
        "012;;RU BY;;90\r\n"
        "@me;null;*;5;\r\n"
        ";;;;\r\n"
    )
    assert list(read(content)) == [
        ("1", ClientUpdate(timezone="Asia/Omsk", hold_music=None)),
        ("12", ClientUpdate(geo_list="RU BY", disk_space_notify_threshold=90)),
        ("@me", ClientUpdate(timezone=None, geo_list="*", hold_music=5)),
    ]


def test_json_lines_have_values_of_json(read: Read) -> None:
    content = (
        '{"client_id": 1, "timezone": "Asia/Omsk", "hold_music": null}\n'
        '{"tenant": "acme", "disk_space_notify_threshold": 90, "extra": {"colour": "red"}}\n'
    )
    assert list(read(content)) == [
        ("1", ClientUpdate(timezone="Asia/Omsk", hold_music=None)),
        (ACME, ClientUpdate(disk_space_notify_threshold=90, extra={"colour": "red"})),
    ]


def test_unknown_fields_are_columns_with_a_dot(read: Read) -> None:
    content = "client_id,extra.colour,extra.depth,extra.shape\n1,red,3,null\n"
    (change,) = read(content)
    assert change == ("1", ClientUpdate(extra={"colour": "red", "depth": 3, "shape": None}))


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("1,,Asia/Omsk,,", None),
        (",acme,Asia/Omsk,,", None),
        ("1,acme,Asia/Omsk,,", "a line is for either a tenant or a client_id"),
        (",,Asia/Omsk,,", "a line is for either a tenant or a client_id"),
        (",globex,Asia/Omsk,,", "there is no tenant 'globex' in the list of tenants"),
        ("one,,Asia/Omsk,,", "client_id is a number or @me, not 'one'"),
        ("1,,,,", "it names nothing to change"),
        ("1,,Asia Omsk,,", "timezone must be an IANA zone"),
        ("1,,,loud,", "hold_music must be an integer"),
        ("1,,,,red", "a column of another field is called extra.NAME"),
    ],
)
def test_a_wrong_line_of_csv_is_named(row: str, flaw: str | None, read: Read) -> None:
    content = f"client_id,tenant,timezone,hold_music,extra\n2,,Asia/Omsk,,\n{row}\n"
    if flaw is None:
        assert len(read(content)) == 2
        return
    (message,) = refusal(read, content)
    assert message.startswith(f"changes, line 3: {flaw}")


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ('{"client_id": true, "hold_music": 5}', "client_id is a number or @me, not True"),
        ('{"tenant": 12, "hold_music": 5}', "tenant is no text"),
        ('{"client_id": 1, "hold_music": "5"}', "hold_music must be an integer"),
        ('{"client_id": 1, "geo_list": 5}', "geo_list must be"),
        ('{"client_id": 1, "extra": 5}', "extra is no object"),
        ('{"client_id": 1, "extra": {"name": "x"}}', "name cannot be changed"),
        ('{"client_id": 1, "colour": "red"}', "unknown fields: 'colour'"),
    ],
)
def test_a_wrong_object_is_named(row: str, flaw: str, read: Read) -> None:
    (message,) = refusal(read, f'{{"client_id": 2, "hold_music": 5}}\n{row}\n')
    assert message.startswith(f"changes, line 2: {flaw}")


def test_a_repeated_tenant_is_refused(read: Read) -> None:
    content = "client_id,tenant,hold_music\n12,,5\n,acme,5\n012,,6\n,acme,7\n"
    assert refusal(read, content) == [
        "changes, line 4: client_id '12' is on line 2 already",
        "changes, line 5: tenant 'acme' is on line 3 already",
    ]


def test_a_client_id_needs_credentials_in_the_settings(read: Read) -> None:
    content = "client_id,tenant,hold_music\n12,,5\n,acme,5\n"
    assert refusal(read, content, has_auth=False) == [
        "changes, line 2: a client_id needs credentials in the settings"
    ]


def test_a_name_without_a_list_of_tenants_is_refused(read: Read) -> None:
    assert refusal(read, "tenant,hold_music\nacme,5\n", tenants=None) == [
        "changes, line 2: a tenant by its name needs a list of tenants: --tenants FILE"
    ]


def test_an_unknown_column_is_reported_with_the_known_ones(read: Read) -> None:
    (message,) = refusal(read, "client_id,timezon\n1,Asia/Omsk\n")
    assert message.startswith(
        "changes: unknown columns: 'timezon' (did you mean 'timezone'?);"
        " there are tenant, client_id, "
    )
    assert message.endswith(", timezone, extra, extra.NAME")


def test_a_refused_value_is_reported_in_the_terms_of_a_list(read: Read) -> None:
    (message,) = refusal(read, "client_id,hold_music\n1,five\n")
    assert message.endswith(", or null to clear it; not 'five'")


def test_an_empty_list_is_refused(read: Read) -> None:
    assert refusal(read, "client_id,hold_music\n") == ["changes: there is no change in it"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("null", None), ('"3"', "3"), ("red", "red"), ("[" * 100_000, "[" * 100_000)],
)
def test_the_value_of_an_unknown_field_is_json_or_else_a_text(text: str, value: object) -> None:
    assert any_value(text) == value


@given(st.integers(0, 2**63 - 1))
def test_a_number_written_out_is_that_number(number: int) -> None:
    assert update_of({"hold_music": value_of("hold_music", str(number))}, {}) == ClientUpdate(
        hold_music=number
    )
