"""How the limiter sets the number of slots, round by round."""

from __future__ import annotations

import pytest

from ringme_async.bulk.adaptive_limit import AIMDLimiter, CapacityLimit


def limiter_at(level: int, most: int = 256) -> AIMDLimiter:
    return AIMDLimiter(CapacityLimit(level), most)


def play_round(
    limiter: AIMDLimiter,
    *latencies: float | None,
    now: float = 1.0,
    full: bool = True,
    sent: int = 1,
) -> int:
    """End a round of such answers, all sent at this moment, and give the number of slots."""
    for latency in latencies:
        limiter.learn(sent, now, latency)
    limiter.decide(now, full=full)
    return limiter.limit.value


class TestARound:
    @pytest.mark.parametrize(
        ("level", "answers"),
        [(1, 20), (2, 20), (3, 24), (7, 56), (8, 64), (64, 64), (65, 65), (200, 200)],
    )
    def test_is_over_after_so_many_answers(self, level: int, answers: int) -> None:
        limiter = limiter_at(level)

        over = [limiter.learn(1, 0.0, 0.1) for _ in range(answers)]

        assert over == [False] * (answers - 1) + [True]

    def test_counts_what_fails_as_well(self) -> None:
        limiter = limiter_at(8)

        assert [limiter.learn(1, 0.0, None) for _ in range(64)][-2:] == [False, True]

    def test_counts_each_job_once_however_many_requests_it_sent(self) -> None:
        limiter = limiter_at(8)

        assert [limiter.learn(3, 0.0, 0.1) for _ in range(64)][-2:] == [False, True]

    def test_begins_anew_after_the_last(self) -> None:
        limiter = limiter_at(8, most=8)
        play_round(limiter, *[0.1] * 64)

        assert [limiter.learn(1, 0.0, 0.1) for _ in range(64)][-2:] == [False, True]

    def test_does_not_count_what_was_sent_before_the_last_change(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, now=5.0)

        assert not any(limiter.learn(1, 4.9, None) for _ in range(500))
        limiter.decide(6.0, full=False)
        assert limiter.limit.value == 110
        assert [limiter.learn(1, 5.0, 0.1) for _ in range(110)][-2:] == [False, True]

    def test_that_changed_nothing_lets_what_was_sent_before_it_count(self) -> None:
        limiter = limiter_at(8)
        play_round(limiter, *[0.1] * 64, now=5.0, full=False)

        assert [limiter.learn(1, 4.9, 0.1) for _ in range(64)][-1]


class TestTheLevel:
    @pytest.mark.parametrize(("level", "more"), [(1, 2), (8, 10), (16, 20), (100, 110)])
    def test_rises_by_its_square_root_if_all_are_in_use(self, level: int, more: int) -> None:
        assert play_round(limiter_at(level), *[0.1] * 64) == more

    def test_stays_if_not_all_are_in_use(self) -> None:
        assert play_round(limiter_at(16), *[0.1] * 64, full=False) == 16

    def test_never_rises_over_the_most(self) -> None:
        assert play_round(limiter_at(16, most=17), *[0.1] * 64) == 17

    def test_never_falls_below_one(self) -> None:
        assert play_round(limiter_at(1), *[None] * 64) == 1

    def test_is_halved_if_over_a_fifth_fail(self) -> None:
        assert play_round(limiter_at(16), *[None] * 21, *[0.1] * 79) == 8

    def test_is_not_halved_by_a_fifth(self) -> None:
        assert play_round(limiter_at(16), *[None] * 20, *[0.1] * 80) == 20

    def test_is_halved_by_failures_even_if_nothing_was_answered(self) -> None:
        assert play_round(limiter_at(16), *[None] * 64) == 8

    def test_counts_each_repeated_request_as_failed(self) -> None:
        assert play_round(limiter_at(16), *[0.1] * 64, sent=2) == 8

    def test_counts_all_requests_of_a_job_that_failed(self) -> None:
        limiter = limiter_at(16)
        for _ in range(2):
            limiter.learn(10, 1.0, None)
        assert play_round(limiter, *[0.1] * 62) == 8

    def test_counts_failures_of_its_own_round_only(self) -> None:
        limiter = limiter_at(16)
        play_round(limiter, *[None] * 64)

        assert play_round(limiter, *[0.1] * 64, now=2.0) == 10

    def test_is_halved_by_failures_although_it_is_slow_too(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)

        assert play_round(limiter, *[1.0] * 70, *[None] * 30) == 50


class TestLatency:
    def test_over_the_best_one_by_three_in_ten_takes_three_slots_in_ten(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)

        assert play_round(limiter, *[0.135] * 100) == 70

    def test_over_the_best_one_by_less_takes_none(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)

        assert play_round(limiter, *[0.128] * 100) == 110

    def test_is_that_of_the_middle_half(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)

        quarter = [0.1] * 50
        assert play_round(limiter, *[9.0] * 25, *quarter, *[0.001] * 25) == 110

    def test_of_the_middle_half_is_its_mean(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)

        assert play_round(limiter, *[0.1] * 60, *[0.3] * 40) == 70

    def test_of_a_better_round_is_the_best_from_then_on(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)
        play_round(limiter, *[0.05] * 100, full=False)

        assert play_round(limiter, *[0.1] * 100) == 70

    def test_that_is_best_is_forgotten_by_a_hundredth_with_each_round(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)
        for _ in range(5):
            assert play_round(limiter, *[0.128] * 100, full=False) == 100

        assert play_round(limiter, *[0.137] * 100, full=False) == 100
        assert play_round(limiter, *[0.145] * 100, full=False) == 70

    def test_that_one_slot_does_not_bring_back_becomes_the_best(self) -> None:
        limiter = limiter_at(1)
        play_round(limiter, *[0.1] * 64, full=False)

        assert play_round(limiter, *[0.5] * 64) == 2
        assert play_round(limiter, *[0.5] * 64) == 3

    def test_of_a_round_without_answers_says_nothing(self) -> None:
        limiter = limiter_at(100)
        limiter.decide(1.0, full=True)

        assert limiter.limit.value == 110

    def test_of_earlier_rounds_is_not_mixed_in(self) -> None:
        limiter = limiter_at(100)
        play_round(limiter, *[0.1] * 100, full=False)
        play_round(limiter, *[0.2] * 100, full=False)

        assert play_round(limiter, *[0.1] * 100, now=2.0, full=False) == 70
        assert play_round(limiter, *[0.1] * 100, now=2.0) == 78
