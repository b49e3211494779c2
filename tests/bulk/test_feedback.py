"""What the end of a job says: of its host, of the slots, and whether it was slow."""

from __future__ import annotations

import pytest

from ringme_async import errors
from ringme_async.bulk.feedback import Evidence, Feedback, HostSign, LatencyTracker, evidence_of
from ringme_async.errors import (
    ClientNotFound,
    ConnectError,
    DeadlineExceeded,
    InvalidRequest,
    ResponseTooLarge,
    RingMeError,
    ServerError,
    TokenError,
)

ANSWERED = ("SUCCESS", "UP")
SILENT = ("OVERLOAD", "DOWN")

EXPECTED = {
    "RingMeError": ANSWERED,
    "InvalidRequest": ("NEUTRAL", "UNKNOWN"),
    "TransportError": SILENT,
    "ConnectError": SILENT,
    "CertificateError": ("OVERLOAD", "UP"),
    "TransportTimeout": SILENT,
    "ResponseLost": SILENT,
    "ResponseTooLarge": ("OVERLOAD", "UP"),
    "DecodeError": ANSWERED,
    "WrongRecord": ANSWERED,
    "ApiError": ANSWERED,
    "BadRequest": ANSWERED,
    "Unauthorized": ANSWERED,
    "Forbidden": ANSWERED,
    "AccessDenied": ANSWERED,
    "UserBlocked": ANSWERED,
    "UserAccessTypeDenied": ANSWERED,
    "AppAccessTypeDenied": ANSWERED,
    "NotFound": ANSWERED,
    "ClientNotFound": ANSWERED,
    "RateLimited": ANSWERED,
    "Busy": ("NEUTRAL", "UP"),
    "ServerError": ("NEUTRAL", "DOWN"),
    "TokenError": ANSWERED,
    "DeadlineExceeded": ("OVERLOAD", "UNKNOWN"),
    "RingMeClosed": ANSWERED,
    "Conflict": ANSWERED,
    "NotApplied": ANSWERED,
}

ERROR_CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RingMeError)
]


def in_words(evidence: Evidence) -> tuple[str, str]:
    return (evidence.feedback.name, evidence.host.name)


def test_every_error_class_of_the_package_is_classified() -> None:
    assert sorted(EXPECTED) == sorted(kind.__name__ for kind in ERROR_CLASSES)


@pytest.mark.parametrize("kind", ERROR_CLASSES)
def test_an_error_says_what_its_class_says(kind: type[RingMeError]) -> None:
    assert in_words(evidence_of(kind("failed"))) == EXPECTED[kind.__name__]


def test_an_error_of_a_users_own_counts_as_its_nearest_base_class() -> None:
    class Maintenance(ServerError):
        pass

    assert evidence_of(Maintenance("503")) == evidence_of(ServerError("503"))


@pytest.mark.parametrize(
    ("cause", "attempts", "host"),
    [
        (None, 0, HostSign.UNKNOWN),
        (None, 1, HostSign.DOWN),
        (ConnectError("refused"), 0, HostSign.DOWN),
        (ResponseTooLarge("a gigabyte"), 1, HostSign.DOWN),
        (ServerError("503"), 1, HostSign.DOWN),
        (ClientNotFound("404"), 1, HostSign.UNKNOWN),
        (TokenError("refused"), 1, HostSign.UNKNOWN),
        (InvalidRequest("malformed"), 1, HostSign.UNKNOWN),
        (TimeoutError(), 1, HostSign.UNKNOWN),
    ],
    ids=repr,
)
def test_a_deadline_blames_the_host_only_for_its_silence_or_its_own_error(
    cause: BaseException | None, attempts: int, host: HostSign
) -> None:
    error = DeadlineExceeded("too late", attempts=attempts)
    error.__cause__ = cause

    assert evidence_of(error) == Evidence(Feedback.OVERLOAD, host)


def tracker_after(*seconds: float) -> LatencyTracker:
    latencies = LatencyTracker()
    for taken in seconds:
        latencies.is_slow(taken)
    return latencies


class TestAJob:
    def test_is_not_slow_if_it_is_the_first(self) -> None:
        assert not LatencyTracker().is_slow(1000.0)

    @pytest.mark.parametrize(("seconds", "slow"), [(4.0, False), (4.01, True)])
    def test_is_slow_over_eight_times_what_is_usual(self, seconds: float, slow: bool) -> None:
        assert tracker_after(0.5).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(1.0, False), (1.01, True)])
    def test_is_not_slow_within_a_second(self, seconds: float, slow: bool) -> None:
        assert tracker_after(0.01).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(17.99, False), (18.01, True)])
    def test_moves_what_is_usual_by_a_thirty_second(self, seconds: float, slow: bool) -> None:
        assert tracker_after(2.0, 10.0).is_slow(seconds) is slow

    @pytest.mark.parametrize(("seconds", "slow"), [(4.87, False), (4.88, True)])
    def test_that_is_slow_counts_no_more_than_the_slowest_usual_one(
        self, seconds: float, slow: bool
    ) -> None:
        assert tracker_after(0.5, 1000.0).is_slow(seconds) is slow
