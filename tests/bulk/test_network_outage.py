"""All hosts down at once, as when this machine's network is: no element is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define

from ringme_async.bulk import BulkRun, Done, Failed, NotBefore
from ringme_async.errors import ConnectError, RingMeError, ServerError, TransportTimeout
from tests.bulk.hosts import MINUTE, Host, HostJob, probe_of, runs_at
from tests.bulk.scripted_job import now

pytestmark = pytest.mark.jumping


@pytest.mark.parametrize("takes", [0.0, 10.0])
@pytest.mark.parametrize(
    ("hosts", "tenants", "down"),
    [
        (2, 200, (0.32, 10 * MINUTE)),
        (50, 40, (0.32, 10 * MINUTE)),
        # A minute is all that a host gets that has never answered.
        (50, 40, (0.12, 40.0)),
        (500, 2, (0.12, 40.0)),
        (500, 2, (0.0, 40.0)),
    ],
)
async def test_no_element_is_lost_when_all_hosts_are_down(
    hosts: int, tenants: int, down: tuple[float, float], takes: float
) -> None:
    away = [Host(str(number), down=down, takes=takes) for number in range(hosts)]

    report = await runs_at(*away, probe_of=probe_of)(range(hosts * tenants))

    assert report.ok, report


async def test_a_few_failures_of_each_host_are_reported_while_another_host_answers() -> None:
    dead = [Host(str(number), down=(0.0, 1e9)) for number in range(10)]
    alive = Host("alive")
    elements = [*range(22), *range(32, 11_000, 11)]

    report = await runs_at(*dead, alive)(elements)

    assert report.counts == {"done": 1_000, "ConnectError": 20, "not_attempted": 0}
    assert now() < MINUTE


async def test_a_handful_of_tenants_of_many_hosts_fails_as_quickly_as_a_single_call() -> None:
    dead = [Host(str(number), down=(0.0, 1e9)) for number in range(9)]

    report = await runs_at(*dead)(range(9))

    assert report.failed == 9
    assert now() < 1.0


@define(eq=False)
class Hourly(HostJob):
    """A job whose credential has no quota left for an hour from one moment on."""

    parked: tuple[float, float] = (0.0, 0.0)

    def not_before(self) -> float | None:
        return self.parked[1] if self.parked[0] <= now() < self.parked[1] else None


@pytest.mark.parametrize("first_failure", [0.2, 100.0])
async def test_an_hour_of_parking_does_not_count_as_waiting_for_a_host(
    first_failure: float,
) -> None:
    host = Host(down=(first_failure, 100.0 + 70 * MINUTE))
    hour = (101.0, 100.0 + 60 * MINUTE)

    def make(number: int) -> Hourly:
        return Hourly(host, number, number, parked=hour)

    run = BulkRun(
        range(3_000),
        make,
        on_outage="wait",
        concurrency=2,
        probe_of=lambda job: make(job.name),
    )
    report = await run

    assert report.ok, report


async def test_an_old_failure_does_not_use_up_the_patience() -> None:
    host = Host(down=(90 * MINUTE, 100 * MINUTE), ill=lambda tenant: tenant == 3)

    async def slowly() -> Any:
        for number in range(200):
            yield number
            await asyncio.sleep(5_400 if number == 3 else 1.0)

    report = await runs_at(host)(slowly())

    assert report.counts["not_attempted"] == 0
    assert len(report.values()) >= 190


class TestAHostThatIsGivenUp:
    """Giving up concerns the elements that failed, and others only if no tenant can be served."""

    @pytest.mark.parametrize(
        ("error", "witnesses", "not_attempted"),
        [
            (lambda _: ConnectError("refused"), False, True),
            (lambda _: ServerError("503"), True, True),
            (lambda _: TransportTimeout("silent"), False, False),
            (lambda _: ServerError("503"), False, False),
        ],
    )
    async def test_drops_waiting_jobs_only_if_the_evidence_does_not_depend_on_tenants(
        self, error: Any, witnesses: bool, not_attempted: bool
    ) -> None:
        host = Host(down=(0.12, 1e9), error=error)
        options = {"probe_of": probe_of} if witnesses else {}

        report = await runs_at(host, **options)(range(500))

        assert (report.counts["not_attempted"] > 0) is not_attempted
        assert all(isinstance(one, Done) or not one.ok for one in report)
        assert sum(report.counts.values()) == 500
        assert 30 * MINUTE < now() < 40 * MINUTE

    async def test_fails_each_tried_element_with_its_own_last_error(self) -> None:
        def own(tenant: int) -> RingMeError:
            return ConnectError(f"{tenant} refused")

        host = Host(down=(0.0, 1e9), error=own)

        report = await runs_at(host)(range(500))

        failed = [outcome for outcome in report if isinstance(outcome, Failed)]
        assert {outcome.index for outcome in failed} == set(host.begun)
        assert all(one.error.reason == f"{one.index} refused" for one in failed)

    @pytest.mark.parametrize("kind", ["unresolved", "refused"])
    async def test_is_given_up_at_once_if_it_never_answered_and_nothing_can_listen_there(
        self, kind: Any
    ) -> None:
        host = Host(down=(0.0, 1e9), error=lambda _: ConnectError("no host", kind=kind))

        report = await runs_at(host)(range(1_000))

        assert report.counts["ConnectError"] + report.counts["not_attempted"] == 1_000
        assert report.counts["ConnectError"] < 10
        assert now() < 1.0

    async def test_is_given_up_later_if_it_has_answered_though_its_port_refuses(self) -> None:
        host = Host(down=(0.12, 300.0), error=lambda _: ConnectError("no host", kind="refused"))

        report = await runs_at(host)(range(1_000))

        assert report.ok


async def test_a_parked_witness_is_not_probed_and_a_probe_that_is_parked_is_no_evidence() -> None:
    host = Host(down=(0.12, 30.0))
    asked: list[Any] = []

    @define(eq=False)
    class Parked(HostJob):
        async def run(self) -> Any:
            asked.append(self.name)
            return NotBefore(now() + 5.0)

    report = await runs_at(host, probe_of=lambda job: Parked(job.host, job.name, job.tenant_key))(
        range(100)
    )

    assert report.ok
    assert asked


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("probes", [None, probe_of])
async def test_an_ordered_run_probes_a_host_that_is_down_with_the_next_job_in_order(
    concurrency: int, probes: Any
) -> None:
    ill, well = Host("ill", down=(0.12, 100.0)), Host("well")
    run = runs_at(ill, well, ordered=True, concurrency=concurrency, probe_of=probes)

    report = await run(range(400))

    # Outcomes of the other host fill the reader's room before there are ten failures.
    assert sum(not outcome.ok for outcome in report) < 10
    assert [outcome.index for outcome in report] == list(range(400))


async def test_a_slow_reader_does_not_delay_the_probes_of_a_suspected_host() -> None:
    host = Host(down=(0.32, 30.0))
    outcomes: list[Any] = []
    async with runs_at(host, concurrency=16)(range(300)) as run:
        async for outcome in run:
            outcomes.append(outcome)
            await asyncio.sleep(0.3)

    assert all(outcome.ok for outcome in outcomes)
    assert len(outcomes) == 300
