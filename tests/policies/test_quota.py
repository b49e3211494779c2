"""Quota: the four states of a window, and the requests that go, wait or are sent away."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Coroutine
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringme_async.policies.quota import Quota, Reservation
from ringme_async.policies.quota_book import QuotaBook
from ringme_async.transports import Headers
from tests.jumping_loop import JumpingLoop

T = TypeVar("T")

pytestmark = pytest.mark.jumping


def headers(remaining: object = None, reset: object = 1800, limit: object = None) -> Headers:
    named = {
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": reset,
    }
    return Headers({name: str(value) for name, value in named.items() if value is not None})


def take(quota: Quota) -> Reservation:
    reservation = quota.try_reserve()
    assert reservation is not None
    return reservation


def take_all(quota: Quota, most: int = 1000) -> list[Reservation]:
    taken: list[Reservation] = []
    while len(taken) < most and (reservation := quota.try_reserve()) is not None:
        taken.append(reservation)
    return taken


def known(remaining: int, reset: int = 1800, limit: int | None = None) -> Quota:
    """A quota whose probe has just been answered."""
    quota = Quota()
    take(quota).learn(headers(remaining, reset, limit))
    return quota


def used_up(reset: int = 1800) -> Quota:
    return known(0, reset)


async def start(work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Start something and let it run until it waits."""
    task = asyncio.ensure_future(work)
    await settled()
    return task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(moment: float) -> None:
    await asyncio.sleep(moment - now())


class TestUnknown:
    async def test_one_request_goes_first_as_a_probe(self) -> None:
        quota = Quota()
        assert quota.try_reserve() is not None
        assert quota.try_reserve() is None

    async def test_an_unknown_window_is_not_used_up(self) -> None:
        quota = Quota()
        assert quota.exhausted_for() is None
        take(quota)
        assert quota.exhausted_for() is None

    async def test_other_requests_wait_for_the_headers_of_the_probe(self) -> None:
        quota = Quota()
        probe = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(3)]
        probe.learn(headers(2))
        await settled()
        assert [task.done() for task in waiting] == [True, True, False]

    async def test_after_a_lost_probe_another_one_goes(self) -> None:
        quota = Quota()
        probe = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        probe.lost()
        await settled()
        assert [task.done() for task in waiting] == [True, False]

    async def test_after_an_unsent_probe_another_one_goes(self) -> None:
        quota = Quota()
        probe = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        probe.give_back()
        await settled()
        assert [task.done() for task in waiting] == [True, False]

    async def test_a_request_lost_after_the_probe_may_be_missing_in_its_answer(self) -> None:
        quota = Quota(patience=1)
        probe = take(quota)
        await asyncio.sleep(1)
        take(quota).lost()
        probe.learn(headers(10))
        assert len(take_all(quota)) == 9


class TestStalledProbe:
    async def test_another_probe_goes_after_the_patience(self) -> None:
        quota = Quota(patience=1)
        take(quota)
        await asyncio.sleep(0.99)
        assert quota.try_reserve() is None
        await asyncio.sleep(0.01)
        assert quota.try_reserve() is not None

    async def test_a_waiter_is_served_by_a_further_probe(self) -> None:
        quota = Quota()
        take(quota)
        began = now()
        await quota.reserve()
        assert now() - began == pytest.approx(1)

    async def test_each_further_probe_waits_twice_as_long(self) -> None:
        quota = Quota()
        went: list[float] = []

        async def one() -> None:
            await quota.reserve()
            went.append(now())

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(one())
        assert went == pytest.approx([0, 1, 3, 7, 15])

    async def test_probes_never_exceed_the_last_limit(self) -> None:
        quota = known(1, reset=10, limit=2)
        await until(11)
        take(quota)
        await until(12)
        take(quota)
        await until(600)
        assert quota.try_reserve() is None
        waiting = await start(quota.reserve())
        await until(1200)
        assert not waiting.done()
        waiting.cancel()

    async def test_the_first_answer_opens_the_window_for_all(self) -> None:
        quota = Quota()
        stalled = take(quota)
        await asyncio.sleep(1)
        take(quota).learn(headers(9))
        assert len(take_all(quota)) == 8
        stalled.lost()
        assert quota.try_reserve() is None


class TestKnown:
    async def test_requests_go_while_fewer_are_in_flight_than_are_left(self) -> None:
        quota = known(3)
        assert len(take_all(quota)) == 3

    async def test_the_smallest_remaining_counts_however_late_it_comes(self) -> None:
        quota = known(10)
        first, second, third = (take(quota) for _ in range(3))
        third.learn(headers(7))
        second.learn(headers(8))
        first.learn(headers(9))
        assert len(take_all(quota)) == 7

    async def test_an_answer_that_overtakes_earlier_ones_counts_them_once(self) -> None:
        quota = known(10)
        first, second, third = (take(quota) for _ in range(3))
        third.learn(headers(7))
        assert len(take_all(quota)) == 5
        first.learn(headers(9))
        second.learn(headers(8))
        assert len(take_all(quota)) == 2

    async def test_requests_of_another_application_are_learned_with_the_next_answer(self) -> None:
        quota = known(100)
        take(quota).learn(headers(3))
        assert len(take_all(quota)) == 3

    async def test_a_higher_remaining_does_not_count_before_the_reset(self) -> None:
        quota = known(3)
        take(quota).learn(headers(99))
        assert len(take_all(quota)) == 3

    async def test_a_lost_answer_counts_as_spent(self) -> None:
        quota = known(10)
        take(quota).lost()
        assert len(take_all(quota)) == 9

    async def test_a_loss_is_not_counted_twice_if_a_later_request_s_answer_includes_it(
        self,
    ) -> None:
        quota = known(10)
        take(quota).lost()
        take(quota).learn(headers(8))
        assert len(take_all(quota)) == 8

    async def test_a_loss_stays_counted_beside_answers_to_earlier_requests(self) -> None:
        quota = known(10)
        lost, answered = take(quota), take(quota)
        lost.lost()
        answered.learn(headers(9))
        assert len(take_all(quota)) == 8

    async def test_an_unsent_request_is_given_back(self) -> None:
        quota = known(1)
        last = take(quota)
        assert quota.try_reserve() is None
        last.give_back()
        assert quota.try_reserve() is not None

    async def test_an_answer_without_headers_counts_as_spent(self) -> None:
        quota = known(10)
        take(quota).learn(headers())
        assert len(take_all(quota)) == 9

    async def test_only_the_first_settlement_counts(self) -> None:
        quota = known(10)
        request = take(quota)
        request.give_back()
        request.lost()
        request.learn(headers(1))
        request.refused(1000)
        request.give_back()
        assert len(take_all(quota)) == 10


class TestUsedUp:
    async def test_exhausted_for_gives_the_wait(self) -> None:
        quota = used_up(1800)
        assert quota.exhausted_for() == 1801
        await asyncio.sleep(1000)
        assert quota.exhausted_for() == 801

    async def test_no_request_goes_and_none_waits(self) -> None:
        quota = used_up()
        assert quota.try_reserve() is None
        assert await quota.reserve() is None

    async def test_a_window_is_not_used_up_while_a_request_may_be_given_back(self) -> None:
        quota = known(1)
        take(quota)
        assert quota.exhausted_for() is None

    async def test_the_last_request_given_back_goes_to_the_first_waiter(self) -> None:
        quota = known(1)
        last = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        last.give_back()
        await settled()
        assert [task.done() for task in waiting] == [True, False]
        again = waiting[0].result()
        assert again is not None
        again.learn(headers(0))
        assert await waiting[1] is None

    async def test_all_waiters_are_sent_away_once_the_window_is_used_up(self) -> None:
        quota = known(2)
        first, second = take(quota), take(quota)
        waiting = [await start(quota.reserve()) for _ in range(3)]
        second.learn(headers(0))
        await settled()
        assert [task.result() for task in waiting] == [None] * 3
        assert quota.exhausted_for() == 1801
        first.learn(headers(1))
        assert quota.exhausted_for() == 1801

    async def test_a_loss_can_use_up_the_window(self) -> None:
        quota = known(1)
        last = take(quota)
        waiting = await start(quota.reserve())
        last.lost()
        assert await waiting is None

    async def test_after_the_given_wait_the_window_has_been_reset(self) -> None:
        for reset in (1, 7, 3599):
            quota = known(0, reset)
            await asyncio.sleep(0.1)
            wait = quota.exhausted_for()
            assert wait is not None
            await asyncio.sleep(wait)
            assert quota.exhausted_for() is None

    async def test_a_timer_that_fires_a_hair_early_is_early_enough(self) -> None:
        quota = used_up(10)
        await asyncio.sleep(11 - 1e-6)
        assert quota.exhausted_for() is None


class TestReset:
    async def test_a_window_is_unknown_again_a_second_after_its_reset(self) -> None:
        quota = known(50, reset=1800)
        await until(1800.9)
        assert len(take_all(quota, 2)) == 2
        await until(1801)
        assert len(take_all(quota)) == 1

    async def test_the_earliest_stated_end_counts(self) -> None:
        quota = known(50, reset=1790)
        slow, quick = take(quota), take(quota)
        await until(10)
        quick.learn(headers(48, 1780))
        slow.learn(headers(49, 1790))
        await until(1790.9)
        assert len(take_all(quota, 2)) == 2
        await until(1791)
        assert len(take_all(quota)) == 1

    async def test_an_answer_without_reset_leaves_the_end_as_it_is(self) -> None:
        quota = known(1, reset=1800)
        await until(100)
        take(quota).learn(headers(0, None))
        assert quota.exhausted_for() == 1701

    async def test_waiters_are_served_at_the_reset(self) -> None:
        quota = known(1, reset=5)
        take(quota)
        went: list[float] = []

        async def one() -> None:
            await quota.reserve()
            went.append(now())

        async with asyncio.TaskGroup() as group:
            group.create_task(one())
            group.create_task(one())
        assert went == pytest.approx([6, 7])

    async def test_requests_in_flight_from_before_the_reset_still_count(self) -> None:
        quota = known(10, reset=5)
        take_all(quota, 4)
        await until(6)
        take(quota).learn(headers(9))
        assert len(take_all(quota)) == 5

    async def test_a_late_answer_does_not_open_the_new_window(self) -> None:
        quota = known(10, reset=5)
        late = take(quota)
        await until(6)
        probe = take(quota)
        late.learn(headers(2, 3))
        assert quota.try_reserve() is None
        probe.learn(headers(99))
        assert len(take_all(quota)) == 99

    async def test_a_late_answer_without_reset_does_not_open_the_new_window(self) -> None:
        quota = known(10, reset=5)
        late = take(quota)
        await until(6)
        take(quota).learn(headers(99))
        late.learn(headers(2, None))
        assert len(take_all(quota)) == 99

    async def test_a_late_answer_opens_the_new_window_if_its_reset_proves_it_was_counted_there(
        self,
    ) -> None:
        quota = known(10, reset=5)
        first, second = take(quota), take(quota)
        await until(6)
        probe = take(quota)
        first.learn(headers(97, 3597))
        assert len(take_all(quota)) == 95
        second.learn(headers(98, 3597))
        probe.learn(headers(99, 3597))
        assert len(take_all(quota)) == 2

    async def test_a_late_answer_without_headers_counts_as_spent(self) -> None:
        quota = known(10, reset=5)
        late = take(quota)
        await until(6)
        probe = take(quota)
        late.learn(headers())
        assert quota.try_reserve() is None
        probe.learn(headers(99))
        assert len(take_all(quota)) == 98

    async def test_an_answer_from_the_next_window_lowers_the_number_at_once(self) -> None:
        quota = known(10, reset=1)
        request = take(quota)
        await until(1.5)
        request.learn(headers(3, 3600))
        assert len(take_all(quota)) == 3

    async def test_an_answer_from_the_next_window_is_known_after_the_reset(self) -> None:
        quota = known(10, reset=1)
        await until(1.5)
        first, second, third = (take(quota) for _ in range(3))
        second.learn(headers(1, 3600))
        first.learn(headers(2, 3600))
        third.lost()
        assert quota.exhausted_for() == pytest.approx(0.5)
        await until(3)
        assert quota.exhausted_for() == pytest.approx(3599.5)

    async def test_a_reset_that_is_rounded_up_proves_nothing(self) -> None:
        quota = known(10, reset=5)
        await until(0.5)
        late = take(quota)
        await until(6)
        take(quota).learn(headers(99))
        late.learn(headers(2, 6))
        assert len(take_all(quota)) == 99

    async def test_the_earliest_end_of_the_next_window_counts(self) -> None:
        quota = known(10, reset=1)
        await until(1.1)
        first, second = take(quota), take(quota)
        await until(1.2)
        second.learn(headers(0, 3598))
        await until(1.9)
        first.learn(headers(1, 3598))
        await until(3)
        assert quota.exhausted_for() == pytest.approx(1.2 + 3599 - 3)

    async def test_knowledge_of_the_next_window_ends_with_that_window(
        self,
    ) -> None:
        quota = known(10, reset=1)
        await until(1.5)
        take(quota).learn(headers(0, 3600))
        await until(2 * 3600)
        assert quota.exhausted_for() is None
        assert len(take_all(quota)) == 1

    async def test_a_probe_that_is_still_in_flight_does_not_hold_up_the_next_window(self) -> None:
        quota = Quota()
        take(quota)
        await until(1)
        take(quota).learn(headers(9, 5, limit=1))
        await until(7)
        assert len(take_all(quota)) == 1

    async def test_a_request_that_is_never_settled_is_forgotten_after_two_resets(self) -> None:
        quota = known(10, reset=5)
        abandoned = take(quota)
        for window in range(2):
            await until(6 + window * 10)
            probe = take(quota)
            probe.learn(headers(10, 9))
            assert quota.in_use is (window == 0)
        assert len(take_all(quota)) == 10
        abandoned.give_back()
        assert quota.try_reserve() is None


class TestUnlimited:
    async def test_a_probe_without_headers_lets_everything_go(self) -> None:
        quota = Quota()
        waiting_for = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(3)]
        waiting_for.learn(headers())
        await settled()
        assert all(task.done() for task in waiting)
        assert len(take_all(quota, 500)) == 500

    async def test_a_loss_changes_nothing(self) -> None:
        quota = Quota()
        take(quota).learn(headers())
        take(quota).lost()
        assert len(take_all(quota, 500)) == 500

    async def test_an_answer_with_headers_ends_it(self) -> None:
        quota = Quota()
        take(quota).learn(headers())
        take(quota).learn(headers(5))
        assert len(take_all(quota)) == 5
        await until(1801)
        assert len(take_all(quota)) == 1

    async def test_an_answer_with_some_headers_ends_it(self) -> None:
        quota = Quota()
        take(quota).learn(headers())
        take(quota).learn(headers(0, None))
        assert quota.exhausted_for() == 61

    async def test_a_refusal_ends_it(self) -> None:
        quota = Quota()
        take(quota).learn(headers())
        take(quota).refused(30)
        assert quota.exhausted_for() == 31

    async def test_it_lasts_for_hours(self) -> None:
        quota = Quota()
        take(quota).learn(headers(None, 10))
        await until(10**6)
        assert len(take_all(quota, 500)) == 500


class TestRefused:
    async def test_it_is_used_up_whatever_was_known(self) -> None:
        quota = known(50)
        take(quota).refused(600)
        assert quota.exhausted_for() == 601

    async def test_a_refused_probe_sends_all_waiters_away(self) -> None:
        quota = Quota()
        probe = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        probe.refused(600)
        await settled()
        assert [task.result() for task in waiting] == [None, None]

    async def test_no_later_answer_lifts_a_refusal(self) -> None:
        quota = known(50)
        refused, answered = take(quota), take(quota)
        refused.refused(600)
        answered.learn(headers(48, 10))
        assert quota.exhausted_for() == 601

    async def test_no_later_refusal_shortens_the_wait(self) -> None:
        quota = known(50)
        first, second = take(quota), take(quota)
        first.refused(600)
        second.refused(5)
        assert quota.exhausted_for() == 601
        await until(20)
        assert quota.exhausted_for() == 581

    async def test_a_later_refusal_can_lengthen_the_wait(self) -> None:
        quota = known(50)
        first, second = take(quota), take(quota)
        first.refused(5)
        second.refused(600)
        assert quota.exhausted_for() == 601

    async def test_the_end_stated_by_a_refusal_counts_before_the_window_s(self) -> None:
        quota = known(50, reset=1800)
        take(quota).refused(10)
        await until(11)
        assert len(take_all(quota)) == 1

    async def test_a_refusal_from_before_the_reset_counts_too(self) -> None:
        quota = known(50, reset=5)
        late = take(quota)
        await until(6)
        late.refused(600)
        assert quota.exhausted_for() == 601

    @pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf, -1, 86_401, 1e300])
    async def test_an_invalid_reset_counts_as_a_minute(self, nonsense: float) -> None:
        quota = Quota()
        take(quota).refused(nonsense)
        assert quota.exhausted_for() == 61

    async def test_a_reset_right_now_still_gets_the_margin(self) -> None:
        quota = Quota()
        take(quota).refused(0)
        assert quota.exhausted_for() == 1


GARBLED = ["", "-1", "+5", "5.0", "1e3", "0x10", "nan", "inf", "five", "１２", "5, 6", "9" * 5000]


class TestGarbledHeaders:
    @pytest.mark.parametrize("text", GARBLED)
    async def test_remaining_counts_as_missing(self, text: str) -> None:
        quota = known(10)
        take(quota).learn(headers(text))
        assert len(take_all(quota)) == 9

    @pytest.mark.parametrize("text", GARBLED)
    async def test_remaining_of_a_probe_counts_as_missing(self, text: str) -> None:
        quota = Quota()
        take(quota).learn(headers(text))
        assert len(take_all(quota, 500)) == 500

    @pytest.mark.parametrize("text", [*GARBLED, "86401", "1795435200"])
    async def test_reset_of_a_new_window_is_taken_as_a_minute(self, text: str) -> None:
        quota = Quota()
        take(quota).learn(headers(0, text))
        assert quota.exhausted_for() == 61

    @pytest.mark.parametrize("text", [*GARBLED, "86401", "1795435200"])
    async def test_reset_of_a_known_window_leaves_its_end(self, text: str) -> None:
        quota = known(1, reset=1800)
        take(quota).learn(headers(0, text))
        assert quota.exhausted_for() == 1801

    @pytest.mark.parametrize("text", GARBLED)
    async def test_limit_stays_what_it_was(self, text: str) -> None:
        quota = known(10, limit=100)
        take(quota).learn(headers(9, limit=text))
        assert quota.limit == 100

    async def test_blanks_around_a_number_do_not_matter(self) -> None:
        quota = Quota()
        take(quota).learn(headers(" 0", "10\t"))
        assert quota.exhausted_for() == 11

    async def test_a_day_is_the_longest_valid_reset(self) -> None:
        assert used_up(86_400).exhausted_for() == 86_401

    async def test_a_reset_right_now_still_gets_the_margin(self) -> None:
        assert used_up(0).exhausted_for() == 1

    def test_no_text_ever_does_harm(self) -> None:
        texts = st.none() | st.text(max_size=30) | st.integers(-10, 10**6).map(str)

        @given(st.lists(st.tuples(texts, texts, texts), max_size=5))
        @example([("9" * 5000,) * 3])
        def never(answers: list[tuple[str | None, str | None, str | None]]) -> None:
            async def play() -> None:
                quota = Quota()
                for remaining, reset, limit in answers:
                    wait = quota.exhausted_for()
                    assert wait is None or 0 < wait <= 86_401
                    await asyncio.sleep(wait or 0)
                    take(quota).learn(headers(remaining, reset, limit))

            with asyncio.Runner(loop_factory=JumpingLoop) as runner:
                runner.run(play())

        never()


class TestWaiters:
    async def test_the_first_waiter_goes_first(self) -> None:
        quota = known(1)
        last = take(quota)
        order: list[int] = []

        async def one(number: int) -> None:
            reservation = await quota.reserve()
            assert reservation is not None
            order.append(number)
            reservation.give_back()

        waiting = [await start(one(number)) for number in range(4)]
        last.give_back()
        await asyncio.gather(*waiting)
        assert order == [0, 1, 2, 3]

    async def test_no_request_passes_the_waiters(self) -> None:
        quota = known(5, reset=5)
        take_all(quota)
        waiting = await start(quota.reserve())
        await until(6 - 0.0005)
        assert quota.try_reserve() is None
        assert await waiting is not None

    async def test_a_waiter_that_left_is_skipped(self) -> None:
        quota = known(1)
        last = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(3)]
        waiting[0].cancel()
        last.give_back()
        await settled()
        assert [task.done() for task in waiting] == [True, True, False]
        assert waiting[0].cancelled()

    async def test_a_waiter_cancelled_while_served_gives_its_request_back(self) -> None:
        quota = known(1)
        last = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        last.give_back()
        waiting[0].cancel()
        await settled()
        assert waiting[0].cancelled()
        assert waiting[1].result() is not None

    async def test_a_waiter_cancelled_while_served_as_probe_lets_another_probe_go(self) -> None:
        quota = Quota()
        probe = take(quota)
        waiting = [await start(quota.reserve()) for _ in range(2)]
        probe.lost()
        waiting[0].cancel()
        await settled()
        assert waiting[0].cancelled()
        assert waiting[1].result() is not None

    async def test_a_waiter_cancelled_while_sent_away_takes_nothing(self) -> None:
        quota = known(1)
        last = take(quota)
        waiting = await start(quota.reserve())
        last.learn(headers(0))
        waiting.cancel()
        await settled()
        assert waiting.cancelled()
        assert not quota.in_use

    async def test_a_closed_coroutine_leaves_the_queue(self) -> None:
        quota = known(1)
        last = take(quota)
        closed = quota.reserve()
        closed.send(None)
        closed.close()
        last.give_back()
        assert quota.try_reserve() is not None

    async def test_a_waiter_at_its_deadline_leaves_the_queue(self) -> None:
        quota = known(1)
        last = take(quota)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await quota.reserve()
        last.give_back()
        assert quota.try_reserve() is not None

    async def test_an_empty_queue_leaves_no_timer(self) -> None:
        quota = known(1)
        take(quota)
        waiting = await start(quota.reserve())
        assert quota._timer is not None
        waiting.cancel()
        await settled()
        assert quota._timer is None

    async def test_many_waiters_are_served_and_sent_away_at_once(self) -> None:
        crowd = 20_000
        quota = Quota()
        probe = take(quota)
        waiting = [asyncio.ensure_future(quota.reserve()) for _ in range(crowd)]
        await settled()
        for task in waiting[::2]:
            task.cancel()
        probe.learn(headers(100))
        await settled()
        served = [task for task in waiting[1::2] if task.done()]
        assert len(served) == 100
        for task in served:
            reservation = task.result()
            assert reservation is not None
            reservation.learn(headers(0))
        await settled()
        assert [task.result() for task in waiting[1::2][100:]] == [None] * (crowd // 2 - 100)


class TestBook:
    async def test_a_key_leads_to_its_quota(self) -> None:
        book = QuotaBook()
        assert book.of("one") is book.of("one")
        assert book.of("one") is not book.of("two")

    async def test_a_quota_keeps_what_it_learned(self) -> None:
        book = QuotaBook()
        take(book.of("one")).learn(headers(0))
        gc.collect()
        assert book.of("one").exhausted_for() == 1801

    async def test_it_does_not_grow_beyond_its_capacity(self) -> None:
        book = QuotaBook(capacity=10)
        for key in range(1000):
            book.of(key)
            assert len(book) <= 10

    async def test_the_least_recently_used_quota_is_evicted_first(self) -> None:
        book = QuotaBook(capacity=3)
        for key in ("old", "older", "new"):
            take(book.of(key)).learn(headers(5))
        book.of("old")
        book.of("newest")
        gc.collect()
        assert len(take_all(book.of("old"))) == 5
        assert len(take_all(book.of("older"))) == 1

    async def test_a_quota_that_knows_nothing_is_evicted_before_one_with_requests_left(
        self,
    ) -> None:
        book = QuotaBook(capacity=3)
        take(book.of("left")).learn(headers(5))
        take(book.of("unlimited")).learn(headers())
        take(book.of("turned")).learn(headers(0, 10))
        await until(12)
        book.of("newer")
        book.of("newest")
        gc.collect()
        assert len(take_all(book.of("left"))) == 5

    async def test_a_used_up_quota_is_evicted_last(self) -> None:
        book = QuotaBook(capacity=3)
        take(book.of("used up")).learn(headers(0))
        take(book.of("left")).learn(headers(5))
        take(book.of("newer")).learn(headers(5))
        book.of("newest")
        gc.collect()
        assert book.of("used up").exhausted_for() == 1801
        assert len(take_all(book.of("left"))) == 1

    async def test_a_small_book_evicts_one_quota_at_a_time(self) -> None:
        book = QuotaBook(capacity=1_999)
        for key in range(1_999):
            book.of(key)
        book.of("one more")
        assert len(book) == 1_999

    async def test_a_large_book_evicts_a_thousandth_at_once(self) -> None:
        book = QuotaBook(capacity=2_999)
        for key in range(2_999):
            book.of(key)
        book.of("one more")
        assert len(book) == 2_998

    async def test_a_large_book_evicts_the_cheapest_of_three_times_as_many(self) -> None:
        book = QuotaBook(capacity=2_000)
        for key in range(2_000):
            take(book.of(key)).learn(headers(None if key in {4, 5, 6} else 5, limit=key + 1))
        book.of("one more")
        gc.collect()
        assert [book.of(key).limit for key in (0, 1, 2, 3, 6, 7)] == [1, 2, 3, 4, 7, 8]
        assert [book.of(key).limit for key in (4, 5)] == [None, None]

    async def test_a_quota_in_use_stays_even_beyond_the_capacity(self) -> None:
        book = QuotaBook(capacity=1)
        requests = [take(book.of(key)) for key in range(5)]
        assert len(book) == 5
        for request in requests:
            request.give_back()
        book.of("newest")
        assert len(book) == 1

    async def test_many_quotas_in_use_do_not_prevent_eviction_of_others(self) -> None:
        book = QuotaBook(capacity=10)
        requests = [take(book.of(("in use", number))) for number in range(100)]
        for number in range(500):
            book.of(("idle", number))
        after_500 = len(book)
        for number in range(500, 1_000):
            book.of(("idle", number))
        assert len(book) == after_500 < 150
        assert all(book.of(("in use", number)).in_use for number in range(100))
        assert len(requests) == 100

    async def test_a_quota_in_use_is_not_a_candidate_again_at_once(self) -> None:
        book = QuotaBook(capacity=2_000)
        requests = [take(book.of(key)) for key in range(5)]
        for key in range(5, 2_000):
            book.of(key)
        book.of("one more")
        # Of the six that were asked for longest ago, one was idle; of the next six, all are.
        assert len(book) == 2_000
        book.of("another one")
        assert len(book) == 1_999
        assert len(requests) == 5

    async def test_a_key_leads_to_the_same_quota_while_that_is_referenced(self) -> None:
        book = QuotaBook(capacity=1)
        held = book.of("held")
        book.of("other")
        book.of("another")
        assert book.of("held") is held

    async def test_an_unreferenced_quota_is_freed(self) -> None:
        book = QuotaBook(capacity=1)
        take(book.of("one")).learn(headers(0))
        book.of("other")
        gc.collect()
        assert book.of("one").exhausted_for() is None


class TestToTheLastOne:
    """Boundaries, and counts of more than one."""

    async def test_headers_in_a_plain_dict_are_looked_up_in_lower_case(
        self,
    ) -> None:
        quota = Quota()
        take(quota).learn(
            {
                "x-ratelimit-limit": "9",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1800",
            }
        )
        assert quota.limit == 9
        assert quota.exhausted_for() == 1801

    @pytest.mark.parametrize("text", ["\n5", "5\v", "X5", "5X", "9" * 16])
    async def test_a_limit_that_is_no_whole_number_is_ignored(self, text: str) -> None:
        quota = Quota()
        take(quota).learn({"x-ratelimit-limit": text})
        assert quota.limit is None

    async def test_fifteen_digits_are_still_a_number(self) -> None:
        quota = Quota()
        take(quota).learn({"x-ratelimit-limit": "9" * 15})
        assert quota.limit == 10**15 - 1

    async def test_a_refusal_for_a_whole_day_counts(self) -> None:
        quota = Quota()
        take(quota).refused(86_400)
        assert quota.exhausted_for() == 86_401

    async def test_every_request_lost_meanwhile_is_subtracted(self) -> None:
        quota = known(10)
        slow, *lost = (take(quota) for _ in range(4))
        for reservation in lost:
            reservation.lost()
        slow.learn(headers(9))
        assert len(take_all(quota)) == 6

    async def test_a_loss_counts_once_in_the_window_that_the_server_has_begun(
        self,
    ) -> None:
        start = now()
        quota = known(10, 9)
        first, second = take(quota), take(quota)
        await until(start + 9.5)
        first.learn(headers(5, 3600))
        second.lost()
        await until(start + 10.5)
        assert len(take_all(quota)) == 4

    async def test_a_late_answer_that_may_be_of_the_old_window_is_ignored(self) -> None:
        start = now()
        quota = known(10, 9)
        late = take(quota)
        await until(start + 10.5)
        # Sent at the start, it says that its hour ends from 10 on: ours may have been that one.
        late.learn(headers(5, 11))
        assert len(take_all(quota)) == 1

    async def test_an_answer_that_may_be_of_this_window_says_nothing_of_the_next(self) -> None:
        start = now()
        quota = known(10, 9)
        await until(start + 2)
        take(quota).learn(headers(5, 9))
        await until(start + 10.5)
        assert len(take_all(quota)) == 1

    async def test_probes_and_requests_in_flight_never_exceed_the_limit(
        self,
    ) -> None:
        start = now()
        quota = known(2, 9, limit=2)
        on_their_way = [take(quota), take(quota)]
        await until(start + 10.5)
        take(quota)
        await until(start + 60)
        assert quota.try_reserve() is None
        assert len(on_their_way) == 2
