"""How a test adds clients, applications and users to a fake."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from ringme_async.testing import FakeRingMe
from ringme_async.testing.fake.client_schema import EXAMPLE
from tests.testing.reach import Caller


def test_a_new_client_is_the_page_s_example_with_its_own_id(fake: FakeRingMe) -> None:
    tenant = fake.add_tenant(id=7, timezone="Asia/Omsk")
    assert tenant.record == {**EXAMPLE, "id": 7, "timezone": "Asia/Omsk"}
    assert fake.records[7] == tenant.record
    assert fake.tenant(7) is fake.tenant(tenant) is tenant


def test_an_unknown_field_is_refused(fake: FakeRingMe) -> None:
    with pytest.raises(ValueError, match="no field of a client is called tiemzone"):
        fake.add_tenant(tiemzone="Asia/Omsk")
    with pytest.raises(ValueError, match="called colour"):
        fake.add_tenants(2, colour="red")


def test_new_ids_skip_taken_ones(fake: FakeRingMe) -> None:
    fake.add_tenant(id=2)
    assert [fake.add_tenant().id for _ in range(2)] == [1, 3]
    assert [tenant.id for tenant in fake.add_tenants(2)] == [4, 5]
    assert [tenant.id for tenant in fake.add_tenants(2, first_id=100)] == [100, 101]
    assert fake.add_tenant().id == 6


def test_a_client_cannot_be_added_twice(fake: FakeRingMe) -> None:
    fake.add_tenant(id=2)
    with pytest.raises(ValueError, match="client 2 already"):
        fake.add_tenant(id=2)


def test_an_application_and_a_user_cannot_be_added_twice(fake: FakeRingMe) -> None:
    application = fake.add_application("app")
    with pytest.raises(ValueError, match="application app already"):
        fake.add_application("app")
    fake.add_user("ann", "p", application.tenant)
    with pytest.raises(ValueError, match="user ann already"):
        fake.add_user("ann", "p", application.tenant)


def test_many_clients_get_distinct_names_and_prefixes(fake: FakeRingMe) -> None:
    fake.add_tenants(3, timezone="Asia/Omsk")
    assert fake.records[2] == {
        **EXAMPLE,
        "id": 2,
        "name": "ringme_test_2",
        "prefix": "0002",
        "domain_prefix": "00002",
        "email": "admin2@domain.com",
        "timezone": "Asia/Omsk",
    }
    assert list(fake.records) == [1, 2, 3]
    assert len(fake.records) == 3


def test_a_given_name_holds_for_all_new_clients(fake: FakeRingMe) -> None:
    fake.add_tenants(2, name="same")
    assert [record["name"] for record in fake.records.values()] == ["same", "same"]


def test_given_records_are_served_unchanged(fake: FakeRingMe) -> None:
    records = [{"id": 5, "name": None, "new": [1]}, {"id": 6}]
    fake.add_tenants(records)  # type: ignore[arg-type]
    assert [dict(record) for record in fake.records.values()] == records


@pytest.mark.parametrize("record", [{}, {"id": "5"}, {"id": True}, {"id": None}])
def test_a_record_needs_an_id(fake: FakeRingMe, record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a whole number as its id"):
        fake.add_tenants([record])  # type: ignore[list-item]


def test_a_shown_record_is_read_only(fake: FakeRingMe) -> None:
    fake.add_tenant(id=1)
    with pytest.raises(TypeError):
        fake.records[1]["name"] = "x"  # type: ignore[index]
    with pytest.raises(KeyError):
        fake.records[2]


async def test_a_test_can_change_a_record_without_a_request(call: Caller) -> None:
    tenant = call.fake.add_tenant(id=1)
    token = call.fake.issue_token(call.fake.add_application(tenant=tenant))
    await call.get(1, token)
    tenant.set(timezone="Asia/Omsk", presence="maybe", new_field={"a": None})
    assert json.loads((await call.get(1, token)).body) == tenant.record
    assert tenant.record["presence"] == "maybe"


def test_an_application_without_a_client_gets_a_new_one(fake: FakeRingMe) -> None:
    application = fake.add_application()
    assert fake.tenant(application.tenant.id) is application.tenant
    assert fake.application(application.app_id) is application
    assert fake.application(application) is application


def test_a_dealer_s_client_takes_none_of_the_low_ids(fake: FakeRingMe) -> None:
    assert fake.add_dealer().tenant.id != fake.add_dealer().tenant.id
    assert [tenant.id for tenant in fake.add_tenants(2)] == [1, 2]


async def test_a_hundred_thousand_clients_stay_small(fake: FakeRingMe) -> None:
    tracemalloc.start()
    try:
        fake.add_tenants(100_000)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 100_000 < 400


async def test_bodies_are_kept_for_a_few_clients_only(inside: Caller) -> None:
    fake = inside.fake
    fake.add_tenants(5_000)
    token = fake.issue_token(fake.add_dealer())
    for who in (1, *range(1, 5_001), 1):
        assert json.loads((await inside.get(who, token)).body)["id"] == who
    assert fake.answers == {200: 5_002}
