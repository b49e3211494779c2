"""A report as rows of a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from attrs import frozen

from ringme_async import (
    BearerToken,
    Client,
    ClientUpdate,
    Done,
    Failed,
    GeoList,
    InvalidRequest,
    NotAttempted,
    ServerError,
    Tenant,
)
from ringme_async.bulk.report_records import records_of
from tests.observers.world import make_fake, observed

pytestmark = pytest.mark.jumping

BOOKS = ("tenant", "index", "outcome", "attempts", "error", "message", "maybe_applied")


async def test_a_report_gives_a_row_for_each_outcome_with_the_same_columns() -> None:
    fake = make_fake(3)
    fake.block(2)
    async with observed(fake) as ringme:
        report = await ringme.clients.get_many([1, Tenant(2, name="acme"), 3])

    first, second, third = report.to_records()
    assert list(first) == list(second) == list(third)
    assert tuple(first)[: len(BOOKS)] == BOOKS
    assert (first["tenant"], first["outcome"], first["id"]) == ("1", "done", 1)
    assert (second["tenant"], second["outcome"], second["id"]) == ("acme", "failed", None)
    assert (second["error"], second["attempts"]) == ("UserBlocked", 1)
    assert "user_blocked" in str(second["message"])
    assert third["create_date"] == datetime(2020, 3, 16, 9, 29, 57)
    assert (third["type"], third["presence"], third["extra"]) == ("J", False, None)


async def test_the_applied_part_of_a_plan_has_columns_beside_the_client() -> None:
    async with observed(make_fake(1)) as ringme:
        wish = ClientUpdate(timezone="Asia/Omsk", hold_music=5)
        plan = await ringme.clients.plan({1: wish})
        (row,) = (await plan.apply()).to_records()

    assert (row["id"], row["timezone"], row["sent"]) == (1, "Asia/Omsk", "hold_music timezone")
    assert row["maybe_applied"] is False


def test_a_column_can_hold_every_value() -> None:
    client = Client(12, geo_list=GeoList("RU BY"), extra={"a": [1], "b": "\u0416"})
    (row,) = records_of([Done(12, 0, 1, client)])

    assert row["geo_list"] == "RU BY"
    assert row["extra"] == '{"a": [1], "b": "\u0416"}'


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        (12, "12"),
        ("@me", "@me"),
        ("../admin", "'../admin'"),
        (10**5000, "an integer of 16610 bits"),
        (BearerToken("s3cret"), "BearerToken()"),
    ],
    ids=["number", "me", "path", "huge", "token"],
)
def test_a_malformed_element_is_shown_in_short_and_without_secrets(who: Any, shown: str) -> None:
    (row,) = records_of([Failed(who, 0, 0, InvalidRequest("malformed"))])

    assert row["tenant"] == shown


def test_a_malformed_tenant_takes_one_short_line() -> None:
    (row,) = records_of([Failed({"name": "x" * 10_000}, 0, 0, InvalidRequest("no"))])  # type: ignore[arg-type]

    assert len(str(row["tenant"])) <= 100


def test_a_row_that_was_not_attempted_says_why() -> None:
    (row,) = records_of([NotAttempted(Tenant(name=None), 4, 0, "the run's deadline passed")])

    assert row["tenant"] == "@me"
    assert (row["outcome"], row["message"]) == ("not_attempted", "the run's deadline passed")
    assert row["maybe_applied"] is False


def test_a_change_whose_answer_was_lost_is_marked() -> None:
    error = ServerError("503", status_code=503)
    error.maybe_applied = True
    (row,) = records_of([Failed(12, 0, 4, error)])

    assert row["maybe_applied"] is True


def test_a_value_without_fields_has_a_column_of_its_own() -> None:
    @frozen
    class Odd:
        inner: complex

    one, two = records_of([Done(1, 0, 1, 5), Done(2, 1, 1, Odd(1j))])

    assert (one["value"], one["inner"]) == (5, None)
    assert (two["value"], two["inner"]) == (None, "1j")


def test_no_outcomes_make_no_rows() -> None:
    assert records_of([]) == []
