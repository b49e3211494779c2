"""Broken tenants of a healthy host: however many and wherever, they harm nobody else.

Each case runs twice, with ``on_outage="wait"`` and with ``"fail"``: the outcomes are the same, and
waiting costs little time of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ringme_async.bulk import BulkReport, Done, Failed
from ringme_async.errors import ResponseLost, RingMeError, ServerError, TransportTimeout
from tests.bulk.hosts import MINUTE, Host, probe_of, runs_at
from tests.bulk.scripted_job import now
from tests.jumping_loop import JumpingLoop

WAYS: dict[str, tuple[type[RingMeError], float]] = {
    "at once": (ServerError, 0.0),
    "by reset": (ResponseLost, 0.0),
    "by stalling": (TransportTimeout, 30.0),
}


@frozen
class Case:
    """Which elements of an input are broken, how they fail, and how the run is made."""

    total: int
    broken: AbstractSet[int] = field(repr=lambda broken: f"{len(broken)}, e.g. {min(broken)}")
    way: str = "at once"
    concurrency: int = 64
    ordered: bool = False
    per_tenant: int | None = None
    down: tuple[float, float] = (0.0, 0.0)

    def host(self) -> Host:
        error, takes = WAYS[self.way]
        return Host(
            down=self.down,
            ill=self.broken.__contains__,
            error=lambda tenant: error(f"{tenant} is broken"),
            takes=takes,
        )

    async def report(self, on_outage: str) -> tuple[BulkReport[Any], float]:
        run = runs_at(
            self.host(),
            on_outage=on_outage,
            concurrency=self.concurrency,
            ordered=self.ordered,
            per_tenant=self.per_tenant,
            probe_of=probe_of,
        )
        return await run(range(self.total)), now()

    def run(self, on_outage: str = "wait") -> tuple[BulkReport[Any], float]:
        with asyncio.Runner(debug=False, loop_factory=JumpingLoop) as runner:
            return runner.run(self.report(on_outage))

    def check(self, report: BulkReport[Any]) -> None:
        """Each healthy tenant is done; each broken one failed with its own error."""
        for outcome in report:
            if outcome.index in self.broken:
                assert isinstance(outcome, Failed)
                assert outcome.error.reason == f"{outcome.index} is broken"
            else:
                assert isinstance(outcome, Done)
        assert len(report) == self.total


def block(start: int, size: int) -> frozenset[int]:
    return frozenset(range(start, start + size))


@st.composite
def patterns(draw: st.DrawFn) -> tuple[int, frozenset[int]]:
    """Blocks anywhere, broken tenants scattered, or every n-th; a twentieth is healthy."""
    total = draw(st.sampled_from([30, 100, 400, 1_500]))
    starts = st.tuples(st.integers(0, total - 1), st.integers(1, total))
    blocks = draw(st.lists(starts, min_size=1, max_size=3))
    broken = {index for start, size in blocks for index in range(start, min(total, start + size))}
    if draw(st.booleans()):
        broken.update(range(0, total, draw(st.integers(2, 20))))
    broken.difference_update(range(draw(st.integers(0, 19)), total, 20))
    return total, frozenset(broken)


def cases() -> st.SearchStrategy[Case]:
    return st.builds(
        lambda pattern, way, concurrency, ordered, per_tenant: Case(
            *pattern, way, concurrency, ordered, per_tenant
        ),
        patterns(),
        st.sampled_from(sorted(WAYS)),
        st.sampled_from([1, 2, 8, 64, 256]),
        st.booleans(),
        st.sampled_from([None, 1]),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
@example(Case(1_000, block(465, 70)))
@example(Case(5_000, block(0, 300)))
@example(Case(1_000, block(910, 90), "by stalling"))
def test_healthy_tenants_are_done_and_broken_ones_fail_as_quickly_as_without_waiting(
    case: Case,
) -> None:
    report, seconds = case.run()
    _, seconds_without = case.run("fail")

    case.check(report)
    assert seconds <= 2 * seconds_without + 5


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("place", ["start", "middle", "end", "both ends"])
@pytest.mark.parametrize("size", [10, 70, 300, 900, 990])
def test_a_block_of_any_size_and_place_costs_little(size: int, place: str, way: str) -> None:
    half = size // 2
    broken = {
        "start": block(0, size),
        "middle": block((1_000 - size) // 2, size),
        "end": block(1_000 - size, size),
        "both ends": block(0, half) | block(1_000 - half, half),
    }[place]
    case = Case(1_000, broken, way)

    report, seconds = case.run()
    _, seconds_without = case.run("fail")

    case.check(report)
    # 99 in 100: a healthy tenant may be found only when a host that never answered is given up.
    patience = 65 if size == 990 and place == "both ends" else 0
    assert seconds <= 2 * seconds_without + 5 + patience


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_host_that_fails_all_of_its_tenants_costs_a_minute(way: str) -> None:
    case = Case(200, block(0, 200), way)

    report, seconds = case.run()
    _, seconds_without = case.run("fail")

    case.check(report)
    assert seconds <= 2 * seconds_without + 65


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("start", [100, 450, 900])
@pytest.mark.parametrize("concurrency", [8, 64])
def test_healthy_tenants_are_done_after_an_outage_that_meets_broken_ones(
    concurrency: int, start: int, way: str
) -> None:
    case = Case(1_000, block(start, 100), way, concurrency, down=(1.0, 1.0 + 10 * MINUTE))

    report, _ = case.run()

    for outcome in report:
        assert outcome.ok or outcome.index in case.broken, outcome
