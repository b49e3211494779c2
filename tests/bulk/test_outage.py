"""A host that is down for a while: the jobs that it failed are retried, the others fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from ringme_async.bulk import BulkReport, Done, Failed, NotAttempted
from ringme_async.bulk.feedback import ANSWERED, HostSign, evidence_of
from ringme_async.errors import (
    AccessDenied,
    Busy,
    ClientNotFound,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    InvalidRequest,
    ResponseLost,
    ResponseTooLarge,
    RingMeError,
    ServerError,
    TokenError,
    TransportTimeout,
)
from tests.bulk.hosts import MINUTE, Host, runs_at
from tests.bulk.scripted_job import now

pytestmark = pytest.mark.jumping


async def slowly(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(1.0)
        yield number


async def test_a_job_that_fails_while_its_host_is_down_is_done_after_the_outage() -> None:
    host = Host(down=(5.0, 5.0 + 10 * MINUTE))

    report = await runs_at(host)(range(5_000))

    assert report.ok
    assert len(report.values()) == 5_000
    # 64 that were in flight, and then one at a time, a minute apart at the most.
    assert len(host.asked_when_down) <= 64 + 20
    assert 10 * MINUTE < now() < 12 * MINUTE


async def test_a_host_that_is_down_is_probed_less_and_less_often() -> None:
    host = Host(down=(0.12, 10 * MINUTE))

    await runs_at(host)(range(100))

    pauses = [later - sooner for sooner, later in pairwise(host.asked_when_down)]
    growing = [round(pause) for pause in pauses if pause >= 1.0]
    # By one call at a time, but for the look that lets one more go in a silence.
    assert sum(moment > 1.0 for moment in host.asked_when_down) <= len(growing) + 2
    assert growing == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60]


async def test_a_host_recovers_from_each_of_several_outages() -> None:
    host = Host(down=(5.0, 100.0))

    def again(moment: float) -> None:
        host.down = (moment, moment + 100.0)

    for moment in (200.0, 400.0):
        asyncio.get_running_loop().call_at(moment, again, moment)
    report = await runs_at(host)(range(200_00))

    assert report.ok


@pytest.mark.parametrize("concurrency", [8, 64])
async def test_other_hosts_go_on_during_an_outage(concurrency: int) -> None:
    ill, well = Host("ill", down=(0.12, 10 * MINUTE)), Host("well")
    last = 0.0
    async with runs_at(ill, well, concurrency=concurrency)(range(2_000)) as run:
        async for outcome in run:
            assert outcome.ok
            if outcome.index % 2:
                last = now()

    assert last < MINUTE
    assert now() > 10 * MINUTE


async def test_hosts_that_go_down_at_different_times_recover_independently() -> None:
    first, second = Host("first", down=(0.12, 100.0)), Host("second", down=(7.3, 300.0))
    last: dict[str, float] = {}
    async with runs_at(first, second)(range(10_000)) as run:
        async for outcome in run:
            assert outcome.ok
            last["first" if outcome.index % 2 == 0 else "second"] = now()

    assert 100 < last["first"] < 300 < last["second"]


async def test_a_request_refused_before_it_is_sent_is_no_evidence_of_the_host() -> None:
    def malformed(_: object) -> RingMeError:
        return InvalidRequest("no credentials")

    report = await runs_at(Host(ill=lambda _: True, error=malformed))(range(100))

    assert report.failed == 100
    assert now() < MINUTE


async def test_progress_shows_an_outage_while_it_lasts() -> None:
    host = Host(down=(0.12, MINUTE))
    run = runs_at(host)(range(100))
    async with run:
        reader = asyncio.ensure_future(anext(run))
        await asyncio.sleep(30)
        look = run.progress

        assert (look.hosts_down, look.held_by, look.parked) == (1, "outage", 0)
        assert look.pulled == look.finished + look.waiting + look.in_flight == 100
        await reader
        async for outcome in run:
            assert outcome.ok
        assert run.progress.hosts_down == 0


async def test_a_host_that_swallows_requests_is_down_too() -> None:
    def too_late(_: object) -> RingMeError:
        error = DeadlineExceeded("too late", attempts=2)
        error.__cause__ = TransportTimeout("nothing came")
        return error

    host = Host(down=(0.12, 5 * MINUTE), error=too_late, takes=60.0)

    report = await runs_at(host)(range(200))

    assert report.ok


class TestTheWaiting:
    async def test_ends_after_half_an_hour_of_nothing_but_failures(self) -> None:
        host = Host(down=(0.12, 1e9))

        report = await runs_at(host)(range(1_000))

        tried = len(set(host.begun))
        assert report.counts == {
            "done": 2,
            "ConnectError": tried - 2,
            "not_attempted": 1_000 - tried,
        }
        assert tried <= 2 + 64 + 5 + 40
        assert 30 * MINUTE < now() < 35 * MINUTE

    async def test_ends_after_a_minute_if_the_host_has_never_answered(self) -> None:
        host = Host(down=(0.0, 1e9))

        report = await runs_at(host)(range(1_000))

        tried = len(set(host.begun))
        assert report.counts == {"done": 0, "ConnectError": tried, "not_attempted": 1_000 - tried}
        assert tried < 25
        assert MINUTE < now() < 5 * MINUTE

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_ends_for_all_waiting_jobs_once_ten_more_have_failed(self, ordered: bool) -> None:
        host = Host(down=(0.0, 1e9), takes=40.0)

        report = await runs_at(host, ordered=ordered, max_waiting=500)(range(2_000))

        assert report.counts["ConnectError"] < 50
        assert report.counts["not_attempted"] > 1_950
        assert {one.reason for one in report if isinstance(one, NotAttempted)} == {
            "its host does not answer: refused"
        }
        assert now() < 15 * MINUTE

    async def test_ends_for_that_host_only(self) -> None:
        dead, alive = Host("dead", down=(0.0, 1e9)), Host("alive")

        report = await runs_at(dead, alive)(range(2_000))

        assert len(report.values()) == 1_000
        assert report.counts["not_attempted"] == 1_000 - len(set(dead.begun)) > 970

    async def test_goes_on_for_jobs_of_another_host(self) -> None:
        dead, alive = Host("dead", down=(0.0, 1e9)), Host("alive")

        report = await runs_at(dead, alive, concurrency=2)(range(4_000))

        assert len(report.values()) == 2_000
        assert now() > MINUTE

    async def test_is_over_until_the_host_answers(self) -> None:
        host = Host(down=(0.0, 5 * MINUTE), takes=1.0)

        report = await runs_at(host, max_waiting=50)(slowly(1_000))

        assert report.values()
        assert report.counts["not_attempted"]
        assert report.complete

    async def test_ends_with_the_runs_deadline(self) -> None:
        host = Host(down=(0.12, 1e9))

        report = await runs_at(host, deadline=5 * MINUTE)(range(1_000))

        assert now() == 5 * MINUTE
        assert {type(outcome) for outcome in report} == {Done, NotAttempted}
        assert report.complete

    async def test_of_held_failures_ends_there_too(self) -> None:
        def slow(tenant: int) -> RingMeError:
            return ConnectError(f"{tenant} refused")

        host = Host(ill=lambda tenant: tenant < 3, error=slow)
        run = runs_at(host, deadline=0.08)([0, 1, 2, 3])

        report = await run

        assert [failure.error.reason for failure in report.failures[:2]] == [
            "0 refused",
            "1 refused",
        ]

    async def test_does_not_happen_when_outages_are_to_fail(self) -> None:
        host = Host(down=(0.12, MINUTE))

        report = await runs_at(host, on_outage="fail")(range(100))

        assert report.failed == 98
        assert now() < MINUTE

    async def test_does_not_happen_for_a_handful_of_tenants(self) -> None:
        host = Host(down=(0.0, MINUTE))

        few = await runs_at(host)(range(9))
        of_few = await runs_at(host, tenants=4)(range(100))

        assert (few.failed, of_few.failed) == (9, 100)
        assert now() < 30

    async def test_has_no_other_options(self) -> None:
        with pytest.raises(InvalidRequest, match="on_outage"):
            runs_at(Host(), on_outage="pray")([1])


class TestATenant:
    async def test_that_stalls_alone_does_not_stop_its_host(self) -> None:
        def stalled(_: object) -> RingMeError:
            return TransportTimeout("nothing came")

        host = Host(ill=lambda tenant: tenant % 50 == 0, error=stalled, takes=30.0)
        async with runs_at(host)(range(2_000)) as run:
            async for _ in run:
                assert run.progress.hosts_down == 0

        assert run.report.counts == {"done": 1_960, "TransportTimeout": 40, "not_attempted": 0}
        assert now() < 5 * MINUTE

    async def test_that_fails_is_reported_as_soon_as_another_is_answered(self) -> None:
        host = Host(ill=lambda tenant: tenant == 0)
        async with runs_at(host)(range(1_000)) as run:
            async for outcome in run:
                if isinstance(outcome, Failed):
                    break

        assert now() <= 0.2

    async def test_that_is_dead_and_comes_first_delays_healthy_ones_for_a_while(
        self,
    ) -> None:
        host = Host(ill=lambda tenant: tenant < 15)

        report = await runs_at(host)(range(1_000))

        assert {failure.who for failure in report.failures} <= set(range(15))
        assert len(report.values()) >= 985
        assert now() < 5 * MINUTE

    @pytest.mark.parametrize("per_tenant", [1, 3])
    async def test_gets_its_changes_in_order_through_an_outage(self, per_tenant: int) -> None:
        host = Host(down=(0.12, 2 * MINUTE))

        report = await runs_at(host, tenants=20, per_tenant=per_tenant)(range(400))

        assert report.ok
        if per_tenant == 1:
            for tenant in range(20):
                mine = [number for number in host.begun if number % 20 == tenant]
                assert mine == sorted(mine)


@pytest.mark.parametrize("concurrency", [8, 64])
async def test_an_ordered_run_waits_for_its_host_too(concurrency: int) -> None:
    host = Host(down=(1.0, 2 * MINUTE))

    async with runs_at(host, ordered=True, concurrency=concurrency)(range(1_000)) as run:
        outcomes = [outcome async for outcome in run]

    assert [outcome.index for outcome in outcomes] == list(range(1_000))
    assert all(outcome.ok for outcome in outcomes)


async def test_a_job_sent_in_an_outage_is_retried_though_it_fails_after_it() -> None:
    class Stalling(Host):
        async def answer(self, tenant: Any) -> None:
            if tenant == 3 and tenant not in self.begun:
                self.begun.append(tenant)
                await asyncio.sleep(60.0)
                raise TransportTimeout("nothing came")
            await super().answer(tenant)

    report = await runs_at(Stalling(down=(0.12, 20.0)))(range(1_000))

    assert report.ok
    assert report[3].attempts == 2


async def test_a_run_of_one_slot_loses_at_most_the_first_few_elements() -> None:
    host = Host(down=(1.0, 5 * MINUTE))

    report: BulkReport[Any] = await runs_at(host, concurrency=1)(range(100))

    assert report.failed < 10
    assert now() > 5 * MINUTE


async def test_refusals_are_answers() -> None:
    said = Counter[type]()

    def no(tenant: int) -> RingMeError:
        errors = [ClientNotFound, AccessDenied, DecodeError, TokenError, Busy, ConnectError]
        error = errors[tenant % len(errors)]("no")
        said[type(error)] += 1
        return error

    async with runs_at(Host(ill=lambda _: True, error=no))(range(600)) as run:
        async for _ in run:
            assert run.progress.hosts_down == 0

    assert set(said.values()) == {100}
    assert run.report.failed == 600


def caused_by(cause: BaseException | None, attempts: int = 1) -> DeadlineExceeded:
    error = DeadlineExceeded("too late", attempts=attempts)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "sign"),
    [
        (None, HostSign.UP),
        (ConnectError("refused"), HostSign.DOWN),
        (ResponseLost("cut off"), HostSign.DOWN),
        (ServerError("503"), HostSign.DOWN),
        (ResponseTooLarge("too large"), HostSign.UP),
        (ClientNotFound("404"), HostSign.UP),
        (InvalidRequest("malformed"), HostSign.UNKNOWN),
        (caused_by(TransportTimeout("slow")), HostSign.DOWN),
        (caused_by(None), HostSign.DOWN),
        (caused_by(None, attempts=0), HostSign.UNKNOWN),
        (caused_by(Busy("wait")), HostSign.UNKNOWN),
    ],
    ids=repr,
)
def test_the_end_of_a_job_says_whether_its_host_is_up(
    error: RingMeError | None, sign: HostSign
) -> None:
    evidence = ANSWERED if error is None else evidence_of(error)

    assert evidence.host is sign
