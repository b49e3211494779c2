"""The retry budget: successes pay for retries, for each origin by itself."""

from __future__ import annotations

import attrs
from attrs import define, field

from ringme_async._internal.validation import WholeNumber
from ringme_async.errors import (
    ConnectError,
    TransportTimeout,
)

__all__ = ["RetryBudget", "RetryBudgets"]


@define
class RetryBudget:
    """Keeps the retries against one origin from amplifying its brown-out.

    A purse, full at first, pays for every retry. It pays before the pause, so that it never
    promises more than it holds, and gets the price back if the retry is not sent. While most calls
    succeed it stays full. Once too many fail it is empty, and calls fail with the error they have.
    The rules and numbers are those of the standard retry mode of AWS's SDKs.

    Args:
        capacity: The most the purse holds. Default 500.
        cost: What a retry costs. Default 5.
        timeout_cost: What a retry after a time-out costs. Default 10.
        first_try_reward: What a success at first try puts in. Default 1.

    Attributes:
        available: What the purse holds now.
        has_answered: Whether a call or a login at this origin has succeeded.

    Raises:
        InvalidRequest: An argument is out of its range; the message names it.
    """

    capacity: int = field(default=500, validator=WholeNumber(0), on_setattr=attrs.setters.frozen)
    cost: int = field(default=5, validator=WholeNumber(0), on_setattr=attrs.setters.frozen)
    timeout_cost: int = field(default=10, validator=WholeNumber(0), on_setattr=attrs.setters.frozen)
    first_try_reward: int = field(
        default=1, validator=WholeNumber(0), on_setattr=attrs.setters.frozen
    )
    available: int = field(init=False)
    has_answered: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.available = self.capacity

    def withdraw(self, error: BaseException) -> int | None:
        """Pay for the retry after ``error``.

        Returns:
            What it cost, to be handed to ``succeeded``; None if the purse does not hold that
            much, or the host's name is unknown and always was. Nothing was taken then, and the
            retry must not be made.
        """
        if isinstance(error, ConnectError) and error.kind == "unresolved" and not self.has_answered:
            return None
        price = self.timeout_cost if isinstance(error, TransportTimeout) else self.cost
        if price > self.available:
            return None
        self.available -= price
        return price

    def give_back(self, price: int) -> None:
        """Put back what ``withdraw`` took for a retry that was not sent."""
        self.available = min(self.capacity, self.available + price)

    def succeeded(self, spent: int | None) -> None:
        """Put something back because a call succeeded.

        Args:
            spent: What the call's last retry cost; None if there was no retry.
        """
        if not self.has_answered:
            self.has_answered = True
        if self.available < self.capacity:
            earned = self.first_try_reward if spent is None else spent
            self.available = min(self.capacity, self.available + earned)


@define(eq=False)
class RetryBudgets:
    """The retry budgets of all origins: one sick host cannot silence the others."""

    _budgets: dict[str, RetryBudget] = field(factory=dict[str, RetryBudget], init=False)

    def of(self, origin: str) -> RetryBudget:
        """Give the budget of an origin, which its calls and its logins share."""
        budget = self._budgets.get(origin)
        if budget is None:
            budget = self._budgets[origin] = RetryBudget()
        return budget
