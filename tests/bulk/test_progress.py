"""The pace of a run, and the time that it still takes."""

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


def test_the_pace_of_an_even_run_is_told_from_its_first_moments() -> None:
    throughput = started_at(1000.0)
    told: list[float] = []
    for tenth in range(1, 301):
        throughput.update(1000.0 + tenth / 10, 7 * tenth)
        told.append(throughput.per_second(1000.0 + tenth / 10, 7 * tenth))

    assert told == pytest.approx([70.0] * 300, rel=0.01)


def test_the_pace_is_nothing_at_the_very_start() -> None:
    throughput = started_at(1000.0)

    assert throughput.per_second(1000.0, 0) == 0.0


def test_what_is_ten_seconds_old_counts_a_third_and_what_has_just_come_in_full() -> None:
    throughput = started_at(1000.0)
    throughput.update(2000.0, 100)

    assert throughput.per_second(2000.0, 100) == pytest.approx(10.0)
    assert throughput.per_second(2010.0, 100) == pytest.approx(10.0 / math.e)
    assert throughput.per_second(2010.0, 150) == pytest.approx(10.0 / math.e + 5.0)


def test_the_next_look_is_due_at_once_and_then_a_tenth_of_a_second_later() -> None:
    throughput = started_at(1000.0)
    assert throughput.due == 1000.0

    throughput.update(1003.0, 1)

    assert throughput.due == pytest.approx(1003.1)


@pytest.mark.parametrize(
    ("left", "per_second", "seconds"),
    [(None, 2.0, None), (0, 0.0, 0.0), (1, 2.0, 0.5), (9, 0.5, 18.0), (9, 1e-6, None)],
)
@pytest.mark.parametrize("idle", [True, False])
def test_what_is_left_takes_as_long_as_the_pace_says(
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
def test_it_takes_until_the_parked_go_on_if_nothing_else_is_under_way(
    per_second: float, until_wake: float, idle: bool, seconds: float | None
) -> None:
    assert estimate(9, per_second, until_wake, idle=idle) == seconds


@pytest.mark.jumping
async def test_the_end_is_no_further_off_than_the_moment_that_a_parked_one_goes_on() -> None:
    make = scripted(World(), lambda _: [NotBefore(100.0), 1.0])
    async with BulkRun([1], make) as run:
        await asyncio.sleep(99.5)

        assert run.progress.parked == 1
        assert run.progress.eta == 0.5


@pytest.mark.jumping
async def test_a_repeated_request_counts_while_it_is_under_way_and_once_it_has_ended() -> None:
    make = scripted(World(), lambda _: [NotBefore(100.0), 5.0])
    async with BulkRun([1], make) as run:
        await asyncio.sleep(50)
        assert run.progress.retried == 0
        await asyncio.sleep(53)
        assert (run.progress.in_flight, run.progress.retried) == (1, 1)
        await asyncio.sleep(50)
        assert (run.progress.in_flight, run.progress.retried) == (0, 1)
