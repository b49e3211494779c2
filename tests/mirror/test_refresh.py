"""Refreshing into an output: tenants read, tenants skipped, and the report."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringme_async import BearerToken, InvalidRequest, Progress, RingMe, RingMeClosed, Tenant, Who
from ringme_async.mirror import Journal, OutputInUse, RefreshReport, key_of, refresh
from tests.mirror.world import World, by_tenant, ringme_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.jsonl"


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    return tmp_path / "clients.failures.jsonl"


async def test_every_tenant_is_written_once_and_counted(
    ringme: RingMe, world: World, path: Path, failures: Path
) -> None:
    world.broken = {3: 403, 7: 500}
    report = await refresh(ringme, range(1, 22), Journal(path))
    assert report == RefreshReport(
        run=report.run,
        read=18,
        failed=3,
        skipped=0,
        not_attempted=0,
        changed=0,
        kinds=report.kinds,
    )
    assert [(kind.error, kind.count) for kind in report.kinds] == [
        ("AccessDenied", 1),
        ("ServerError", 1),
        ("ClientNotFound", 1),
    ]
    assert not report.ok
    assert {key: line["client"] for key, line in by_tenant(path).items()} == {
        str(number): record for number, record in world.records.items() if number not in {3, 7}
    }
    assert {key: line["error"] for key, line in by_tenant(failures).items()} == {
        "3": "AccessDenied",
        "7": "ServerError",
        "21": "ClientNotFound",
    }
    assert {line["run"] for line in by_tenant(path).values()} == {report.run}


async def test_a_resumed_run_reads_only_unread_and_failed_tenants(
    ringme: RingMe, world: World, path: Path, failures: Path
) -> None:
    world.broken = {3: 403}
    await refresh(ringme, range(1, 11), Journal(path))
    world.broken.clear()
    world.asked.clear()
    report = await refresh(ringme, range(1, 21), Journal(path), resume=True)
    assert (report.read, report.failed, report.skipped) == (11, 0, 9)
    assert report.ok
    assert sorted(world.asked) == [3, *range(11, 21)]
    assert sorted(by_tenant(path), key=int) == [str(number) for number in range(1, 21)]
    assert not failures.exists()


async def test_the_key_of_a_tenant_is_its_name_else_its_client_id(
    ringme: RingMe, path: Path
) -> None:
    tenants: list[Who] = [Tenant(1, name="acme"), Tenant(2), 3, "4"]
    assert [key_of(who) for who in tenants] == ["acme", "2", "3", "4"]
    await refresh(ringme, tenants, Journal(path))
    assert {key: line["client"]["id"] for key, line in by_tenant(path).items()} == {
        "acme": 1,
        "2": 2,
        "3": 3,
        "4": 4,
    }


@pytest.mark.parametrize(
    "tenants", [[12, "12"], [Tenant(1, name="2"), 2], [Tenant(1), Tenant(1, auth=BearerToken("x"))]]
)
async def test_a_repeated_key_in_a_list_is_refused_before_anything_is_sent_or_written(
    ringme: RingMe, world: World, path: Path, tenants: list[Who]
) -> None:
    with pytest.raises(InvalidRequest, match="two tenants are called"):
        await refresh(ringme, [5, *tenants], Journal(path))
    assert not world.asked
    assert not path.exists()


@pytest.mark.parametrize("who", [True, None, 1.0, "", Tenant(1, name="a\0b"), "\ud800"])
async def test_an_unusable_key_is_refused_before_anything_is_sent(
    ringme: RingMe, world: World, path: Path, who: Who
) -> None:
    with pytest.raises(InvalidRequest, match=r"a tenant (is a client id|cannot be called)"):
        await refresh(ringme, [1, who], Journal(path))
    assert not world.asked


async def test_a_single_id_is_no_list(ringme: RingMe, path: Path) -> None:
    with pytest.raises(InvalidRequest, match="put it into a list"):
        await refresh(ringme, "12", Journal(path))


@pytest.mark.parametrize("kind", [str, Path])
async def test_a_path_is_no_output(
    kind: Callable[[Path], Any], ringme: RingMe, world: World, path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=r"sink_for\(\.\.\.\) makes one of a path"):
        await refresh(ringme, [1], kind(path))
    assert not world.asked


async def test_an_iterator_is_pulled_as_slots_come_free(
    ringme: RingMe, world: World, path: Path
) -> None:
    pulled: list[int] = []

    def ids() -> Iterator[int]:
        for number in range(1, 21):
            pulled.append(number)
            assert len(pulled) - world.asked.total() <= 4
            yield number

    report = await refresh(ringme, ids(), Journal(path), concurrency=2)
    assert report.read == 20


async def test_a_key_that_an_iterator_repeats_ends_the_run_with_what_came_before_written(
    ringme: RingMe, world: World, path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="two tenants are called '1'"):
        await refresh(ringme, iter([1, 2, 3, "1", 4]), Journal(path), concurrency=1)
    assert world.asked == {1: 1, 2: 1, 3: 1}
    assert list(by_tenant(path)) == ["1", "2", "3"]


async def test_a_resumed_run_checks_an_iterator_for_repeated_keys_too(
    ringme: RingMe, path: Path
) -> None:
    await refresh(ringme, [1, 2], Journal(path))
    report = await refresh(ringme, iter([1, 2, 3]), Journal(path), resume=True)
    assert (report.read, report.skipped) == (1, 2)
    with pytest.raises(InvalidRequest, match="two tenants are called '1'"):
        await refresh(ringme, iter([1, 1]), Journal(path), resume=True)


async def test_a_malformed_id_is_a_failure_like_any_other(
    ringme: RingMe, path: Path, failures: Path
) -> None:
    report = await refresh(ringme, [1, "../2"], Journal(path))
    assert (report.read, report.failed) == (1, 1)
    assert by_tenant(failures)["../2"]["error"] == "InvalidRequest"


async def test_progress_counts_the_rest_of_a_list_and_reaches_its_end(
    ringme: RingMe, path: Path
) -> None:
    await refresh(ringme, range(1, 6), Journal(path))
    reported: list[Progress] = []
    await refresh(ringme, range(1, 21), Journal(path), resume=True, on_progress=reported.append)
    assert reported[-1].total == 15
    assert reported[-1].done == 15


@pytest.mark.jumping
async def test_progress_is_reported_while_no_outcome_comes(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.held = {2}
    reported: list[Progress] = []
    tenants = [1, Tenant(2, auth=BearerToken("of its own")), 3]
    report = await refresh(
        ringme, tenants, Journal(path), deadline=1.05, on_progress=reported.append
    )
    assert (report.read, report.failed) == (2, 1)
    assert [progress.done for progress in reported] == [2] * 6
    assert [progress.in_flight for progress in reported] == [1] * 5 + [0]


async def test_an_error_of_the_callback_is_raised_bare_after_outcomes_are_written(
    ringme: RingMe, path: Path
) -> None:
    def on_progress(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await refresh(ringme, range(1, 21), Journal(path), on_progress=on_progress)
    assert len(by_tenant(path)) == 20


async def test_a_timeout_error_of_the_input_is_raised(ringme: RingMe, path: Path) -> None:
    def ids() -> Iterator[int]:
        yield 1
        raise TimeoutError("the user's own")

    with pytest.raises(TimeoutError, match="the user's own"):
        await refresh(ringme, ids(), Journal(path))
    assert list(by_tenant(path)) == ["1"]


@pytest.mark.jumping
async def test_tenants_after_the_deadline_are_counted_and_left_for_the_next_part(
    ringme: RingMe, world: World, path: Path, failures: Path
) -> None:
    world.held = {1, 2}
    report = await refresh(ringme, range(1, 21), Journal(path), concurrency=2, deadline=5)
    assert (report.read, report.failed, report.not_attempted) == (0, 2, 18)
    assert not report.ok
    world.held.clear()
    report = await refresh(ringme, range(1, 21), Journal(path), resume=True)
    assert (report.read, report.skipped) == (20, 0)
    assert not failures.exists()


async def test_closing_the_ringme_ends_a_run_with_its_outcomes_written(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.held = {5}
    ids = iter(range(1, 1_000_000))
    task = asyncio.create_task(refresh(ringme, ids, Journal(path), concurrency=2))
    while len(by_tenant(path)) < 4:
        await asyncio.sleep(0.001)
    await ringme.aclose()
    with pytest.raises(RingMeClosed, match="before all tenants had a turn"):
        await task
    assert set(by_tenant(path)) >= {"1", "2", "3", "4"}


async def test_concurrency_auto_finds_the_number_of_calls(ringme: RingMe, path: Path) -> None:
    reported: list[Progress] = []
    report = await refresh(
        ringme, range(1, 21), Journal(path), concurrency="auto", on_progress=reported.append
    )
    assert (report.read, reported[-1].concurrency) == (20, 8)


@pytest.mark.jumping
async def test_on_outage_fail_does_not_wait_for_a_host_that_is_down(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.broken = dict.fromkeys(range(1, 41), 503)
    report = await refresh(ringme, range(1, 41), Journal(path), on_outage="fail")
    assert report.failed == 40
    assert asyncio.get_running_loop().time() < 60


async def test_a_cancelled_run_has_written_its_outcomes_and_releases_its_output(
    ringme: RingMe, world: World, path: Path
) -> None:
    world.held = {5}
    task = asyncio.create_task(refresh(ringme, range(1, 11), Journal(path)))
    while len(by_tenant(path)) < 9:
        await asyncio.sleep(0.001)
    with pytest.raises(OutputInUse):
        await refresh(ringme, [1], Journal(path), resume=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.held.clear()
    report = await refresh(ringme, range(1, 11), Journal(path), resume=True)
    assert (report.read, report.skipped) == (1, 9)


async def test_no_secret_is_in_an_output(path: Path, failures: Path, world: World) -> None:
    world.broken = {2: 401}
    async with ringme_on(world) as ringme:
        tenants = [
            Tenant(number, auth=BearerToken("hush-hush"), name=f"t{number}") for number in (1, 2)
        ]
        await refresh(ringme, tenants, Journal(path))
        with pytest.raises(InvalidRequest) as caught:
            await refresh(ringme, [*tenants, *tenants], Journal(path), resume=True)
    reported = path.read_text() + failures.read_text()
    reported += "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "hush-hush" not in reported
    assert "s3cret" not in reported
