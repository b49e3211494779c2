"""The fake's OpenAPI description agrees with the fake and the SDK's models, and is valid."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from attrs import fields
from openapi_spec_validator import OpenAPIV31SpecValidator

from ringme_async import ClientUpdate
from ringme_async.resources.clients.model import FIELDS
from ringme_async.resources.clients.update import WRITABLE
from ringme_async.testing import FakeRingMe
from ringme_async.testing.fake.client_schema import LATER_DEFAULTS
from tests.testing.reach import ROOT, Caller, said
from tests.testing.test_records import EXAMPLE

URL = "http://127.0.0.1:8080"
CONFIG = """
workers = 1
warnings = false

[auth.openapi.token]
bearer = "{token}"
"""


def described(**settings: Any) -> dict[str, Any]:
    return json.loads(json.dumps(FakeRingMe(**settings).openapi(URL)))  # type: ignore[no-any-return]


def schema(name: str, **settings: Any) -> dict[str, Any]:
    return described(**settings)["components"]["schemas"][name]  # type: ignore[no-any-return]


def takes(name: str, value: object, **settings: Any) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(schema(name, **settings)).is_valid(value))


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenant(id=12)
    return fake.issue_token(fake.add_application(tenant=12))


@pytest.mark.parametrize("later_revision", [False, True])
@pytest.mark.parametrize("require_gzip", [False, True])
def test_it_is_valid_openapi(later_revision: bool, require_gzip: bool) -> None:
    description = described(later_revision=later_revision, require_gzip=require_gzip)
    assert description["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


async def test_a_fake_on_a_socket_serves_it_outside_the_journal(fake: FakeRingMe) -> None:
    import aiohttp

    async with (
        fake.serve() as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json", skip_auto_headers=["Accept-Encoding"]) as answer,
    ):
        assert answer.content_type == "application/json"
        assert await answer.json() == json.loads(json.dumps(fake.openapi(url)))
    assert fake.requests.total == 0
    fake.assert_quiet()


def test_it_has_both_forms_of_the_url_and_the_login() -> None:
    paths = described()["paths"]
    assert {path: sorted(paths[path].keys() - {"parameters"}) for path in paths} == {
        f"{ROOT}/client/{{client_id}}/client/": ["get", "put"],
        f"{ROOT}/client/client_info/{{client_id}}/": ["get", "put"],
        "/oauth/token": ["post"],
    }


def test_a_record_has_the_fields_of_the_sdk_s_model() -> None:
    record = schema("Client")
    assert set(record["required"]) == set(FIELDS) == EXAMPLE.keys()
    assert record["properties"].keys() == set(FIELDS)


def test_a_change_has_the_fields_that_the_sdk_can_write_and_no_others() -> None:
    change = schema("ClientUpdate")
    assert set(WRITABLE) == change["properties"].keys()
    assert set(WRITABLE) == {each.name for each in fields(ClientUpdate)} - {"extra"}
    assert change["additionalProperties"] is False


def test_the_later_revision_adds_its_four_fields_to_both() -> None:
    for name in ("Client", "ClientUpdate"):
        now = schema(name)["properties"].keys()
        assert schema(name, later_revision=True)["properties"].keys() - now == set(LATER_DEFAULTS)


@pytest.mark.parametrize("name", ["Client", "ClientUpdate"])
def test_every_field_has_a_type_and_bounds(name: str) -> None:
    for field, told in schema(name, later_revision=True)["properties"].items():
        types = {told["type"]} if isinstance(told["type"], str) else set(told["type"])
        assert types <= {"integer", "string", "boolean", "null"}, field
        assert ("null" in types) == (field != "id")
        if "integer" in types:
            assert {"minimum", "maximum"} <= told.keys(), field
        if "string" in types:
            assert "maxLength" in told, field


@pytest.mark.parametrize("as_string", [False, True])
async def test_the_api_page_s_example_matches_the_description(as_string: bool) -> None:
    settings = {"extension_len_as_string": as_string, "later_revision": True}
    fake = FakeRingMe(**settings)
    assert takes("Client", dict(fake.add_tenant(12).record), **settings)
    assert not takes("Client", {**EXAMPLE, "extension_len": 5})
    assert not takes("Client", {name: EXAMPLE[name] for name in EXAMPLE if name != "prefix"})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"timezone": "Asia/Omsk", "hold_music": None},
        {"timezone": "Mars/Olympus"},
        {"geo_list": "RU US"},
        {"geo_list": "ru"},
        {"geo_list": "RU\n"},
        {"disk_space_notify_threshold": 100},
        {"disk_space_notify_threshold": 101},
        {"disk_space_notify_email": "почта@example.com"},
        {"disk_space_notify_email": "a\x7f@example.com"},
        {"disk_space_notify_email": "a@" + "b" * 253},
        {"dial_rule_id": 7.0},
        {"dial_rule_id": 7.5},
        {"dial_rule_id": 2**63 - 1},
        {"dial_rule_id": 2**63},
        {"dial_rule_id": "7"},
        {"name": "other"},
        {"call_interactive_timeout": 5},
    ],
    ids=repr,
)
async def test_the_fake_accepts_the_changes_that_the_description_allows(
    inside: Caller, token: str, change: Mapping[str, object]
) -> None:
    answer = await inside.put(12, token, change)
    assert (answer.status == 200) == takes("ClientUpdate", change)


@pytest.mark.parametrize("name", ["Client", "ClientInfo"])
def test_every_refusal_is_described_with_its_limits(name: str) -> None:
    path = {
        "Client": "/client/{client_id}/client/",
        "ClientInfo": "/client/client_info/{client_id}/",
    }
    description = described()
    answers = description["paths"][f"{ROOT}{path[name]}"]["put"]["responses"]
    assert answers.keys() == {"200", "400", "401", "403", "404", "406", "429", "5XX"}
    for code in answers.keys() - {"5XX"}:
        told = answers[code]
        if "$ref" in told:
            told = description["components"]["responses"][told["$ref"].rpartition("/")[2]]
        limits = {header for header in told["headers"] if header.startswith("X-RateLimit-")}
        assert len(limits) == 3, code


def test_the_description_requires_gzip_only_if_the_fake_does() -> None:
    for needed in (True, False):
        parameters = described(require_gzip=needed)["components"]["parameters"]
        assert parameters["AcceptEncoding"]["required"] is needed


def test_the_flows_of_oauth_lead_to_the_same_server() -> None:
    oauth = described()["components"]["securitySchemes"]["oauth"]["flows"]
    assert {flow["tokenUrl"] for flow in oauth.values()} == {f"{URL}/oauth/token"}
    assert set(oauth) == {"clientCredentials", "password", "authorizationCode"}


async def test_an_answer_to_a_login_matches_the_description(call: Caller) -> None:
    answer = await call.log_in(call.fake.add_application())
    assert takes("Token", said(answer))


@pytest.mark.slow
@pytest.mark.parametrize("later_revision", [False, True])
async def test_schemathesis_finds_no_discrepancy(tmp_path: Path, later_revision: bool) -> None:
    """Run all its checks and phases, with a fixed seed."""
    fake = FakeRingMe(later_revision=later_revision, ceiling=10**6)
    fake.oauth.per_second = 10**6
    fake.add_tenants(9)
    token = fake.issue_token(fake.add_dealer())
    (tmp_path / "schemathesis.toml").write_text(CONFIG.format(token=token), "utf-8")
    async with fake.serve() as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--checks", "all", "--seed", "1", "--max-examples", "25", "--no-color"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert fake.requests.total > 500
    assert {200, 400, 401, 404, 405, 406} <= fake.answers.keys()
