"""RetryBudget: keeps retries from amplifying an outage."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.errors import (
    Busy,
    ConnectError,
    InvalidRequest,
    RingMeError,
    ServerError,
    TransportTimeout,
)
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudget, RetryBudgets

Outcome = Literal["success", "no attempts left", "no budget left"]
TIMEOUT = 0
OK = 200


def error_of(answer: int) -> RingMeError:
    if answer == TIMEOUT:
        return TransportTimeout("too slow")
    return ServerError(str(answer), status_code=answer)


def call(
    budget: RetryBudget, answers: list[int], *, attempts: int = 3, cap: float = 20.0
) -> tuple[Outcome, list[int], list[float]]:
    """Play one call; return its end, the balances after each retry, and the waits."""
    policy = RetryPolicy(attempts=attempts, base=1.0, cap=cap, random=lambda: 1.0)
    balances: list[int] = []
    waits: list[float] = []
    spent: int | None = None
    for tried, answer in enumerate(answers, start=1):
        if answer == OK:
            budget.succeeded(spent)
            return "success", balances, waits
        if tried == policy.attempts:
            return "no attempts left", balances, waits
        spent = budget.withdraw(error_of(answer))
        if spent is None:
            return "no budget left", balances, waits
        balances.append(budget.available)
        waits.append(policy.delay(error_of(answer), retry=tried))
    raise AssertionError("the script ended before the call")


class TestStandardModeOfAws:
    """The cases by which AWS's SDKs are tested for their standard retry mode."""

    def test_a_retry_eventually_succeeds(self) -> None:
        budget = RetryBudget()
        assert call(budget, [500, 500, OK]) == ("success", [495, 490], [1, 2])
        assert budget.available == 495

    def test_it_fails_as_the_attempts_are_used_up(self) -> None:
        budget = RetryBudget()
        assert call(budget, [502, 502, 502]) == ("no attempts left", [495, 490], [1, 2])
        assert budget.available == 490

    def test_the_budget_is_reached_after_a_single_retry(self) -> None:
        budget = RetryBudget()
        budget.available = 5
        assert call(budget, [500, 502]) == ("no budget left", [0], [1])
        assert budget.available == 0

    def test_no_retries_at_all_if_the_budget_is_empty(self) -> None:
        budget = RetryBudget()
        budget.available = 0
        assert call(budget, [500]) == ("no budget left", [], [])
        assert budget.available == 0

    def test_the_waits_grow(self) -> None:
        budget = RetryBudget()
        ended = call(budget, [500] * 5, attempts=5)
        assert ended == ("no attempts left", [495, 490, 485, 480], [1, 2, 4, 8])

    def test_the_waits_stop_growing_at_the_cap(self) -> None:
        budget = RetryBudget()
        ended = call(budget, [500] * 5, attempts=5, cap=3)
        assert ended == ("no attempts left", [495, 490, 485, 480], [1, 2, 3, 3])

    def test_retries_stop_when_the_budget_is_used_up(self) -> None:
        budget = RetryBudget(capacity=10)
        assert call(budget, [500, 502, 503], attempts=5) == ("no budget left", [5, 0], [1, 2])
        assert budget.available == 0

    def test_the_budget_recovers_with_successes(self) -> None:
        budget = RetryBudget(capacity=15)
        call(budget, [500, 502, OK], attempts=5)
        assert budget.available == 10
        call(budget, [500, OK], attempts=5)
        assert budget.available == 10

    def test_calls_side_by_side_share_the_budget(self) -> None:
        budget = RetryBudget()
        first = [budget.withdraw(error_of(500)) for _ in range(2)]
        second = budget.withdraw(error_of(500))
        budget.succeeded(first[-1])
        budget.succeeded(second)
        assert budget.available == 495

    def test_a_retry_after_a_timeout_costs_twice_as_much(self) -> None:
        budget = RetryBudget()
        assert call(budget, [TIMEOUT, TIMEOUT, OK])[1] == [490, 480]
        assert budget.available == 490


class TestWithdraw:
    @pytest.mark.parametrize(
        ("error", "cost"),
        [
            (TransportTimeout("too slow"), 10),
            (TransportTimeout("too slow to connect", sent=False), 10),
            (ConnectError("refused"), 5),
            (ServerError("504", status_code=504), 5),
            (Busy("busy"), 5),
        ],
    )
    def test_returns_the_cost(self, error: RingMeError, cost: int) -> None:
        assert RetryBudget().withdraw(error) == cost

    def test_takes_nothing_if_the_balance_is_too_low(self) -> None:
        budget = RetryBudget(capacity=9)
        assert budget.withdraw(TransportTimeout("too slow")) is None
        assert budget.available == 9
        assert budget.withdraw(ConnectError("refused")) == 5

    def test_may_take_the_whole_balance(self) -> None:
        budget = RetryBudget(capacity=5)
        assert budget.withdraw(ConnectError("refused")) == 5
        assert budget.withdraw(ConnectError("refused")) is None

    def test_pays_for_no_retry_at_an_unknown_host_that_never_answered(self) -> None:
        budget = RetryBudget()
        unresolved = ConnectError("no such host", kind="unresolved")

        assert budget.withdraw(unresolved) is None
        assert budget.available == 500
        assert budget.withdraw(ConnectError("no", kind="refused")) == 5

        budget.succeeded(None)
        assert budget.withdraw(unresolved) == 5


class TestGiveBack:
    def test_undoes_a_withdrawal(self) -> None:
        budget = RetryBudget()
        budget.give_back(budget.withdraw(TransportTimeout("too slow")) or 0)
        assert budget.available == budget.capacity

    def test_never_overfills(self) -> None:
        budget = RetryBudget(capacity=10)
        price = budget.withdraw(ConnectError("refused")) or 0
        budget.succeeded(7)
        budget.give_back(price)
        assert budget.available == 10


class TestSucceeded:
    def test_at_first_try_deposits_one(self) -> None:
        budget = RetryBudget()
        budget.available = 7
        budget.succeeded(None)
        assert budget.available == 8

    def test_returns_the_cost_of_the_last_retry(self) -> None:
        budget = RetryBudget()
        budget.available = 7
        budget.succeeded(10)
        assert budget.available == 17

    def test_returns_nothing_for_a_free_retry(self) -> None:
        budget = RetryBudget(cost=0)
        spent = budget.withdraw(ConnectError("refused"))
        budget.available = 7
        budget.succeeded(spent)
        assert (spent, budget.available) == (0, 7)

    def test_never_overfills(self) -> None:
        budget = RetryBudget(capacity=3)
        budget.succeeded(None)
        budget.succeeded(10)
        assert budget.available == 3


class TestValidation:
    def test_the_defaults_are_the_numbers_of_the_standard_mode(self) -> None:
        budget = RetryBudget()
        assert (budget.capacity, budget.available, budget.cost) == (500, 500, 5)
        assert (budget.timeout_cost, budget.first_try_reward) == (10, 1)

    @pytest.mark.parametrize("name", ["capacity", "cost", "timeout_cost", "first_try_reward"])
    @pytest.mark.parametrize("value", [-1, True, 1.5, "5", None, float("nan")])
    def test_all_are_whole_numbers_from_0(self, name: str, value: object) -> None:
        with pytest.raises(InvalidRequest, match=name):
            RetryBudget(**{name: value})  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["capacity", "cost", "timeout_cost", "first_try_reward"])
    def test_the_rules_cannot_be_changed_later(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(RetryBudget(), name, 1)


@given(
    capacity=st.integers(0, 50),
    script=st.lists(st.lists(st.sampled_from([500, 503, TIMEOUT]), max_size=5), max_size=30),
)
def test_the_balance_is_never_negative_or_above_capacity(
    capacity: int, script: list[list[int]]
) -> None:
    budget = RetryBudget(capacity=capacity)
    for failures in script:
        call(budget, [*failures, OK], attempts=10)
        assert 0 <= budget.available <= capacity


@given(calls=st.integers(100, 200), attempts=st.integers(2, 10))
def test_in_an_outage_the_retries_stop_after_a_hundred(calls: int, attempts: int) -> None:
    budget = RetryBudget()
    retries = sum(len(call(budget, [503] * attempts, attempts=attempts)[1]) for _ in range(calls))
    assert retries == 100


def test_each_origin_has_one_budget_of_its_own() -> None:
    budgets = RetryBudgets()
    sick = budgets.of("https://sick.example.com")
    while sick.withdraw(error_of(500)) is not None:
        pass
    assert budgets.of("https://sick.example.com") is sick
    assert budgets.of("https://well.example.com").available == RetryBudget().available
