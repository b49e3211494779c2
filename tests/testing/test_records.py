"""The API page, section 1: the resource "Client"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ringme_async.testing import FakeRingMe
from ringme_async.transports.memory import InMemoryTransport
from tests.testing.reach import ROOT, Caller, said

EXAMPLE: dict[str, Any] = json.loads(
    """
    {"domain": "sip.ringme.ru", "create_date": "2020-03-16 09:29:57", "hold_music": null,
     "presence": "no", "sip_network_permission_id": null, "prefix": "0001", "record_stereo": false,
     "ambassadors": null, "id": 12, "domain_prefix": "00001", "contact_phones": null,
     "name": "ringme_test", "timezone": "Europe/Moscow", "dial_rule_id": 19, "type": "J",
     "email": "admin@domain.com", "reg_status_log": false, "fact_address": null,
     "extra_params": null, "extension_len": 3, "geo_list": null,
     "did_as_transfer_caller_id": "default", "jur_address": null, "language": null,
     "record_format": "mp3", "short_local_caller_id": "yes", "disk_space_notify_email": null,
     "disk_space_notify_threshold": null}
    """
)
WRITABLE = {
    "dial_rule_id": 7,
    "disk_space_notify_email": "ops@example.com",
    "disk_space_notify_threshold": 90,
    "geo_list": "RU US BY",
    "hold_music": 3,
    "sip_network_permission_id": 5,
    "timezone": "Asia/Omsk",
}
LATER = {
    "call_interactive_url": "https://example.com/ivr",
    "call_interactive_method": "POST",
    "call_interactive_timeout": 5,
    "call_interactive_out_call": True,
}


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenant(id=12)
    return fake.issue_token(fake.add_application(tenant=12))


@pytest.mark.parametrize("path", ["/client/12/client/", "/client/client_info/12/"])
async def test_both_paths_read_the_record(call: Caller, token: str, path: str) -> None:
    answer = await call("GET", f"{ROOT}{path}", token=token)
    assert answer.status == 200
    assert said(answer) == EXAMPLE


@pytest.mark.parametrize("path", ["/client/12/client/", "/client/client_info/12/"])
async def test_both_paths_change_the_record(call: Caller, token: str, path: str) -> None:
    body = b'{"timezone": "Asia/Omsk"}'
    answer = await call(
        "PUT", f"{ROOT}{path}", token=token, body=body, content_type="application/json"
    )
    assert answer.status == 200
    assert said(answer) == {**EXAMPLE, "timezone": "Asia/Omsk"}


@pytest.mark.parametrize("who", ["@me", "%40me"])
async def test_at_me_is_the_client_of_the_token(call: Caller, token: str, who: str) -> None:
    assert said(await call.get(who, token)) == EXAMPLE


@pytest.mark.parametrize(
    "path",
    [
        "/client/12/client",
        "/client/client_info/12",
        "/client//client/",
        "/client/12/",
        "/client/12/client//",
        "/clients/12/client/",
        "/client/1%2f2/extra/client/",
        "/",
        "/client/12/extension/",
    ],
)
async def test_a_path_must_match_in_every_slash_and_word(
    call: Caller, token: str, path: str
) -> None:
    answer = await call("GET", f"{ROOT}{path}", token=token)
    assert answer.status == 404
    assert "status" not in said(answer)


@pytest.mark.parametrize(
    "who", ["13", "0", "abc", "-12", "1%2f2", "9" * 40, "%D9%A1%D9%A2", "@you"]
)
async def test_an_unknown_client_is_not_found(call: Caller, token: str, who: str) -> None:
    answer = await call.get(who, token)
    assert answer.status == 404
    assert said(answer)["status"] == "client_not_found"


@pytest.mark.parametrize("path", ["/api/ver1.0", "/api/ver1.00/client/12/client/", "/", "/x"])
async def test_paths_outside_the_api_are_not_found(call: Caller, token: str, path: str) -> None:
    answer = await call("GET", path, token=token)
    assert answer.status == 404
    assert "status" not in said(answer)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
async def test_another_method_is_not_allowed(call: Caller, token: str, method: str) -> None:
    answer = await call(method, f"{ROOT}/client/12/client/", token=token)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, PUT"


async def test_every_writable_field_can_be_set_and_cleared(call: Caller, token: str) -> None:
    assert said(await call.put(12, token, WRITABLE)) == {**EXAMPLE, **WRITABLE}
    assert said(await call.get(12, token)) == {**EXAMPLE, **WRITABLE}
    cleared = dict.fromkeys(WRITABLE)
    assert said(await call.put(12, token, cleared)) == {**EXAMPLE, **cleared}


async def test_a_change_keeps_omitted_fields_and_clears_null_ones(call: Caller, token: str) -> None:
    await call.put(12, token, {"geo_list": "*", "hold_music": 3})
    answer = await call.put(12, token, {"hold_music": None})
    assert said(answer) == {**EXAMPLE, "geo_list": "*", "hold_music": None}


async def test_an_empty_change_changes_nothing(call: Caller, token: str) -> None:
    answer = await call.put(12, token, {})
    assert answer.status == 200
    assert said(answer) == EXAMPLE


@pytest.mark.parametrize("name", sorted(EXAMPLE.keys() - WRITABLE.keys()))
async def test_read_only_fields_are_refused(inside: Caller, token: str, name: str) -> None:
    answer = await inside.put(12, token, {name: EXAMPLE[name]})
    assert answer.status == 400
    assert name in said(answer)["message"]
    assert said(answer)["status"]


@pytest.mark.parametrize("name", ["nonsense", *LATER])
async def test_a_change_of_an_unknown_field_is_refused_by_name(
    inside: Caller, token: str, name: str
) -> None:
    answer = await inside.put(12, token, {"timezone": "Asia/Omsk", name: None})
    assert answer.status == 400
    assert name in said(answer)["message"]
    assert said(await inside.get(12, token)) == EXAMPLE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dial_rule_id", "7"),
        ("dial_rule_id", True),
        ("dial_rule_id", 7.5),
        ("dial_rule_id", 1e300),
        ("dial_rule_id", -1),
        ("dial_rule_id", 2**63),
        ("hold_music", [3]),
        ("sip_network_permission_id", {"id": 5}),
        ("disk_space_notify_threshold", 101),
        ("disk_space_notify_threshold", -1),
        ("disk_space_notify_email", "ops"),
        ("disk_space_notify_email", "ops@example.com, me@example.com"),
        ("disk_space_notify_email", "a@" + "b" * 260),
        ("disk_space_notify_email", 5),
        ("disk_space_notify_email", "a@b\ud800"),
        ("geo_list", "Russia"),
        ("geo_list", "RU  US"),
        ("geo_list", "ru"),
        ("geo_list", ""),
        ("geo_list", "* RU"),
        ("geo_list", "RU\n"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", ""),
        ("timezone", False),
    ],
)
async def test_a_wrong_value_is_refused_by_the_field_s_name(
    inside: Caller, token: str, name: str, value: object
) -> None:
    answer = await inside.put(12, token, {name: value})
    assert answer.status == 400
    assert name in said(answer)["message"]
    assert said(await inside.get(12, token)) == EXAMPLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"timezone"',
        b"{",
        b'{"hold_music": NaN}',
        b'\xef\xbb\xbf{"hold_music": 3}',
        b'{"timezone": "\xff"}',
        '{"hold_music": 3}'.encode("utf-16"),
        b"[" * 100_000,
    ],
)
async def test_a_body_other_than_a_json_object_is_refused(
    call: Caller, token: str, body: bytes
) -> None:
    answer = await call(
        "PUT",
        f"{ROOT}/client/12/client/",
        token=token,
        body=body,
        content_type="application/json",
    )
    assert answer.status == 400
    assert said(answer)["message"]


async def test_a_whole_number_may_be_written_as_a_fraction(
    call: Caller, token: str, fake: FakeRingMe
) -> None:
    answer = await call(
        "PUT",
        f"{ROOT}/client/12/client/",
        token=token,
        body=b'{"hold_music": 7.0}',
        content_type="application/json",
    )
    assert answer.status == 200
    assert b'"hold_music": 7,' in answer.body
    fake.assert_updated(12, hold_music=7)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_needs_the_content_type_of_json(
    call: Caller, token: str, kind: str | None
) -> None:
    answer = await call(
        "PUT", f"{ROOT}/client/12/client/", token=token, body=b"{}", content_type=kind
    )
    assert answer.status == 400
    assert "application/json" in said(answer)["message"]


async def test_a_content_type_may_have_a_charset(call: Caller, token: str) -> None:
    answer = await call(
        "PUT",
        f"{ROOT}/client/12/client/",
        token=token,
        body=b"{}",
        content_type="Application/JSON; charset=utf-8",
    )
    assert answer.status == 200


async def test_a_change_of_a_locked_field_is_forbidden(call: Caller, fake: FakeRingMe) -> None:
    fake.add_tenant(id=5, locked=["geo_list", "timezone"])
    token = fake.issue_token(fake.add_application(tenant=5))
    answer = await call.put(5, token, {"geo_list": "RU", "hold_music": 3})
    assert answer.status == 403
    assert said(answer)["status"] == "access_denied"
    assert "geo_list" in said(answer)["message"]
    assert fake.records[5]["hold_music"] is None
    assert (await call.put(5, token, {"hold_music": 3})).status == 200


async def test_the_later_revision_adds_four_writable_fields() -> None:
    fake = FakeRingMe(later_revision=True)
    application = fake.add_application(tenant=fake.add_tenant(id=12))
    caller = Caller(InMemoryTransport(fake), fake.base_url, fake)
    token = fake.issue_token(application)
    defaults = {
        "call_interactive_url": None,
        "call_interactive_method": "GET",
        "call_interactive_timeout": None,
        "call_interactive_out_call": False,
    }
    assert said(await caller.get(12, token)) == {**EXAMPLE, **defaults}
    assert said(await caller.put(12, token, LATER)) == {**EXAMPLE, **LATER}
    for name, value in [
        ("call_interactive_url", "ftp://example.com"),
        ("call_interactive_method", "PUT"),
        ("call_interactive_timeout", "5"),
        ("call_interactive_out_call", 1),
    ]:
        answer = await caller.put(12, token, {name: value})
        assert answer.status == 400
        assert name in said(answer)["message"]


async def test_extension_len_can_be_a_string() -> None:
    fake = FakeRingMe(extension_len_as_string=True)
    fake.add_tenant(id=12)
    caller = Caller(InMemoryTransport(fake), fake.base_url, fake)
    answer = await caller.get(12, fake.issue_token(fake.add_application(tenant=12)))
    assert said(answer) == {**EXAMPLE, "extension_len": "3"}


async def test_a_given_record_is_served_with_its_unknown_fields(
    call: Caller, fake: FakeRingMe
) -> None:
    record = {"id": 77, "name": "Ромашка", "favourite": {"colour": ["red", 1, None]}}
    fake.add_tenants([record])
    token = fake.issue_token(fake.add_application(tenant=77))
    assert said(await call.get(77, token)) == record
    assert said(await call.put(77, token, {"hold_music": 3})) == {**record, "hold_music": 3}


async def test_a_query_does_not_change_the_answer(call: Caller, token: str) -> None:
    answer = await call("GET", f"{ROOT}/client/12/client/?fields=name", token=token)
    assert said(answer) == EXAMPLE


async def test_an_answer_has_the_server_s_date(call: Caller, token: str) -> None:
    assert (await call.get(12, token)).headers["date"].endswith(" GMT")
