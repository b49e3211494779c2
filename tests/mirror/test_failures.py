"""Failures are grouped by kind, with an example of each."""

from __future__ import annotations

from ringme_async import ConnectError, ServerError, TokenError
from ringme_async.mirror import FailureKind
from ringme_async.mirror.failures import FailureCounter


def test_failures_of_one_class_and_status_are_one_kind_with_the_first_as_example() -> None:
    kinds = FailureCounter(
        [
            ServerError("503 Service Unavailable: Come back. Later.", status_code=503),
            ServerError("502 Bad Gateway", status_code=502),
            ServerError("503 Service Unavailable", status_code=503),
        ]
    )
    assert kinds.most_common() == (
        FailureKind(
            error="ServerError",
            status_code=503,
            count=2,
            example="503 Service Unavailable: Come back",
            next_step="",
        ),
        FailureKind(
            error="ServerError", status_code=502, count=1, example="502 Bad Gateway", next_step=""
        ),
    )


def test_a_kind_says_what_to_do_next() -> None:
    (kind,) = FailureCounter(
        [TokenError("no", error="invalid_client", status_code=401)]
    ).most_common()
    assert (kind.error, kind.status_code) == ("TokenError", 401)
    assert kind.next_step == TokenError.advice


def test_the_three_commonest_kinds_are_reported_most_frequent_first() -> None:
    failures = [ServerError("no", status_code=500 + number) for number in range(5)] * 2
    kinds = FailureCounter([*failures, *[ConnectError("no way")] * 3]).most_common()
    assert [(kind.error, kind.status_code, kind.count) for kind in kinds] == [
        ("ConnectError", None, 3),
        ("ServerError", 500, 2),
        ("ServerError", 501, 2),
    ]
