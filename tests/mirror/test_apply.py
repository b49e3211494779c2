"""Applying a plan with a journal of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ringme_async import ClientUpdate, InvalidRequest, Plan, Progress, RingMe, Tenant, Who
from ringme_async.mirror import ApplyReport, Journal, OutputError, apply_plan, refresh
from tests.mirror.world import World, by_tenant, lines_of

OMSK = ClientUpdate(timezone="Asia/Omsk", hold_music=5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apply.jsonl"


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    return tmp_path / "apply.failures.jsonl"


async def plan_for(ringme: RingMe, *whos: Who) -> Plan:
    return await ringme.clients.plan([(who, OMSK) for who in whos])


async def test_a_line_holds_the_sent_fields_or_none(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, 1, Tenant(2, name="acme"), 3)
    world.records[2]["hold_music"] = 5
    world.records[3].update(timezone="Asia/Omsk", hold_music=5)
    reported: list[Progress] = []
    report = await apply_plan(
        plan,
        path,
        on_progress=reported.append,
        clock=lambda: datetime(2026, 11, 23, 10, 42, 5, 123_456, UTC),
    )
    assert report == ApplyReport(
        run=report.run,
        applied=2,
        as_wished=1,
        failed=0,
        conflicts=0,
        skipped=0,
        not_attempted=0,
    )
    assert report.ok
    assert reported[-1].done == 3
    lines = by_tenant(path)
    plans = {line.pop("plan") for line in lines.values()}
    assert len(plans) == 1
    head = {"run": report.run, "at": "2026-11-23T10:42:05.123+00:00"}
    whole = {"timezone": "Asia/Omsk", "hold_music": 5}
    assert lines == {
        "1": {**head, "tenant": "1", "client_id": 1, "sent": whole},
        "acme": {**head, "tenant": "acme", "client_id": 2, "sent": {"timezone": "Asia/Omsk"}},
        "3": {**head, "tenant": "3", "client_id": 3, "sent": {}},
    }
    assert sorted(world.sent, key=lambda sent: sent[0]) == [
        (1, whole),
        (2, {"timezone": "Asia/Omsk"}),
    ]


async def test_conflicts_and_other_failures_go_to_a_file_of_their_own(
    ringme: RingMe, world: World, path: Path, failures: Path
) -> None:
    plan = await plan_for(ringme, 1, 2, 3)
    world.records[1]["timezone"] = "Asia/Tomsk"
    world.broken = {2: 403}
    report = await apply_plan(plan, path)
    assert (report.applied, report.failed, report.conflicts) == (1, 2, 1)
    assert not report.ok
    assert {key: line["error"] for key, line in by_tenant(failures).items()} == {
        "1": "Conflict",
        "2": "AccessDenied",
    }
    assert list(by_tenant(path)) == ["3"]


async def test_a_resumed_apply_skips_finished_tenants_and_retries_failures(
    ringme: RingMe, world: World, path: Path, failures: Path
) -> None:
    plan = await plan_for(ringme, 1, 2, 3)
    world.broken = {2: 403}
    first = await apply_plan(plan, path)
    world.broken.clear()
    world.asked.clear()
    report = await apply_plan(plan, path, resume=True)
    assert (report.run, report.applied, report.skipped) == (first.run, 1, 2)
    assert set(world.asked) == {2}
    assert not failures.exists()
    assert sorted(by_tenant(path)) == ["1", "2", "3"]


async def test_a_change_without_a_line_is_as_wished_and_no_conflict(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, 1, 2)
    await apply_plan(plan, path)
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n{")
    world.sent.clear()
    report = await apply_plan(plan, path, resume=True)
    assert (report.applied, report.as_wished, report.failed, report.skipped) == (0, 1, 0, 1)
    assert world.sent == []
    assert sorted(by_tenant(path)) == ["1", "2"]


async def test_a_saved_and_loaded_plan_resumes_its_journal(
    ringme: RingMe, path: Path, tmp_path: Path
) -> None:
    acme = Tenant("2", name="acme")
    plan = await plan_for(ringme, 1, acme)
    await apply_plan(plan, path)
    plan.save(tmp_path / "plan.json")
    loaded = ringme.clients.load_plan(tmp_path / "plan.json", tenants=[acme])
    report = await apply_plan(loaded, path, resume=True)
    assert (report.skipped, report.applied) == (2, 0)


async def test_the_journal_of_another_plan_is_refused(
    ringme: RingMe, world: World, path: Path
) -> None:
    await apply_plan(await plan_for(ringme, 1), path)
    world.sent.clear()
    with pytest.raises(OutputError, match=r"apply\.jsonl, line 1: this line is of another plan"):
        await apply_plan(await plan_for(ringme, 2), path, resume=True)
    assert world.sent == []


async def test_the_journal_of_a_refresh_is_refused(ringme: RingMe, path: Path) -> None:
    await refresh(ringme, [1], Journal(path))
    with pytest.raises(OutputError, match="line 1"):
        await apply_plan(await plan_for(ringme, 2), path, resume=True)


async def test_a_non_empty_journal_must_be_resumed_or_overwritten(
    ringme: RingMe, path: Path
) -> None:
    await apply_plan(await plan_for(ringme, 1), path)
    second = await plan_for(ringme, 2)
    with pytest.raises(OutputError, match="is not empty"):
        await apply_plan(second, path)
    await apply_plan(second, path, overwrite=True)
    assert list(by_tenant(path)) == ["2"]


async def test_two_tenants_of_one_name_are_refused_before_anything_is_sent(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, 1, Tenant(2, name="1"))
    with pytest.raises(InvalidRequest, match="two tenants are called '1'"):
        await apply_plan(plan, path)
    assert world.sent == []
    assert not path.exists()


@pytest.mark.jumping
async def test_tenants_after_the_deadline_are_counted_as_not_attempted(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, 1, 2, 3)
    world.held = {1, 2, 3}
    report = await apply_plan(plan, path, concurrency=1, deadline=5)
    assert (report.failed, report.not_attempted) == (1, 2)
    assert not report.ok


@pytest.mark.jumping
async def test_on_outage_fail_does_not_wait_for_a_host_that_is_down(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, *range(1, 21))
    world.broken = dict.fromkeys(range(1, 21), 503)
    report = await apply_plan(plan, path, concurrency="auto", on_outage="fail")
    assert report.failed == 20
    assert asyncio.get_running_loop().time() < 60


async def test_a_cancelled_run_has_written_its_outcomes(
    ringme: RingMe, world: World, path: Path
) -> None:
    plan = await plan_for(ringme, *range(1, 21))
    world.held = {7}
    task = asyncio.create_task(apply_plan(plan, path, concurrency=2))
    while len(lines_of(path)) < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = len(by_tenant(path))
    world.held.clear()
    report = await apply_plan(plan, path, resume=True)
    assert (report.skipped, report.failed) == (done, 0)
    assert len(by_tenant(path)) == 20


async def test_lines_of_one_plan_share_its_fingerprint(ringme: RingMe, path: Path) -> None:
    plan = await plan_for(ringme, 1)
    await apply_plan(plan, path)
    mark = lines_of(path)[0]["plan"]
    again = json.loads(json.dumps(plan.to_json()))
    assert again == plan.to_json()
    await apply_plan(plan, path, overwrite=True)
    assert lines_of(path)[0]["plan"] == mark
