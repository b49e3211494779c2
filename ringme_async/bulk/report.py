"""The report of a run: its counts, its failures, and all of its outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Generic, TypeVar, overload

from attrs import define, field, frozen

from ringme_async.bulk.outcome import Done, Failed, NotAttempted, Outcome
from ringme_async.bulk.report_records import records_of
from ringme_async.errors import RingMeError

__all__ = ["BulkReport", "BulkSummary", "OutcomeCounter"]

V = TypeVar("V")

_MOST_FAILURES = 1_000


@frozen(eq=False, repr=False)
class BulkSummary:
    """The counts of a run, and its first 1,000 failures.

    Attributes:
        counts: How many by kind: ``done``, ``not_attempted``, and for failures the name of the
            error's class.
        failures: The failures: all of them in a ``BulkReport``, else the first 1,000.
        failed: How many failed.
        retried: How many requests repeated an earlier one.
        complete: Whether the report has an outcome for every element of the input.
    """

    counts: Mapping[str, int]
    failures: tuple[Failed, ...]
    failed: int
    retried: int
    complete: bool

    @property
    def ok(self) -> bool:
        """Whether the whole input was read, and every element was done."""
        return self.complete and self.failed == 0 and self.counts["not_attempted"] == 0

    def raise_for_errors(self) -> None:
        """Raise the errors of the run, if it had any.

        Raises:
            ExceptionGroup: The errors of ``failures``; if elements were not attempted, or the
                input was not read to its end, one more error that says so.
        """
        errors = [failure.error for failure in self.failures]
        omitted = self.counts["not_attempted"]
        if omitted:
            verb = "was" if omitted == 1 else "were"
            errors.append(RingMeError(f"{omitted} {verb} not attempted: the run had ended"))
        if not self.complete:
            errors.append(RingMeError("the run ended before its input did"))
        if errors:
            raise ExceptionGroup(self.summary(), errors)

    def summary(self) -> str:
        """Return one line that says how the run went."""
        kinds = [
            f"{kind} {number}"
            for kind, number in sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
            if kind not in {"done", "not_attempted"}
        ]
        total = sum(self.counts.values())
        parts = [f"{self.counts['done']} of {total} done", f"{self.failed} failed"]
        if kinds:
            parts[-1] += f" ({', '.join(kinds)})"
        if self.counts["not_attempted"]:
            parts.append(f"{self.counts['not_attempted']} not attempted")
        if self.retried:
            parts.append("1 retry" if self.retried == 1 else f"{self.retried} retries")
        if not self.complete:
            parts.append("the input was not read to its end")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"


@frozen(eq=False, repr=False)
class BulkReport(BulkSummary, Sequence[Outcome[V]], Generic[V]):
    """Every outcome of a run, as a sequence in input order; and its ``BulkSummary``.

    Attributes:
        outcomes: The same as a tuple.
    """

    outcomes: tuple[Outcome[V], ...] = field(repr=False)

    @overload
    def __getitem__(self, index: int) -> Outcome[V]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome[V], ...]: ...

    def __getitem__(self, index: int | slice) -> Outcome[V] | tuple[Outcome[V], ...]:
        return self.outcomes[index]

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome[V]]:
        return iter(self.outcomes)

    def values(self) -> list[V]:
        """Return the values of the elements that were done, in input order."""
        return [outcome.value for outcome in self.outcomes if isinstance(outcome, Done)]

    def to_records(self) -> list[dict[str, object]]:
        """Return a row for each outcome, for pandas and Parquet: ``DataFrame(records)``.

        All rows have the same columns: ``tenant`` (its name, else its id), ``index``, ``outcome``
        (``done``, ``failed`` or ``not_attempted``), ``attempts``, ``error`` (the name of its
        class), ``message``, ``maybe_applied``, and one for each field of the values. Moments stay
        moments, ``extra`` is a JSON text or None, and any other value that is not plain becomes
        text.
        """
        return records_of(self.outcomes)


@define(eq=False)
class OutcomeCounter:
    """Counts outcomes as they come."""

    done: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    not_attempted: int = field(default=0, init=False)
    retried: int = field(default=0, init=False)
    _kinds: Counter[str] = field(factory=Counter[str], init=False)
    _failures: list[Failed] = field(factory=list[Failed], init=False)

    @property
    def finished(self) -> int:
        """How many there are in all."""
        return self.done + self.failed + self.not_attempted

    def add(self, outcome: Outcome[V]) -> None:
        """Count an outcome."""
        self.retried += outcome.retries
        if isinstance(outcome, Done):
            self.done += 1
        elif isinstance(outcome, NotAttempted):
            self.not_attempted += 1
        else:
            self.failed += 1
            self._kinds[type(outcome.error).__name__] += 1
            if len(self._failures) < _MOST_FAILURES:
                self._failures.append(outcome)

    def summary(self, *, complete: bool) -> BulkSummary:
        """Return the counts as they are now."""
        return BulkSummary(
            self._counts(), tuple(self._failures), self.failed, self.retried, complete
        )

    def report(self, outcomes: list[Outcome[V]], *, complete: bool) -> BulkReport[V]:
        """Return the counts with all outcomes."""
        outcomes.sort(key=attrgetter("index"))
        failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failed))
        return BulkReport(
            self._counts(), failures, self.failed, self.retried, complete, tuple(outcomes)
        )

    def _counts(self) -> dict[str, int]:
        return {"done": self.done, **self._kinds, "not_attempted": self.not_attempted}
