"""Quota: listeners without a place in the queue, and requests sent later than reserved."""

from __future__ import annotations

import asyncio
import random

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.policies.quota import Quota, Reservation
from ringme_async.policies.quota_book import QuotaBook
from tests.jumping_loop import JumpingLoop
from tests.policies.test_quota import headers, known, take, take_all
from tests.policies.test_quota_simulation import HOUR, Answer, AnswerLost, Server

pytestmark = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


@define
class Ear:
    """Notes when it was called."""

    called: list[float] = field(factory=list)

    def __call__(self) -> None:
        self.called.append(now())

    __hash__ = object.__hash__


class TestAListener:
    async def test_is_called_once_by_the_answer_to_a_probe(self) -> None:
        quota, ear = Quota(), Ear()
        probe = take(quota)
        quota.call_when_free(ear)

        probe.learn(headers(5))
        take(quota).learn(headers(4))

        assert len(ear.called) == 1

    async def test_is_called_when_the_window_turns_out_to_be_used_up(self) -> None:
        quota, ear = Quota(), Ear()
        probe = take(quota)
        quota.call_when_free(ear)

        probe.learn(headers(0))

        assert len(ear.called) == 1

    async def test_is_called_by_a_request_that_was_given_back(self) -> None:
        quota, ear = known(2), Ear()
        first, _second = take_all(quota)
        quota.call_when_free(ear)

        first.give_back()

        assert len(ear.called) == 1

    async def test_is_called_when_a_further_probe_is_due(self) -> None:
        quota, ear = Quota(), Ear()
        take(quota)
        quota.call_when_free(ear)

        await asyncio.sleep(100)

        assert ear.called == [pytest.approx(1.0)]

    async def test_is_called_at_the_reset(self) -> None:
        quota, ear = known(1, reset=1800), Ear()
        take(quota)
        quota.call_when_free(ear)

        await asyncio.sleep(2 * HOUR)

        assert ear.called == [pytest.approx(1801.0)]

    async def test_comes_after_waiters(self) -> None:
        quota, ear = known(1), Ear()
        (only,) = take_all(quota)
        waiting = asyncio.ensure_future(quota.reserve())
        await asyncio.sleep(0)
        quota.call_when_free(ear)

        only.give_back()
        got = await waiting
        assert isinstance(got, Reservation)
        assert not ear.called

        got.give_back()
        assert len(ear.called) == 1

    async def test_that_was_cancelled_is_not_called_and_leaves_no_timer(self) -> None:
        quota, ear = Quota(), Ear()
        take(quota)
        forget = quota.call_when_free(ear)

        forget()
        forget()
        await asyncio.sleep(100)

        assert not ear.called
        assert quota._timer is None

    async def test_keeps_its_quota_in_the_book(self) -> None:
        book = QuotaBook(capacity=1)
        quota = book.of("key")
        quota.call_when_free(Ear())
        for number in range(10):
            book.of(number)

        assert quota.in_use
        assert book.of("key") is quota


class TestARequestThatGoesLaterThanReserved:
    async def test_gets_the_later_time(self) -> None:
        quota = known(2)
        reservation, lost = take_all(quota)
        await asyncio.sleep(10)
        lost.lost()

        assert reservation.renew()
        assert (reservation.sent_at, reservation.spent_before) == (now(), 1)

    async def test_keeps_the_role_of_the_probe(self) -> None:
        quota = Quota()
        probe = take(quota)
        await asyncio.sleep(10)

        assert probe.renew()
        probe.learn(headers(7))
        assert len(take_all(quota)) == 7

    async def test_is_given_back_after_the_reset(self) -> None:
        quota = known(5, reset=10)
        reservation = take(quota)
        await asyncio.sleep(20)

        assert not reservation.renew()
        assert not quota.in_use

    async def test_is_given_back_if_others_have_used_up_the_hour(self) -> None:
        quota = known(3)
        reservation, other = take_all(quota, 2)
        other.learn(headers(0))

        assert not reservation.renew()
        assert not quota.in_use


async def granted(quota: Quota) -> Reservation:
    """Reserve as a bulk run does: without a place in the queue."""
    while True:
        reservation = quota.try_reserve()
        if reservation is not None:
            return reservation
        wait = quota.exhausted_for()
        if wait is not None:
            await asyncio.sleep(wait)
            continue
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        forget = quota.call_when_free(lambda woken=woken: woken.done() or woken.set_result(None))
        try:
            await woken
        finally:
            forget()


async def ask(quota: Quota, server: Server) -> None:
    """Get one answer of 200."""
    while True:
        reservation = await granted(quota)
        try:
            answer: Answer = await server.send()
        except AnswerLost:
            reservation.lost()
        except asyncio.CancelledError:
            reservation.lost()
            raise
        else:
            if answer.status == 200:
                reservation.learn(answer.headers)
                return
            reservation.refused(float(answer.headers["x-ratelimit-reset"]))


async def work(server: Server, amount: int, hands: int, leaving: random.Random) -> int:
    quota = Quota()
    done = 0

    async def one() -> None:
        nonlocal done
        while done < amount:
            try:
                async with asyncio.timeout(leaving.choice([None, None, 0.3, HOUR])):
                    await ask(quota, server)
                    done += 1
            except TimeoutError:
                pass

    # A wake-up that is lost leaves all of them asleep until this.
    async with asyncio.timeout((amount + 10) * 10 * HOUR), asyncio.TaskGroup() as group:
        for _ in range(hands):
            group.create_task(one())
    return done


@given(
    seed=st.integers(0, 2**32),
    ceiling=st.integers(1, 30),
    hands=st.integers(1, 40),
    losses=st.sampled_from([0.0, 0.0, 0.2]),
)
def test_no_wake_up_is_lost(seed: int, ceiling: int, hands: int, losses: float) -> None:
    source = random.Random(seed)
    server = Server(
        ceiling, lambda: source.uniform(0.0, 0.45), loses=lambda: source.random() < losses
    )
    amount = 2 * ceiling + hands
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(work(server, amount, hands, source)) >= amount
