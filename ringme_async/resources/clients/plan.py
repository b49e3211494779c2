"""Plan: what would change, field by field; printed, kept, and applied with care."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, overload

from attrs import evolve, field, frozen

from ringme_async._internal.atomic_write import write_atomically
from ringme_async._internal.file_kind import FileKind, foreign_file
from ringme_async._internal.frozen_json import JSON, same_json
from ringme_async.bulk import BulkRun, Concurrency, Failed, NotAttempted
from ringme_async.errors import Conflict, InvalidRequest, NotApplied, one_line
from ringme_async.resources.clients.codec import client_to_json
from ringme_async.resources.clients.geo_list import GeoList, is_geo_list
from ringme_async.resources.clients.model import Client
from ringme_async.resources.clients.update import WRITABLE, ClientUpdate
from ringme_async.tenant import Tenant, Who

__all__ = ["Applied", "FieldChange", "Plan", "PlannedChange", "Written"]

FORMAT: Final = "ringme-plan"
VERSION: Final = 2
_LONGEST_IN_A_MESSAGE: Final = 100


@frozen
class FieldChange:
    """One field of a client, as it was read and as it shall be.

    Attributes:
        field: Its name.
        before: What was read, in wire form.
        after: What it shall be, in wire form.
    """

    field: str
    before: JSON
    after: JSON

    def is_made(self, now: JSON) -> bool:
        """Is the field as wished?"""
        return _means_the_same(self.field, now, self.after)

    def is_undone(self, now: JSON) -> bool:
        """Is the field as it was when the plan was made?"""
        return _means_the_same(self.field, now, self.before)

    def __str__(self) -> str:
        return f"{_printed(self.field)}: {_json(self.before)} -> {_json(self.after)}"


@frozen
class Applied:
    """What became of a planned change.

    Attributes:
        client: The record as the server has it now.
        sent: The names of the fields that were sent; none if all were as wished already.
        rewritten: The names of the fields that hold what the server made of an earlier write.
    """

    client: Client
    sent: tuple[str, ...]
    rewritten: tuple[str, ...] = ()


@frozen
class Written:
    """What a plan has sent for a client so far.

    Attributes:
        sent: The fields that were sent, in wire form.
        answered: The fields among them whose answer is known, as the server answered them.
    """

    sent: Mapping[str, JSON]
    answered: Mapping[str, JSON]


@frozen
class PlannedChange:
    """What is to change of one client.

    Attributes:
        who: Whom the change was asked for.
        client_id: Its id, as the server told it.
        fields: What differs from the wish.
        origin: The scheme, host and port that it was read from; None if nobody knows.
        written: What an earlier attempt has sent; None if it has sent nothing.
    """

    who: Who
    client_id: int
    fields: tuple[FieldChange, ...]
    origin: str | None = None
    written: Written | None = field(default=None, eq=False, repr=False)

    @classmethod
    def between(
        cls, who: Who, client: Client, update: ClientUpdate, *, origin: str | None = None
    ) -> PlannedChange:
        """Compare a client as it is with what an update wishes."""
        current = client_to_json(client)
        fields = tuple(
            FieldChange(name, current.get(name), wish)
            for name, wish in update.changes().items()
            if not _means_the_same(name, current.get(name), wish)
        )
        return cls(who, client.id, fields, origin)

    @property
    def name(self) -> str | None:
        """What the tenant is called; None if it has no name."""
        return self.who.name if isinstance(self.who, Tenant) else None

    def left_to_send(self, client: Client) -> ClientUpdate:
        """Decide, field by field, what of the plan is still to be sent.

        Args:
            client: The record as it was read a moment ago.

        Returns:
            The fields that are as the plan found them. A field is left out if it is as wished, or
            holds what the server made of an earlier write.

        Raises:
            Conflict: A field is neither; nothing must be sent.
        """
        current = client_to_json(client)
        left: dict[str, JSON] = {}
        for change in self.fields:
            now = current.get(change.field)
            if change.is_made(now) or self._is_own(change, now):
                continue
            if not change.is_undone(now):
                raise self._conflict(change, now)
            left[change.field] = change.after
        return update_of(left)

    def rewritten(self, client: Client) -> tuple[str, ...]:
        """Name the fields that hold what the server made of an earlier write."""
        current = client_to_json(client)
        return tuple(
            change.field
            for change in self.fields
            if not change.is_made(now := current.get(change.field)) and self._is_own(change, now)
        )

    def check(self, client: Client) -> None:
        """Compare the record that a PUT returned with the wish.

        Raises:
            NotApplied: A field is not as wished.
        """
        current = client_to_json(client)
        for change in self.fields:
            now = current.get(change.field)
            if not (change.is_made(now) or self._is_own(change, now)):
                kept = ", as it was before" if change.is_undone(now) else ""
                raise NotApplied(
                    f"{change.field} was set to {_told(change.after)}"
                    f" and the server answered {_told(now)}{kept}"
                )

    def before_sending(self, update: ClientUpdate) -> PlannedChange:
        """Note that an update leaves; its answer is not known yet."""
        sent = update.changes()
        earlier = self.written or Written({}, {})
        known = {name: value for name, value in earlier.answered.items() if name not in sent}
        return evolve(self, written=Written({**earlier.sent, **sent}, known))

    def after_answer(self, client: Client) -> PlannedChange:
        """Note how the server answered the fields that were sent."""
        earlier = self.written or Written({}, {})
        current = client_to_json(client)
        answered = {name: current.get(name) for name in earlier.sent}
        return evolve(self, written=Written(earlier.sent, {**answered, **earlier.answered}))

    def _is_own(self, change: FieldChange, now: JSON) -> bool:
        """Does a field hold what the server made of an earlier write, the old value apart?"""
        if self.written is None:
            return False
        answered = self.written.answered
        return (
            change.field in answered
            and _means_the_same(change.field, now, answered[change.field])
            and not change.is_undone(now)
        )

    def _conflict(self, change: FieldChange, now: JSON) -> Conflict:
        name = change.field
        was = f"{name} was {_told(change.before)} when the plan was made and is {_told(now)} now"
        if self.written is None or name not in self.written.sent:
            return Conflict(f"{was}; nothing was sent")
        if name in self.written.answered:
            answered = _told(self.written.answered[name])
            return Conflict(
                f"{name} was set to {_told(change.after)}, the server answered {answered},"
                f" and it is {_told(now)} now; nothing more was sent"
            )
        return Conflict(
            f"{was}, after {_told(change.after)} was sent without an answer: either the server"
            " writes it so, or somebody else has changed it; nothing more was sent",
            maybe_applied=True,
        )

    def __str__(self) -> str:
        title = _title(self.client_id, self.name)
        return "\n".join([title, *(f"  {change}" for change in self.fields)])


@frozen(eq=False, repr=False)
class Plan(Sequence[PlannedChange]):
    """What would change, for each client that is not as wished already.

    It prints as a readable diff. To hand it to another process, ``save`` it: a plan that is
    unpickled can be looked at and saved, but not applied.

    Attributes:
        changes: The clients that differ, in input order.
        as_wished: How many clients are as wished already.
        failures: The clients that could not be read, or whose change was malformed.
    """

    changes: tuple[PlannedChange, ...]
    as_wished: int
    failures: tuple[Failed | NotAttempted, ...]
    _apply: Callable[..., BulkRun[Applied]] = field(repr=False)

    def apply(
        self,
        *,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: Literal["park", "fail"] = "park",
        on_outage: Literal["wait", "fail"] = "wait",
        on_write: Callable[[PlannedChange], None] | None = None,
    ) -> BulkRun[Applied]:
        """Make the changes, each after one more look at the client.

        Each client is read right before its PUT and decided field by field: as wished already, and
        nothing is sent; as the plan found it, and what differs is sent; anything else is a
        ``Conflict``, and the client is left alone. The record that the PUT returns is compared
        with the wish; a difference is ``NotApplied``. Between that look and the PUT somebody else
        may still change a field, and the plan then overwrites it: the API has no versions.

        A server may write a value in its own form. If the ``written`` of a change says how the
        server answered an earlier write, a field that still holds that answer is done:
        ``Applied.rewritten`` names it. If an earlier write had no answer, another value may be
        the server's form of it: that ``Conflict`` has ``maybe_applied``.

        Args:
            concurrency: How many clients may be under way at once, or ``"auto"``; default 64.
            max_concurrency: The most that ``"auto"`` may take; default 256.
            max_waiting: How many may be held that cannot run yet.
            ordered: Give outcomes in the plan's order; default as they come.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each of the two calls; default that of the ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.
            on_outage: ``"wait"`` for a host that is down and try again what failed by that, for
                half an hour at most, a minute if it never answered; or let it ``"fail"``.
            on_write: Called with the change before each PUT, and after one that was refused or
                answered with another value; ``written`` says what is known of it then.

        Returns:
            A run, to be awaited for a ``BulkReport`` or entered with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        return self._apply(
            self.changes,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            timeout=timeout,
            on_quota=on_quota,
            on_outage=on_outage,
            on_write=on_write,
        )

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, with resolved ids and hosts, and without any credentials.

        Clients that could not be read are not in it. An earlier plan in the file is replaced, in
        one step; any other file is left alone.

        Raises:
            InvalidRequest: The file is there and is not a plan.
            OSError: It cannot be written.
        """
        flaw = foreign_file(path, FileKind.PLAN)
        if flaw is not None:
            raise InvalidRequest(flaw)
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"
        # Half of a surrogate pair has no UTF-8; escaped, it comes through.
        write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def to_json(self) -> dict[str, JSON]:
        """Give what ``save`` writes."""
        changes: list[JSON] = [
            {
                "id": change.client_id,
                "tenant": change.name,
                "base_url": change.origin,
                "fields": {
                    item.field: {"from": item.before, "to": item.after} for item in change.fields
                },
            }
            for change in self.changes
        ]
        return {FORMAT: VERSION, "as_wished": self.as_wished, "changes": changes}

    @overload
    def __getitem__(self, index: int) -> PlannedChange: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[PlannedChange, ...]: ...
    def __getitem__(self, index: int | slice) -> PlannedChange | tuple[PlannedChange, ...]:
        return self.changes[index]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[PlannedChange]:
        return iter(self.changes)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.changes), *map(_in_words, self.failures), self._counts()])

    def __repr__(self) -> str:
        return f"<Plan: {self._counts()}>"

    def _counts(self) -> str:
        counts = f"{len(self.changes)} to change, {self.as_wished} as wished already"
        failed = len(self.failures)
        return f"{counts}, {failed} could not be planned" if failed else counts

    def __reduce__(self) -> tuple[object, ...]:
        # The way to the server is open connections and timers, which no pickle holds.
        return Plan, (self.changes, self.as_wished, self.failures, _no_way)


def _no_way(*_changes: object, **_settings: object) -> BulkRun[Applied]:
    raise InvalidRequest(
        "a plan that was unpickled cannot be applied: save() it, and load it with clients.load_plan"
    )


def _in_words(failure: Failed | NotAttempted) -> str:
    who = failure.who
    name = who.name if isinstance(who, Tenant) else None
    if isinstance(failure, Failed):
        return str(failure.error) if name is None else f"{_printed(name)}: {failure.error}"
    return f"{_title(who.client_id if isinstance(who, Tenant) else who, name)}: {failure.reason}"


def _title(client_id: object, name: str | None) -> str:
    return f"client {client_id}" + (f" ({_printed(name)})" if name else "")


def resolved(who: Who, client_id: int) -> Who:
    """Name the same client by the id that the server told."""
    if not isinstance(who, Tenant):
        return client_id
    return Tenant(client_id, auth=who.auth, base_url=who.base_url, name=who.name)


def update_of(fields: Mapping[str, JSON]) -> ClientUpdate:
    """Make the update that sets these fields, in wire form.

    Raises:
        InvalidRequest: One of them is malformed.
    """
    named: dict[str, Any] = {name: fields[name] for name in fields if name in WRITABLE}
    extra = {name: value for name, value in fields.items() if name not in WRITABLE}
    return ClientUpdate(**named, extra=extra)


def _means_the_same(name: str, one: JSON, other: JSON) -> bool:
    if name == "geo_list" and is_geo_list(one) and is_geo_list(other):
        return GeoList(str(one)) == GeoList(str(other))
    return same_json(one, other)


def _json(value: JSON) -> str:
    return _printed(json.dumps(value, ensure_ascii=False))


def _printed(text: str) -> str:
    """Escape what a terminal would not show, or would obey."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _told(value: JSON) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), _LONGEST_IN_A_MESSAGE)
