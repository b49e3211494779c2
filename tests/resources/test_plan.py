"""Plans: what would change, kept as a file, and applied with care."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from ringme_async import (
    BearerToken,
    Client,
    ClientUpdate,
    Conflict,
    Done,
    Failed,
    InvalidRequest,
    NotApplied,
    NotAttempted,
    RingMe,
    Tenant,
)
from ringme_async.plan import FieldChange, PlannedChange
from ringme_async.transports import Request, Response
from tests.scripted import RECORD, ScriptedTransport, refusal

URL = "https://pbx.example.com"
DEALER = BearerToken("dealers")


@define
class Records:
    """A server with records that can be changed, and with an eye on what is sent."""

    records: dict[str, dict[str, Any]] = field(factory=dict)
    puts: list[tuple[str, dict[str, Any]]] = field(factory=list)
    deaf_to: set[str] = field(factory=set)
    mine: str = "12"

    def add(self, client_id: int, **fields: Any) -> None:
        self.records[str(client_id)] = {**RECORD, "id": client_id, **fields}

    async def answer(self, request: Request) -> Response:
        client_id = request.url.split("/")[-3]
        record = self.records.get(self.mine if client_id == "@me" else client_id)
        if record is None:
            return refusal(404, "client_not_found")
        if request.method == "PUT":
            sent = json.loads(request.body)
            self.puts.append((client_id, sent))
            record.update({name: sent[name] for name in sent if name not in self.deaf_to})
        return Response(200, {}, json.dumps(record).encode())


@pytest.fixture
def server() -> Records:
    server = Records()
    server.add(12, timezone="Europe/Moscow", hold_music=5)
    server.add(13, timezone="Asia/Omsk")
    return server


@pytest.fixture
async def ringme(server: Records) -> AsyncIterator[RingMe]:
    transport = ScriptedTransport([server.answer])
    async with RingMe(URL, auth=DEALER, transport=transport) as opened:
        yield opened


OMSK = ClientUpdate(timezone="Asia/Omsk")


class TestAPlan:
    async def test_names_the_fields_that_would_change_and_from_what(self, ringme: RingMe) -> None:
        update = ClientUpdate(timezone="Asia/Omsk", hold_music=None, dial_rule_id=19)

        plan = await ringme.clients.plan({12: update})

        (change,) = plan
        assert change.client_id == 12
        assert change.fields == (
            FieldChange("hold_music", 5, None),
            FieldChange("timezone", "Europe/Moscow", "Asia/Omsk"),
        )

    async def test_leaves_alone_who_is_as_wished_already(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK, 13: OMSK})

        assert [change.client_id for change in plan] == [12]
        assert plan.as_wished == 1

    async def test_takes_a_country_list_in_another_order_for_the_same(
        self, ringme: RingMe, server: Records
    ) -> None:
        server.add(12, geo_list="RU BY")

        plan = await ringme.clients.plan({12: ClientUpdate(geo_list="BY RU")})

        assert plan.as_wished == 1

    async def test_compares_fields_that_the_sdk_does_not_know(
        self, ringme: RingMe, server: Records
    ) -> None:
        server.add(12, call_interactive_timeout=5)

        plan = await ringme.clients.plan(
            [(12, ClientUpdate(extra={"call_interactive_timeout": 6}))]
        )

        assert plan[0].fields == (FieldChange("call_interactive_timeout", 5, 6),)

    async def test_changes_nothing(self, ringme: RingMe, server: Records) -> None:
        await ringme.clients.plan({12: OMSK})

        assert server.puts == []

    async def test_keeps_who_could_not_be_read_among_its_failures(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({99: OMSK, 12: OMSK})

        (failure,) = plan.failures
        assert isinstance(failure, Failed)
        assert failure.who == 99
        assert len(plan) == 1

    async def test_refuses_a_client_that_is_named_twice(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan([(12, OMSK), ("@me", ClientUpdate(timezone="Asia/Tomsk"))])

        (failure,) = plan.failures
        assert isinstance(failure, Failed)
        assert isinstance(failure.error, InvalidRequest)
        assert len(plan) == 1

    async def test_refuses_an_update_that_names_nothing(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: ClientUpdate()})

        (failure,) = plan.failures
        assert isinstance(failure, Failed)
        assert isinstance(failure.error, InvalidRequest)

    async def test_prints_as_a_diff(self, ringme: RingMe) -> None:
        acme = Tenant(12, name="acme")

        plan = await ringme.clients.plan({acme: OMSK, 13: OMSK, 99: OMSK})

        assert str(plan).splitlines() == [
            "client 12 (acme)",
            '  timezone: "Europe/Moscow" -> "Asia/Omsk"',
            "client 99: 404 Not Found (client_not_found): no",
            "1 to change, 1 as wished already, 1 could not be planned",
        ]
        assert repr(plan) == "<Plan: 1 to change, 1 as wished already>"

    async def test_is_a_sequence(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK})

        assert plan[0:1] == (plan[0],)
        assert list(plan) == [plan[0]]

    async def test_that_ran_out_of_time_says_what_was_left(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK}, deadline=1e-9)

        (failure,) = plan.failures
        assert isinstance(failure, NotAttempted | Failed)
        assert "could not be planned" in str(plan)


class TestApplying:
    async def test_sends_only_what_differs(self, ringme: RingMe, server: Records) -> None:
        update = ClientUpdate(timezone="Asia/Omsk", hold_music=6, dial_rule_id=19)
        plan = await ringme.clients.plan({12: update, 13: OMSK})

        report = await plan.apply()

        assert server.puts == [("12", {"hold_music": 6, "timezone": "Asia/Omsk"})]
        (outcome,) = report
        assert isinstance(outcome, Done)
        assert outcome.value.sent == ("hold_music", "timezone")
        assert outcome.value.client.timezone == "Asia/Omsk"

    async def test_can_be_followed_as_it_goes(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK})

        async with plan.apply(concurrency=4, ordered=True, deadline=60, timeout=5) as run:
            outcomes = [outcome async for outcome in run]

        assert [outcome.ok for outcome in outcomes] == [True]

    async def test_sends_nothing_where_somebody_else_did_the_same(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: OMSK})
        server.records["12"]["timezone"] = "Asia/Omsk"

        (outcome,) = await plan.apply()

        assert server.puts == []
        assert isinstance(outcome, Done)
        assert outcome.value.sent == ()

    async def test_sends_what_is_left_where_somebody_else_did_a_part(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: ClientUpdate(timezone="Asia/Omsk", hold_music=6)})
        server.records["12"]["timezone"] = "Asia/Omsk"

        await plan.apply()

        assert server.puts == [("12", {"hold_music": 6})]

    async def test_leaves_alone_who_was_changed_behind_the_plans_back(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: ClientUpdate(timezone="Asia/Omsk", hold_music=6)})
        server.records["12"]["timezone"] = "Asia/Tomsk"

        (outcome,) = await plan.apply()

        assert server.puts == []
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, Conflict)
        assert str(outcome.error) == (
            'client 12: timezone was "Europe/Moscow" when the plan was made'
            ' and is "Asia/Tomsk" now; nothing was sent'
        )

    async def test_does_not_mind_a_change_of_another_field(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: OMSK})
        server.records["12"]["hold_music"] = 77

        (outcome,) = await plan.apply()

        assert outcome.ok

    async def test_tells_of_a_server_that_did_not_do_as_told(
        self, ringme: RingMe, server: Records
    ) -> None:
        server.deaf_to.add("timezone")
        plan = await ringme.clients.plan({12: OMSK})

        (outcome,) = await plan.apply()

        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, NotApplied)
        assert outcome.error.client_id == "12"
        assert "answered" in str(outcome.error)

    async def test_twice_changes_nothing_the_second_time(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: OMSK})
        await plan.apply()

        (outcome,) = await plan.apply()

        assert outcome.ok
        assert len(server.puts) == 1

    async def test_goes_by_the_id_that_was_resolved_and_never_by_at_me(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({"@me": OMSK})
        server.mine = "13"

        await plan.apply()

        assert server.puts == [("12", {"timezone": "Asia/Omsk"})]

    async def test_uses_the_credentials_of_the_tenant(self, server: Records) -> None:
        transport = ScriptedTransport([server.answer])
        tenant = Tenant(auth=BearerToken("tenants"), name="acme")
        async with RingMe(URL, transport=transport) as ringme:
            plan = await ringme.clients.plan({tenant: OMSK})
            await plan.apply()

        sent = {request.headers["authorization"] for request in transport.requests}
        assert sent == {"Bearer tenants"}


class TestASavedPlan:
    async def test_is_json_with_resolved_ids_and_no_credentials(
        self, ringme: RingMe, tmp_path: Path
    ) -> None:
        tenant = Tenant(auth=BearerToken("s3cret"), name="acme")
        plan = await ringme.clients.plan({tenant: OMSK})

        plan.save(tmp_path / "plan.json")

        text = (tmp_path / "plan.json").read_text()
        assert json.loads(text) == {
            "ringme-plan": 1,
            "as_wished": 0,
            "changes": [
                {
                    "id": 12,
                    "tenant": "acme",
                    "fields": {"timezone": {"from": "Europe/Moscow", "to": "Asia/Omsk"}},
                }
            ],
        }
        assert "s3cret" not in text
        assert "@me" not in text

    async def test_can_be_applied_by_another_process(
        self, ringme: RingMe, server: Records, tmp_path: Path
    ) -> None:
        (await ringme.clients.plan({12: OMSK, 13: OMSK})).save(tmp_path / "plan.json")

        plan = ringme.clients.load_plan(tmp_path / "plan.json")
        await plan.apply()

        assert plan.as_wished == 1
        assert server.puts == [("12", {"timezone": "Asia/Omsk"})]

    async def test_finds_its_tenants_by_name(self, ringme: RingMe, tmp_path: Path) -> None:
        tenant = Tenant(auth=BearerToken("tenants"), name="acme")
        (await ringme.clients.plan({tenant: OMSK})).save(tmp_path / "plan.json")

        plan = ringme.clients.load_plan(tmp_path / "plan.json", tenants=[tenant, Tenant(5)])

        assert plan[0].who == Tenant(12, auth=BearerToken("tenants"), name="acme")

    async def test_for_a_tenant_that_is_not_given_is_refused(
        self, ringme: RingMe, tmp_path: Path
    ) -> None:
        tenant = Tenant(auth=BearerToken("tenants"), name="acme")
        (await ringme.clients.plan({tenant: OMSK})).save(tmp_path / "plan.json")

        with pytest.raises(InvalidRequest, match="change 1 of the plan is for 'acme'"):
            ringme.clients.load_plan(tmp_path / "plan.json")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            "[]",
            '{"ringme-plan": 2, "as_wished": 0, "changes": []}',
            '{"ringme-plan": 1, "as_wished": 0, "changes": [{}]}',
            (
                '{"ringme-plan": 1, "as_wished": 0, "changes": [{"id": 1, "tenant": null,'
                ' "fields": {"timezone": {}}}]}'
            ),
            (
                '{"ringme-plan": 1, "as_wished": 0, "changes": [{"id": 1, "tenant": null,'
                ' "fields": {"timezone": {"from": null, "to": 5}}}]}'
            ),
            (
                '{"ringme-plan": 1, "as_wished": 0, "changes": [{"id": 1, "tenant": 5,'
                ' "fields": {}}]}'
            ),
            (
                '{"ringme-plan": 1, "as_wished": 0, "changes": [{"id": -1, "tenant": null,'
                ' "fields": {}}]}'
            ),
            (
                '{"ringme-plan": 1, "as_wished": 0, "changes": [{"id": true, "tenant": null,'
                ' "fields": {}}]}'
            ),
            "[" * 100_000,
        ],
    )
    async def test_that_is_malformed_is_refused_whole(
        self, ringme: RingMe, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "plan.json").write_text(text)

        with pytest.raises(InvalidRequest):
            ringme.clients.load_plan(tmp_path / "plan.json")


def test_a_change_of_a_client_made_by_hand_can_be_planned_without_a_server() -> None:
    change = PlannedChange.between(12, Client(id=12, timezone="Europe/Moscow"), OMSK)

    assert str(change) == 'client 12\n  timezone: "Europe/Moscow" -> "Asia/Omsk"'
