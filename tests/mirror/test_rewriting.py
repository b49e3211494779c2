"""Applying a plan to a server that writes values in its own form, killed and resumed anywhere."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async import (
    ClientUpdate,
    Conflict,
    Failed,
    NotApplied,
    Plan,
    PlannedChange,
    ResponseLost,
    RingMe,
)
from ringme_async.mirror import ApplyReport, OutputError, apply_plan
from tests.mirror.world import World, by_tenant, lines_of, ringme_on

KOLKATA = ClientUpdate(timezone="Asia/Calcutta", disk_space_notify_threshold=95)
WISHES = KOLKATA.changes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apply.jsonl"


def renamed(_tenant: int, _name: str, value: Any) -> Any:
    """A server that knows the zone by its newer name, and takes thresholds up to 90."""
    if value == "Asia/Calcutta":
        return "Asia/Kolkata"
    return min(value, 90) if isinstance(value, int) else value


async def plan_for(ringme: RingMe, count: int, wish: ClientUpdate = KOLKATA) -> Plan:
    return await ringme.clients.plan(dict.fromkeys(range(1, count + 1), wish))


def failures_of(path: Path) -> dict[str, dict[str, Any]]:
    return by_tenant(path.with_name("apply.failures.jsonl"))


def writes_of(path: Path) -> list[dict[str, Any]]:
    return lines_of(path.with_name("apply.writes.jsonl"))


def once(moment: str) -> Callable[[str, int], None]:
    """Lose the first answer at this moment of a PUT."""
    lost: set[int] = set()

    def step(now: str, tenant: int) -> None:
        if now == moment and tenant not in lost:
            lost.add(tenant)
            raise ResponseLost("the connection broke", sent=True)

    return step


async def test_an_answer_in_the_servers_form_is_reported_once_and_then_accepted(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 2)
    first = await apply_plan(plan, path)
    assert (first.applied, first.failed, first.conflicts) == (0, 2, 0)
    assert {line["error"] for line in failures_of(path).values()} == {"NotApplied"}
    assert "as it was before" not in failures_of(path)["1"]["message"]
    world.sent.clear()

    second = await apply_plan(plan, path, resume=True)

    assert (second.run, second.ok) == (first.run, True)
    assert (second.applied, second.rewritten, second.as_wished) == (2, 2, 0)
    assert world.sent == []
    line = by_tenant(path)["1"]
    assert line["sent"] == WISHES
    assert line["rewritten"] == {"timezone": "Asia/Kolkata", "disk_space_notify_threshold": 90}
    assert not failures_of(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["apply.jsonl"]


async def test_the_log_of_writes_holds_sent_and_answered_fields(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = renamed
    report = await apply_plan(await plan_for(ringme, 1), path)
    (line,) = writes_of(path)
    assert line == {
        "run": report.run,
        "tenant": "1",
        "at": line["at"],
        "plan": line["plan"],
        "client_id": 1,
        "sent": WISHES,
        "answered": {"timezone": "Asia/Kolkata", "disk_space_notify_threshold": 90},
    }


async def test_a_change_after_the_servers_answer_is_a_conflict(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    world.records[1]["timezone"] = "Asia/Tomsk"
    world.sent.clear()
    report = await apply_plan(plan, path, resume=True)
    assert (report.conflicts, report.unclear, world.sent) == (1, 0, [])
    assert failures_of(path)["1"]["message"] == (
        'client 1: timezone was set to "Asia/Calcutta", the server answered "Asia/Kolkata",'
        ' and it is "Asia/Tomsk" now; nothing more was sent'
    )


async def test_a_change_that_the_server_ignores_is_sent_again_and_reported(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = lambda tenant, name, _value: world.records[tenant].get(name)
    plan = await plan_for(ringme, 1)
    for resume in (False, True, True):
        world.sent.clear()
        report = await apply_plan(plan, path, resume=resume)
        assert (report.failed, report.conflicts, report.unclear) == (1, 0, 0)
        assert len(world.sent) == 1
        assert "as it was before" in failures_of(path)["1"]["message"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_lost_answer_is_not_taken_for_a_foreign_change(
    ringme: RingMe, world: World, path: Path, moment: str
) -> None:
    world.form, world.step = renamed, once(moment)
    plan = await plan_for(ringme, 1)
    first = await apply_plan(plan, path)
    assert (first.failed, failures_of(path)["1"]["error"]) == (1, "ResponseLost")
    world.sent.clear()

    report = await apply_plan(plan, path, resume=True)

    if moment == "before":
        # The old value is there, so that it is sent again.
        assert failures_of(path)["1"]["error"] == "NotApplied"
        assert len(world.sent) == 1
    else:
        assert (report.failed, report.unclear, report.conflicts) == (1, 1, 0)
        failure = failures_of(path)["1"]
        assert (failure["error"], failure["maybe_applied"]) == ("Conflict", True)
        assert "was sent without an answer" in failure["message"]
        assert world.sent == []


async def test_a_lost_answer_and_the_planned_value_are_as_wished(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.step = once("after")
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    report = await apply_plan(plan, path, resume=True)
    assert (report.ok, report.as_wished) == (True, 1)


async def test_a_refused_write_makes_a_third_value_a_conflict(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, 1)

    def refuse(_moment: str, tenant: int) -> None:
        raise ResponseLost("no bytes left", sent=False)

    world.step = refuse
    await apply_plan(plan, path)
    assert writes_of(path) == []
    world.records[1]["timezone"] = "Asia/Tomsk"
    report = await apply_plan(plan, path, resume=True)
    assert (report.conflicts, report.unclear) == (1, 0)


async def test_an_open_field_is_sent_beside_a_rewritten_one(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    world.records[1]["disk_space_notify_threshold"] = None
    world.form = lambda _tenant, _name, value: value
    world.sent.clear()
    report = await apply_plan(plan, path, resume=True)
    assert world.sent == [(1, {"disk_space_notify_threshold": 95})]
    assert (report.applied, report.rewritten, report.ok) == (1, 1, True)
    line = by_tenant(path)["1"]
    assert (line["sent"], line["rewritten"]) == (WISHES, {"timezone": "Asia/Kolkata"})


async def test_a_log_of_writes_alone_must_be_resumed_or_overwritten(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    first = await apply_plan(plan, path)
    path.unlink()
    path.with_name("apply.failures.jsonl").unlink()
    with pytest.raises(OutputError, match=r"apply\.writes\.jsonl is not empty"):
        await apply_plan(plan, path)
    report = await apply_plan(plan, path, resume=True)
    assert (report.run, report.rewritten) == (first.run, 1)


async def test_to_overwrite_forgets_the_writes(ringme: RingMe, world: World, path: Path) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    report = await apply_plan(plan, path, overwrite=True)
    assert (report.conflicts, writes_of(path)) == (1, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": "another"}, "line 1: this line is of another plan"),
        ({"sent": 5}, "line 1: this is no line of such a run"),
        ({"tenant": 5}, "line 1: this is no line of such a run"),
    ],
)
async def test_a_foreign_log_of_writes_is_refused(
    ringme: RingMe, world: World, path: Path, change: Mapping[str, Any], message: str
) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    (line,) = writes_of(path)
    path.with_name("apply.writes.jsonl").write_text(json.dumps({**line, **change}) + "\n")
    with pytest.raises(OutputError, match=message):
        await apply_plan(plan, path, resume=True)


async def test_a_planned_change_keeps_its_written_values(ringme: RingMe, world: World) -> None:
    world.form = renamed
    plan = await plan_for(ringme, 1)
    seen: list[PlannedChange] = []
    (outcome,) = await plan.apply(on_write=seen.append)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, NotApplied)
    assert [change.written.answered for change in seen if change.written] == [
        {},
        {"timezone": "Asia/Kolkata", "disk_space_notify_threshold": 90},
    ]


@pytest.mark.jumping
async def test_a_second_read_in_one_run_knows_the_first_write(world: World) -> None:
    world.form = renamed
    healthy = deepcopy(world.records)

    def step(moment: str, tenant: int) -> None:
        if moment == "after" and tenant <= 20:
            raise ResponseLost("the host went away", sent=True)

    world.step = step
    async with ringme_on(world) as ringme:
        plan = await plan_for(ringme, 20)
        report = await plan.apply(concurrency=20, on_outage="wait")
    assert world.records != healthy
    for outcome in report:
        assert isinstance(outcome, Failed)
        if isinstance(outcome.error, Conflict):
            assert outcome.error.maybe_applied
            assert "was sent without an answer" in str(outcome.error)


def snapshots(world: World, path: Path, plan_for: Callable[[RingMe], Any]) -> list[Any]:
    """Apply a plan, and keep what a kill would leave before and after each write."""
    kept: list[Any] = []

    def step(moment: str, tenant: int) -> None:
        files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
        kept.append((moment, tenant, files, deepcopy(world.records)))

    async def run() -> Plan:
        async with ringme_on(world) as ringme:
            plan: Plan = await plan_for(ringme)
            world.step = step
            await apply_plan(plan, path, concurrency=2)
            step("end", 0)
            return plan

    kept.insert(0, asyncio.run(run()))
    return kept


FORMS: Mapping[str, Callable[[Any, Any], Any]] = {
    "as it is": lambda _old, value: value,
    "renamed": lambda _old, value: renamed(0, "", value),
    "lower case": lambda _old, value: value.lower() if isinstance(value, str) else value,
    "clamped": lambda _old, value: min(value, 90) if isinstance(value, int) else value,
    "cleared": lambda _old, _value: None,
    "ignored": lambda old, _value: old,
    "by default": lambda _old, value: "UTC" if isinstance(value, str) else 0,
}
OTHERS = "Pacific/Auckland"


@settings(max_examples=15, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    wish=st.sampled_from(
        [
            KOLKATA,
            ClientUpdate(timezone="Asia/Omsk"),
            ClientUpdate(disk_space_notify_email="Admin@Example.COM", hold_music=None),
        ]
    ),
    interfered=st.sets(st.integers(1, 3), max_size=2),
    resumes=st.integers(1, 2),
)
def test_a_kill_at_any_step_leaves_a_true_report(
    form: str, wish: ClientUpdate, interfered: set[int], resumes: int
) -> None:
    with TemporaryDirectory() as folder:
        world = World(3)
        shape = FORMS[form]
        world.form = lambda tenant, name, value: shape(world.records[tenant].get(name), value)
        begin = Path(folder) / "begin"
        begin.mkdir()
        plan, *kept = snapshots(
            world, begin / "apply.jsonl", lambda ringme: plan_for(ringme, 3, wish)
        )
        for number, (moment, _tenant, files, records) in enumerate(kept):
            home = Path(folder) / str(number)
            home.mkdir()
            for name, content in files.items():
                (home / name).write_bytes(content)
            world.records = deepcopy(records)
            world.step = lambda _moment, _tenant: None
            field = next(iter(wish.changes()))
            for tenant in interfered:
                world.records[tenant][field] = OTHERS
            last = asyncio.run(
                _resumed(world, plan, home / "apply.jsonl", interfered, field, resumes)
            )
            if moment == "end" and form not in {"ignored", "cleared"} and not interfered:
                assert last.ok
            shutil.rmtree(home)


async def _resumed(
    world: World, plan: Plan, path: Path, interfered: set[int], field: str, resumes: int
) -> ApplyReport:
    plan_file = path.with_name("plan.json")
    plan.save(plan_file)
    listed = set(by_tenant(path))
    async with ringme_on(world) as ringme:
        loaded = ringme.clients.load_plan(plan_file)
        reports = [await apply_plan(loaded, path, resume=True) for _ in range(resumes)]
        _is_honest(reports[-1], world, path, interfered - {int(name) for name in listed}, field)
    return reports[-1]


def _is_honest(
    report: ApplyReport, world: World, path: Path, interfered: set[int], field: str
) -> None:
    failures = failures_of(path)
    sure = {
        int(name)
        for name, line in failures.items()
        if line["error"] == "Conflict" and not line["maybe_applied"]
    }
    # No false conflict is reported, and no foreign change is overwritten.
    assert sure <= interfered
    assert report.conflicts == len(sure)
    for tenant in interfered:
        assert world.records[tenant][field] == OTHERS
        assert str(tenant) in failures
    open_writes = {line["tenant"] for line in writes_of(path)}
    for name, line in failures.items():
        if line["maybe_applied"] or line["error"] == "NotApplied":
            assert name in open_writes
    assert not open_writes & set(by_tenant(path))
