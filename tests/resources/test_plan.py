"""Plans: what would change, kept as a file, and applied with care."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
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
    Plan,
    RetryPolicy,
    RingMe,
    Tenant,
)
from ringme_async.resources.clients.plan import FieldChange, PlannedChange
from ringme_async.transports import Request, Response
from tests.scripted import RECORD, ScriptedTransport, refusal

URL = "https://pbx.example.com"
DEALER = BearerToken("dealers")


@define
class Records:
    """A server with records that can be changed; it keeps the PUTs it gets."""

    records: dict[str, dict[str, Any]] = field(factory=dict)
    puts: list[tuple[str, dict[str, Any]]] = field(factory=list)
    deaf_to: set[str] = field(factory=set)
    echoes: dict[str, str] = field(factory=dict)
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
            record.update(self.echoes)
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

    async def test_leaves_out_clients_with_the_wanted_values(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK, 13: OMSK})

        assert [change.client_id for change in plan] == [12]
        assert plan.as_wished == 1

    async def test_ignores_the_order_of_a_country_list(
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

    async def test_lists_clients_that_could_not_be_read_among_its_failures(
        self, ringme: RingMe
    ) -> None:
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

    async def test_lists_an_element_that_is_no_pair_as_a_failure(self, ringme: RingMe) -> None:
        changes: Any = [13, (12, OMSK)]
        plan = await ringme.clients.plan(changes)

        (failure,) = plan.failures
        assert isinstance(failure, Failed)
        assert (failure.who, failure.error.reason) == (
            13,
            "a change is a pair: whom to change, and a ClientUpdate",
        )
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
        assert repr(plan) == "<Plan: 1 to change, 1 as wished already, 1 could not be planned>"

    async def test_names_the_tenants_that_could_not_be_planned(self, server: Records) -> None:
        unknown = Tenant(99, name="ac\nme")
        late = Tenant("@me", name="late")
        plan = Plan(
            (),
            0,
            (
                Failed(unknown, 0, 1, InvalidRequest("no", client_id="99")),
                NotAttempted(late, 1),
                NotAttempted(13, 2),
                Failed(14, 3, 1, InvalidRequest("no", client_id="14")),
            ),
            lambda: None,
        )

        assert str(plan).splitlines() == [
            "ac\\nme: client 99: no",
            "client @me (late): the run ended",
            "client 13: the run ended",
            "client 14: no",
            "0 to change, 0 as wished already, 4 could not be planned",
        ]

    async def test_prints_no_control_character(self, ringme: RingMe, server: Records) -> None:
        server.add(12, later="\x1b[2J\u202e\ud800")

        plan = await ringme.clients.plan([(12, ClientUpdate(extra={"later": "\u044f"}))])

        assert str(plan[0]).splitlines()[1] == ('  later: "\\u001b[2J\\u202e\\ud800" -> "\u044f"')

    async def test_can_be_pickled_and_read_but_not_applied(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK, 13: OMSK})

        twin = pickle.loads(pickle.dumps(plan))

        assert str(twin) == str(plan)
        with pytest.raises(InvalidRequest, match="unpickled cannot be applied"):
            twin.apply()

    async def test_is_a_sequence(self, ringme: RingMe) -> None:
        plan = await ringme.clients.plan({12: OMSK})

        assert plan[0:1] == (plan[0],)
        assert list(plan) == [plan[0]]

    async def test_that_ran_out_of_time_names_the_clients_left(self, ringme: RingMe) -> None:
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

    async def test_sends_nothing_if_another_program_made_the_same_change(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: OMSK})
        server.records["12"]["timezone"] = "Asia/Omsk"

        (outcome,) = await plan.apply()

        assert server.puts == []
        assert isinstance(outcome, Done)
        assert outcome.value.sent == ()

    async def test_sends_the_rest_if_another_program_made_a_part(
        self, ringme: RingMe, server: Records
    ) -> None:
        plan = await ringme.clients.plan({12: ClientUpdate(timezone="Asia/Omsk", hold_music=6)})
        server.records["12"]["timezone"] = "Asia/Omsk"

        await plan.apply()

        assert server.puts == [("12", {"hold_music": 6})]

    async def test_leaves_a_client_alone_that_changed_since_the_plan(
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

    async def test_ignores_a_change_of_another_field(self, ringme: RingMe, server: Records) -> None:
        plan = await ringme.clients.plan({12: OMSK})
        server.records["12"]["hold_music"] = 77

        (outcome,) = await plan.apply()

        assert outcome.ok

    async def test_reports_a_server_that_did_not_apply_the_change(
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

    async def test_counts_the_read_and_the_write_as_two_requests_and_no_retry(
        self, ringme: RingMe
    ) -> None:
        plan = await ringme.clients.plan({12: OMSK})

        report = await plan.apply()

        assert (report[0].attempts, report[0].retries, report.retried) == (2, 0, 0)

    async def test_counts_retries_of_the_read_and_of_the_write(self, server: Records) -> None:
        broken = Response(503, {}, b"")
        transport = ScriptedTransport([server.answer, broken, server.answer, broken, server.answer])
        retry = RetryPolicy(base=0)
        async with RingMe(URL, auth=DEALER, transport=transport, retry=retry) as ringme:
            plan = await ringme.clients.plan({12: OMSK})
            report = await plan.apply()

        assert (report[0].attempts, report[0].retries, report.retried) == (4, 2, 2)

    async def test_counts_the_read_after_a_refused_write_as_a_retry(self, server: Records) -> None:
        used_up = {"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}

        async def last_one(request: Request) -> Response:
            return attrs.evolve(await server.answer(request), headers=used_up)

        transport = ScriptedTransport([server.answer, last_one, server.answer])
        async with RingMe(URL, auth=DEALER, transport=transport) as ringme:
            plan = await ringme.clients.plan({12: OMSK})
            report = await plan.apply()

        # The read took the last request of the hour: it was repeated, the write was not.
        assert [request.method for request in transport.requests] == ["GET", "GET", "GET", "PUT"]
        assert (report[0].attempts, report[0].retries) == (3, 1)

    async def test_counts_a_write_repeated_after_a_refusal_as_a_retry(
        self, server: Records
    ) -> None:
        refused = Response(
            429,
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"},
            b'{"status": "rate_limit_exceeded", "message": "no"}',
        )
        transport = ScriptedTransport([server.answer, server.answer, refused, server.answer])
        async with RingMe(URL, auth=DEALER, transport=transport) as ringme:
            plan = await ringme.clients.plan({12: OMSK})
            report = await plan.apply()

        assert [request.method for request in transport.requests[1:]] == ["GET", "PUT"] * 2
        assert (report[0].attempts, report[0].retries) == (4, 2)

    @pytest.mark.parametrize("deaf", [True, False])
    async def test_masks_a_token_that_a_record_echoes(
        self, ringme: RingMe, server: Records, deaf: bool
    ) -> None:
        server.add(12, later="a")
        plan = await ringme.clients.plan([(12, ClientUpdate(extra={"later": "b"}))])
        server.records["12"]["later"] = "dealers" if not deaf else "a"
        if deaf:
            server.echoes["later"] = f"dealers {'x' * 1_000}"

        (outcome,) = await plan.apply()

        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, NotApplied if deaf else Conflict)
        assert "dealers" not in str(outcome.error)
        assert "***" in str(outcome.error)
        assert len(str(outcome.error)) < 300

    async def test_uses_the_resolved_id_and_never_at_me(
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
    async def test_leaves_a_file_alone_that_is_no_plan(
        self, ringme: RingMe, tmp_path: Path
    ) -> None:
        notes = tmp_path / "notes.txt"
        notes.write_text("mine", "utf-8")
        plan = await ringme.clients.plan({12: OMSK})

        with pytest.raises(InvalidRequest, match="is left alone"):
            plan.save(notes)

        assert notes.read_text("utf-8") == "mine"

    async def test_is_json_with_resolved_ids_and_no_credentials(
        self, ringme: RingMe, tmp_path: Path
    ) -> None:
        tenant = Tenant(auth=BearerToken("s3cret"), name="acme")
        plan = await ringme.clients.plan({tenant: OMSK})

        plan.save(tmp_path / "plan.json")

        text = (tmp_path / "plan.json").read_text()
        assert json.loads(text) == {
            "ringme-plan": 2,
            "as_wished": 0,
            "changes": [
                {
                    "id": 12,
                    "tenant": "acme",
                    "base_url": "https://pbx.example.com",
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

    async def test_is_not_applied_to_another_host(self, ringme: RingMe, tmp_path: Path) -> None:
        (await ringme.clients.plan({12: OMSK})).save(tmp_path / "plan.json")
        transport = ScriptedTransport([])

        async with RingMe("https://other.example.com", auth=DEALER, transport=transport) as other:
            with pytest.raises(InvalidRequest) as caught:
                other.clients.load_plan(tmp_path / "plan.json")

        assert str(caught.value) == (
            "change 1 of the plan was made for 'https://pbx.example.com', and would go to"
            " https://other.example.com; any_host=True takes it nevertheless"
        )

    @pytest.mark.parametrize(
        "spelling",
        [
            "https://pbx.example.com/",
            "https://PBX.example.com:443",
            "HTTPS://pbx.example.com/api/ver1.0/",
            "https://pbx.example.com.",
        ],
    )
    async def test_is_applied_to_its_host_in_any_spelling(
        self, ringme: RingMe, server: Records, tmp_path: Path, spelling: str
    ) -> None:
        path = tmp_path / "plan.json"
        (await ringme.clients.plan({12: OMSK})).save(path)
        path.write_text(path.read_text().replace("https://pbx.example.com", spelling))

        await ringme.clients.load_plan(path).apply()

        assert server.puts == [("12", {"timezone": "Asia/Omsk"})]
        transport = ScriptedTransport([])
        async with RingMe(spelling, auth=DEALER, transport=transport) as spelled:
            (change,) = spelled.clients.load_plan(path)
        assert change.client_id == 12

    async def test_with_an_invalid_host_is_refused(self, ringme: RingMe, tmp_path: Path) -> None:
        path = tmp_path / "plan.json"
        (await ringme.clients.plan({12: OMSK})).save(path)
        path.write_text(path.read_text().replace("https://pbx.example.com", "pbx"))

        with pytest.raises(InvalidRequest, match="change 1 of the plan: base_url needs a scheme"):
            ringme.clients.load_plan(path)

    async def test_is_applied_to_another_host_with_any_host(
        self, ringme: RingMe, server: Records, tmp_path: Path
    ) -> None:
        (await ringme.clients.plan({12: OMSK})).save(tmp_path / "plan.json")
        transport = ScriptedTransport([server.answer])

        async with RingMe("https://other.example.com", auth=DEALER, transport=transport) as other:
            plan = other.clients.load_plan(tmp_path / "plan.json", any_host=True)
            await plan.apply()

        assert server.puts == [("12", {"timezone": "Asia/Omsk"})]
        assert plan[0].origin == "https://other.example.com"

    async def test_goes_to_the_host_of_its_tenant(
        self, ringme: RingMe, server: Records, tmp_path: Path
    ) -> None:
        away = Tenant(12, auth=DEALER, base_url="https://away.example.com", name="acme")
        (await ringme.clients.plan({away: OMSK})).save(tmp_path / "plan.json")
        moved = Tenant(12, auth=DEALER, name="acme")

        assert ringme.clients.load_plan(tmp_path / "plan.json", tenants=[away])
        with pytest.raises(InvalidRequest, match="was made for 'https://away"):
            ringme.clients.load_plan(tmp_path / "plan.json", tenants=[moved])

    async def test_can_be_read_without_a_known_host(self, ringme: RingMe, tmp_path: Path) -> None:
        (await ringme.clients.plan({12: OMSK})).save(tmp_path / "plan.json")

        async with RingMe(transport=ScriptedTransport([])) as nowhere:
            assert len(nowhere.clients.load_plan(tmp_path / "plan.json")) == 1

    async def test_of_the_older_form_is_refused_because_it_names_no_host(
        self, ringme: RingMe, tmp_path: Path
    ) -> None:
        (tmp_path / "plan.json").write_text('{"ringme-plan": 1, "as_wished": 0, "changes": []}')

        with pytest.raises(InvalidRequest, match="does not say for which host it was made"):
            ringme.clients.load_plan(tmp_path / "plan.json")

    async def test_finds_its_tenants_by_name(self, ringme: RingMe, tmp_path: Path) -> None:
        tenant = Tenant(auth=BearerToken("tenants"), name="acme")
        (await ringme.clients.plan({tenant: OMSK})).save(tmp_path / "plan.json")

        plan = ringme.clients.load_plan(tmp_path / "plan.json", tenants=[tenant, Tenant(5)])

        assert plan[0].who == Tenant(12, auth=BearerToken("tenants"), name="acme")

    async def test_with_an_unknown_tenant_is_refused(self, ringme: RingMe, tmp_path: Path) -> None:
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
            '{"ringme-plan": 3, "as_wished": 0, "changes": []}',
            '{"ringme-plan": 2, "as_wished": 0, "changes": [{}]}',
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": 1, "tenant": null, "base_url": null,'
                ' "fields": {"timezone": {}}}]}'
            ),
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": 1, "tenant": null, "base_url": null,'
                ' "fields": {"timezone": {"from": null, "to": 5}}}]}'
            ),
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": 1, "tenant": 5, "base_url": null,'
                ' "fields": {}}]}'
            ),
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": -1, "tenant": null, "base_url": null,'
                ' "fields": {}}]}'
            ),
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": true, "tenant": null, "base_url": null,'
                ' "fields": {}}]}'
            ),
            (
                '{"ringme-plan": 2, "as_wished": 0, "changes": [{"id": 1, "tenant": null,'
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
