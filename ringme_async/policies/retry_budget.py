"""The retry budget of each origin: successful calls pay for retries."""

from __future__ import annotations

import attrs
from attrs import define, field

from ringme_async._internal.validation import WholeNumber
from ringme_async.errors import ConnectError, TransportTimeout

__all__ = ["RetryBudget", "RetryBudgets"]


@define
class RetryBudget:
    """Keeps retries from amplifying an outage of one origin.

    The budget is full at first, and every retry withdraws its cost before the back-off. A retry
    that is not sent gives its cost back. While most calls succeed, the budget stays full. Once it
    is empty, calls fail with the error of their last attempt. The rules and numbers are those of
    the standard retry mode of AWS's SDKs.

    Args:
        capacity: The most that the budget holds. Default 500.
        cost: The cost of a retry. Default 5.
        timeout_cost: The cost of a retry after a time-out. Default 10.
        first_try_reward: The deposit of a call that succeeds without retry. Default 1.

    Attributes:
        available: The current balance.
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
        """Withdraw the cost of a retry after ``error``.

        Returns:
            The cost, for ``succeeded``. None if the balance is too low, or if the name of a host that
            has never answered is unknown. Then nothing was withdrawn; do not retry.
        """
        if isinstance(error, ConnectError) and error.kind == "unresolved" and not self.has_answered:
            return None
        cost = self.timeout_cost if isinstance(error, TransportTimeout) else self.cost
        if cost > self.available:
            return None
        self.available -= cost
        return cost

    def give_back(self, cost: int) -> None:
        """Return the cost of a retry that was not sent."""
        self.available = min(self.capacity, self.available + cost)

    def succeeded(self, spent: int | None) -> None:
        """Deposit for a call that succeeded.

        Args:
            spent: The cost of the call's last retry; None if there was no retry.
        """
        if not self.has_answered:
            self.has_answered = True
        if self.available < self.capacity:
            earned = self.first_try_reward if spent is None else spent
            self.available = min(self.capacity, self.available + earned)


@define(eq=False)
class RetryBudgets:
    """The retry budgets of all origins; one failing host does not use up another's budget."""

    _budgets: dict[str, RetryBudget] = field(factory=dict[str, RetryBudget], init=False)

    def of(self, origin: str) -> RetryBudget:
        """Return the budget that calls and logins of an origin share."""
        budget = self._budgets.get(origin)
        if budget is None:
            budget = self._budgets[origin] = RetryBudget()
        return budget
