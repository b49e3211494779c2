"""What a run has in hand, by itself: what may be started, pulled and judged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk import BulkRun, Done, Failed, Limit
from ringme_async.bulk.fair_queue import Schedule
from ringme_async.bulk.feedback import Verdict
from ringme_async.bulk.groups import Ticket
from ringme_async.bulk.job_source import Intake
from ringme_async.bulk.result_queue import Outbox
from ringme_async.bulk.run_state import PULLS_IN_A_ROW, Stock
from ringme_async.errors import ConnectError
from tests.bulk.scripted_job import World, counting, itself, scripted

pytestmark = pytest.mark.jumping


@define(eq=False)
class Shop:
    """A stock whose jobs are begun and ended by hand, at any moment."""

    world: World = field(factory=World)
    limit: Limit = field(factory=lambda: Limit(4))
    stock: Stock[Any] = field(init=False)

    def open(self, elements: Iterable[Any], one_host: bool = False, **options: Any) -> None:
        intake = Intake[Any, Any](elements, scripted(self.world), itself)  # type: ignore[arg-type]
        host_of = (lambda _: None) if one_host else itself
        schedule = Schedule[Any](self.limit, None, host_of, heeds_quota=True)
        self.stock = Stock(intake, schedule, Outbox[Any](ordered=False), 10_000, **options)
        intake.open()

    def file(self, name: Any) -> None:
        self.stock.file(Ticket(name, name, scripted(self.world)(name)))

    def start(self, now: float = 0.0) -> Ticket[Any]:
        ticket = self.stock.take(now)
        assert ticket is not None
        self.begin(ticket)
        return ticket

    def begin(self, ticket: Ticket[Any]) -> None:
        task: Any = asyncio.current_task()
        self.stock.running[ticket] = task

    def end(
        self, ticket: Ticket[Any], error: ConnectError | None, started: float, now: float
    ) -> None:
        del self.stock.running[ticket]
        if error is None:
            outcome: Any = Done(ticket.who, ticket.index, 1, "value")
            verdict = Verdict.SOUND
        else:
            outcome, verdict = Failed(ticket.who, ticket.index, 1, error), Verdict.ILL
        self.stock.finish(ticket, outcome, verdict, started, now, slow=False)

    def read(self) -> list[Any]:
        return [self.stock.outbox.take() for _ in range(len(self.stock.outbox.readable))]


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_nothing_is_started_when_there_are_fewer_slots_than_before(shop: Shop) -> None:
    shop.open([])
    for name in range(3):
        shop.file(name)
    shop.start()

    shop.limit.change(1)

    assert not shop.stock.may_start_more()
    assert shop.stock.take(0.0) is None


async def test_nothing_more_is_wanted_when_as_many_run_as_there_are_slots(shop: Shop) -> None:
    shop.open(range(10))
    shop.start()
    shop.start()
    assert shop.stock.may_pull()

    shop.limit.change(2)

    assert not shop.stock.wants_more()
    assert not shop.stock.may_pull()


async def test_of_an_input_of_which_nothing_can_start_256_are_pulled_in_a_row(shop: Shop) -> None:
    pulled: list[int] = []
    shop.open(counting(pulled, range(1_000)))
    shop.world.parked_until = dict.fromkeys(range(1_000), 100.0)

    assert shop.stock.take(0.0) is None

    assert len(pulled) == PULLS_IN_A_ROW == 256


async def test_what_starts_at_the_moment_when_its_host_is_back_is_judged_by_its_own_failure(
    shop: Shop,
) -> None:
    shop.limit.change(64)
    shop.open([], one_host=True, outwaits=True)
    for name in range(17):
        shop.file(name)
    while (asked := shop.stock.take(1.0)) is not None:
        shop.begin(asked)
        shop.end(asked, ConnectError("refused"), 0.0, 1.0)
    assert shop.stock.suspects.hosts_down == 1
    shop.stock.sleepers.wake(5.0)

    shop.end(shop.start(5.0), None, 5.0, 7.0)
    dead = shop.start(7.0)
    shop.end(shop.start(7.0), None, 7.0, 9.0)
    shop.read()
    shop.end(dead, ConnectError("refused"), 7.0, 8.0)
    shop.stock.end_doubt(9.0)

    assert [outcome.who for outcome in shop.read()] == [dead.who]


async def test_failures_that_are_not_judged_yet_leave_the_reader_its_room(world: World) -> None:
    make = scripted(world, lambda _: [ConnectError("refused")], quota_key="dealer")
    async with BulkRun(range(100), make, concurrency=2, on_outage="wait") as run:
        await asyncio.sleep(30)

        # Too few slots do not keep the outage from being seen.
        assert run.progress.hosts_down == 1
        assert run.progress.unread == 0

        await asyncio.sleep(100)
        assert run.progress.unread == 4
        async for outcome in run:
            assert run.progress.unread + run.progress.in_flight <= 4
            assert not outcome.ok
