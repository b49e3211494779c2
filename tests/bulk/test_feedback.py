"""What the end of a job says: whether more may go, and whether it was slow."""

from __future__ import annotations

import pytest

from ringme_async.bulk.feedback import Feedback, LatencyTracker, feedback_on
from ringme_async.errors import (
    Busy,
    ClientNotFound,
    ConnectError,
    DeadlineExceeded,
    InvalidRequest,
    RingMeError,
    ServerError,
)


@pytest.mark.parametrize(
    ("error", "feedback"),
    [
        (ClientNotFound("404"), Feedback.SUCCESS),
        (InvalidRequest("malformed"), Feedback.NEUTRAL),
        (Busy("wait"), Feedback.NEUTRAL),
        (ServerError("503"), Feedback.NEUTRAL),
        (ConnectError("refused"), Feedback.OVERLOAD),
        (DeadlineExceeded("too late"), Feedback.OVERLOAD),
    ],
    ids=repr,
)
def test_only_an_answer_lets_more_go(error: RingMeError, feedback: Feedback) -> None:
    assert feedback_on(error) is feedback


def tempo_after(*seconds: float) -> LatencyTracker:
    latencies = LatencyTracker()
    for taken in seconds:
        latencies.is_slow(taken)
    return latencies


class TestAJob:
    def test_is_not_slow_if_it_is_the_first(self) -> None:
        assert not LatencyTracker().is_slow(1000.0)

    @pytest.mark.parametrize(("seconds", "slow"), [(4.0, False), (4.01, True)])
    def test_is_slow_over_eight_times_what_is_usual(self, seconds: float, slow: bool) -> None:
        assert tempo_after(0.5).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(1.0, False), (1.01, True)])
    def test_is_not_slow_within_a_second(self, seconds: float, slow: bool) -> None:
        assert tempo_after(0.01).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(17.99, False), (18.01, True)])
    def test_moves_what_is_usual_by_a_thirty_second(self, seconds: float, slow: bool) -> None:
        assert tempo_after(2.0, 10.0).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(4.87, False), (4.88, True)])
    def test_that_is_slow_counts_no_more_than_one_that_is_just_not(
        self, seconds: float, slow: bool
    ) -> None:
        assert tempo_after(0.5, 1000.0).is_slow(seconds) is slow
