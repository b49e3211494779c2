"""A plan of changes, field by field: to print, to save and to apply."""

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
    """One field of a client, before and after its change.

    Attributes:
        field: The field's name.
        before: The value that was read, as JSON.
        after: The wanted value, as JSON.
    """

    field: str
    before: JSON
    after: JSON

    def is_made(self, now: JSON) -> bool:
        """Return whether the field has the wanted value."""
        return _is_same_value(self.field, now, self.after)

    def is_undone(self, now: JSON) -> bool:
        """Return whether the field has the value that the plan found."""
        return _is_same_value(self.field, now, self.before)

    def __str__(self) -> str:
        return f"{_escaped(self.field)}: {_json(self.before)} -> {_json(self.after)}"


@frozen
class Applied:
    """The result of applying a planned change.

    Attributes:
        client: The current record.
        sent: The names of the fields that were sent; empty if all had the wanted values.
        rewritten: The names of the fields whose earlier write the server stored in another form.
    """

    client: Client
    sent: tuple[str, ...]
    rewritten: tuple[str, ...] = ()


@frozen
class Written:
    """The fields that a plan has sent for a client so far.

    Attributes:
        sent: The fields that were sent, as JSON.
        answered: The values that the server answered; without fields whose answer is unknown.
    """

    sent: Mapping[str, JSON]
    answered: Mapping[str, JSON]


@frozen
class PlannedChange:
    """The change of one client.

    Attributes:
        who: The client or tenant as the caller named it.
        client_id: The id in the server's record.
        fields: The fields that differ from the wanted values.
        origin: The scheme, host and port that the client was read from; None if unknown.
        written: The fields that an earlier attempt sent; None if it sent nothing.
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
        """Compare a client with an update, and keep the fields that differ."""
        current = client_to_json(client)
        fields = tuple(
            FieldChange(name, current.get(name), wanted)
            for name, wanted in update.changes().items()
            if not _is_same_value(name, current.get(name), wanted)
        )
        return cls(who, client.id, fields, origin)

    @property
    def name(self) -> str | None:
        """The tenant's name; None if it has none."""
        return self.who.name if isinstance(self.who, Tenant) else None

    def left_to_send(self, client: Client) -> ClientUpdate:
        """Decide, field by field, what is still to be sent.

        Args:
            client: The record, read just before.

        Returns:
            The fields that are unchanged since the plan was made. A field with the wanted value is
            left out, and so is a field with the server's own form of an earlier write.

        Raises:
            Conflict: A field has any other value; send nothing.
        """
        current = client_to_json(client)
        left: dict[str, JSON] = {}
        for change in self.fields:
            now = current.get(change.field)
            if change.is_made(now) or self._is_own_write(change, now):
                continue
            if not change.is_undone(now):
                raise self._conflict(change, now)
            left[change.field] = change.after
        return update_of(left)

    def rewritten(self, client: Client) -> tuple[str, ...]:
        """Name the fields whose earlier write the server stored in another form."""
        current = client_to_json(client)
        return tuple(
            change.field
            for change in self.fields
            if not change.is_made(now := current.get(change.field))
            and self._is_own_write(change, now)
        )

    def check(self, client: Client) -> None:
        """Check that the record returned by a PUT has the wanted values.

        Raises:
            NotApplied: A field has another value.
        """
        current = client_to_json(client)
        for change in self.fields:
            now = current.get(change.field)
            if not (change.is_made(now) or self._is_own_write(change, now)):
                kept = ", as it was before" if change.is_undone(now) else ""
                raise NotApplied(
                    f"{change.field} was set to {_shortened(change.after)}"
                    f" and the server answered {_shortened(now)}{kept}"
                )

    def before_sending(self, update: ClientUpdate) -> PlannedChange:
        """Add an update that is about to be sent; its answer is not known yet."""
        sent = update.changes()
        earlier = self.written or Written({}, {})
        answered = {name: value for name, value in earlier.answered.items() if name not in sent}
        return evolve(self, written=Written({**earlier.sent, **sent}, answered))

    def after_answer(self, client: Client) -> PlannedChange:
        """Add the values that the server answered for the fields sent."""
        earlier = self.written or Written({}, {})
        current = client_to_json(client)
        answered = {name: current.get(name) for name in earlier.sent}
        return evolve(self, written=Written(earlier.sent, {**answered, **earlier.answered}))

    def _is_own_write(self, change: FieldChange, now: JSON) -> bool:
        """Return whether a field has the server's form of an earlier write."""
        if self.written is None:
            return False
        answered = self.written.answered
        return (
            change.field in answered
            and _is_same_value(change.field, now, answered[change.field])
            and not change.is_undone(now)
        )

    def _conflict(self, change: FieldChange, now: JSON) -> Conflict:
        name = change.field
        was = f"{name} was {_shortened(change.before)} when the plan was made and is {_shortened(now)} now"
        if self.written is None or name not in self.written.sent:
            return Conflict(f"{was}; nothing was sent")
        if name in self.written.answered:
            answered = _shortened(self.written.answered[name])
            return Conflict(
                f"{name} was set to {_shortened(change.after)}, the server answered {answered},"
                f" and it is {_shortened(now)} now; nothing more was sent"
            )
        return Conflict(
            f"{was}, after {_shortened(change.after)} was sent without an answer: either the server"
            " writes it so, or somebody else has changed it; nothing more was sent",
            maybe_applied=True,
        )

    def __str__(self) -> str:
        title = _title(self.client_id, self.name)
        return "\n".join([title, *(f"  {change}" for change in self.fields)])


@frozen(eq=False, repr=False)
class Plan(Sequence[PlannedChange]):
    """The changes of all clients that differ from the wanted values.

    It prints as a readable diff. To pass it to another process, ``save`` it: an unpickled plan can
    be read and saved, but not applied.

    Attributes:
        changes: The clients that differ, in input order.
        as_wished: How many clients have the wanted values already.
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
        """Make the changes, reading each client once more right before its PUT.

        A field with the wanted value is not sent. A field that is unchanged since the plan was made
        is sent. A field with any other value is a ``Conflict``, and nothing is sent to that client.
        If the record that the PUT returns lacks a wanted value, that is ``NotApplied``. The API
        has no versions: a change by another program between read and PUT is overwritten.

        The server may store a value in its own form. If ``written`` holds the server's answer to an
        earlier write, a field with that answer is done, and ``Applied.rewritten`` names it. After an
        earlier write without an answer, any other value may be the server's form of it: that
        ``Conflict`` has ``maybe_applied``.

        Args:
            concurrency: The most clients in flight at once, or ``"auto"``; default 64.
            max_concurrency: The upper bound for ``"auto"``; default 256.
            max_waiting: The most changes to hold that cannot run yet.
            ordered: Give outcomes in the plan's order; default in order of completion.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each of the two calls; default that of the ``RingMe``, 60.
            on_quota: ``"park"`` jobs without quota until its reset, or ``"fail"`` them.
            on_outage: ``"wait"`` for a host that is down, then repeat what the outage failed; or
                ``"fail"``. The wait ends after half an hour, or after a minute if the host has
                never answered.
            on_write: Called with the change before each PUT, and after a PUT that was refused or
                answered with another value. ``written`` says what was sent and answered.

        Returns:
            A run. Await it for a ``BulkReport``, or enter it with ``async with``.

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

        Clients that could not be read are left out. An earlier plan in the file is replaced
        atomically; a file of another kind is refused.

        Raises:
            InvalidRequest: The file exists and is no plan.
            OSError: The file cannot be written.
        """
        flaw = foreign_file(path, FileKind.PLAN)
        if flaw is not None:
            raise InvalidRequest(flaw)
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"
        # A lone surrogate has no UTF-8 form and must be escaped.
        write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def to_json(self) -> dict[str, JSON]:
        """Return what ``save`` writes."""
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
        return "\n".join([*map(str, self.changes), *map(_line_of, self.failures), self._counts()])

    def __repr__(self) -> str:
        return f"<Plan: {self._counts()}>"

    def _counts(self) -> str:
        counts = f"{len(self.changes)} to change, {self.as_wished} as wished already"
        failed = len(self.failures)
        return f"{counts}, {failed} could not be planned" if failed else counts

    def __reduce__(self) -> tuple[object, ...]:
        # _apply holds connections and timers, which cannot be pickled.
        return Plan, (self.changes, self.as_wished, self.failures, _refuse_apply)


def _refuse_apply(*_changes: object, **_settings: object) -> BulkRun[Applied]:
    raise InvalidRequest(
        "a plan that was unpickled cannot be applied: save() it, and load it with clients.load_plan"
    )


def _line_of(failure: Failed | NotAttempted) -> str:
    who = failure.who
    name = who.name if isinstance(who, Tenant) else None
    if isinstance(failure, Failed):
        return str(failure.error) if name is None else f"{_escaped(name)}: {failure.error}"
    return f"{_title(who.client_id if isinstance(who, Tenant) else who, name)}: {failure.reason}"


def _title(client_id: object, name: str | None) -> str:
    return f"client {client_id}" + (f" ({_escaped(name)})" if name else "")


def resolved(who: Who, client_id: int) -> Who:
    """Name the same client by the id in the server's record."""
    if not isinstance(who, Tenant):
        return client_id
    return Tenant(client_id, auth=who.auth, base_url=who.base_url, name=who.name)


def update_of(fields: Mapping[str, JSON]) -> ClientUpdate:
    """Make the update that sets these fields, given as JSON.

    Raises:
        InvalidRequest: A field is malformed.
    """
    named: dict[str, Any] = {name: fields[name] for name in fields if name in WRITABLE}
    extra = {name: value for name, value in fields.items() if name not in WRITABLE}
    return ClientUpdate(**named, extra=extra)


def _is_same_value(name: str, one: JSON, other: JSON) -> bool:
    if name == "geo_list" and is_geo_list(one) and is_geo_list(other):
        return GeoList(str(one)) == GeoList(str(other))
    return same_json(one, other)


def _json(value: JSON) -> str:
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Escape control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _shortened(value: JSON) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), _LONGEST_IN_A_MESSAGE)
