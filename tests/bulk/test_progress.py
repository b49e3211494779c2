"""The throughput of a run, and its estimated time left."""

from __future__ import annotations

import asyncio
import math

import pytest

from ringme_async.bulk import BulkRun, NotBefore
from ringme_async.bulk.progress import ThroughputMeter, estimate
from tests.bulk.scripted_job import World, scripted


def started_at(moment: float) -> ThroughputMeter:
    throughput = ThroughputMeter()
    throughput.start(moment)
    return throughput


def test_the_throughput_of_an_even_run_is_right_from_its_start() -> None:
    throughput = started_at(1000.0)
    throughputs: list[float] = []
    for tenth in range(1, 301):
        throughput.update(1000.0 + tenth / 10, 7 * tenth)
        throughputs.append(throughput.per_second(1000.0 + tenth / 10, 7 * tenth))

    assert throughputs == pytest.approx([70.0] * 300, rel=0.01)


def test_the_throughput_is_0_at_the_very_start() -> None:
    throughput = started_at(1000.0)

    assert throughput.per_second(1000.0, 0) == 0.0


def test_an_element_counts_in_full_at_first_and_a_third_after_ten_seconds() -> None:
    throughput = started_at(1000.0)
    throughput.update(2000.0, 100)

    assert throughput.per_second(2000.0, 100) == pytest.approx(10.0)
    assert throughput.per_second(2010.0, 100) == pytest.approx(10.0 / math.e)
    assert throughput.per_second(2010.0, 150) == pytest.approx(10.0 / math.e + 5.0)


def test_the_first_update_is_due_at_once_and_the_next_a_tenth_of_a_second_later() -> None:
    throughput = started_at(1000.0)
    assert throughput.due == 1000.0

    throughput.update(1003.0, 1)

    assert throughput.due == pytest.approx(1003.1)


@pytest.mark.parametrize(
    ("left", "per_second", "seconds"),
    [(None, 2.0, None), (0, 0.0, 0.0), (1, 2.0, 0.5), (9, 0.5, 18.0), (9, 1e-6, None)],
)
@pytest.mark.parametrize("idle", [True, False])
def test_the_estimate_is_the_elements_left_by_the_throughput(
    left: int | None, per_second: float, seconds: float | None, idle: bool
) -> None:
    assert estimate(left, per_second, None, idle=idle) == seconds


@pytest.mark.parametrize(
    ("per_second", "until_wake", "idle", "seconds"),
    [
        (1.0, 5.0, True, 9.0),
        (1.0, 50.0, True, 50.0),
        (1.0, 50.0, False, 9.0),
        (0.0, 50.0, True, 50.0),
        (0.0, 50.0, False, None),
    ],
)
def test_the_estimate_is_no_earlier_than_the_first_wake_if_nothing_is_in_flight(
    per_second: float, until_wake: float, idle: bool, seconds: float | None
) -> None:
    assert estimate(9, per_second, until_wake, idle=idle) == seconds


@pytest.mark.jumping
async def test_the_estimate_of_a_parked_run_is_its_first_wake() -> None:
    make = scripted(World(), lambda _: [NotBefore(100.0), 1.0])
    async with BulkRun([1], make) as run:
        await asyncio.sleep(99.5)

        assert run.progress.parked == 1
        assert run.progress.eta == 0.5


@pytest.mark.jumping
async def test_a_repeated_request_counts_in_flight_and_after_it_has_ended() -> None:
    make = scripted(World(), lambda _: [NotBefore(100.0), 5.0])
    async with BulkRun([1], make) as run:
        await asyncio.sleep(50)
        assert run.progress.retried == 0
        await asyncio.sleep(53)
        assert (run.progress.in_flight, run.progress.retried) == (1, 1)
        await asyncio.sleep(50)
        assert (run.progress.in_flight, run.progress.retried) == (0, 1)
