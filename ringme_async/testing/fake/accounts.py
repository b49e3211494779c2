"""The clients of a fake RingMe with their records, its applications and its users."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Literal, TypeAlias

from attrs import define, field, frozen

from ringme_async.testing.fake.client_schema import EXAMPLE, FIELDS, JSON, LATER_DEFAULTS

ApplicationKind = Literal["trusted", "password_credentials", "public"]
Access = Literal["full", "read", "none"]
Reach: TypeAlias = Literal["own", "all"] | frozenset[int]

_DEALERS_START_AT = 900_000_001
_KEPT_BODIES = 4_096
_NOTHING: Mapping[str, JSON] = MappingProxyType({})


@frozen(eq=False)
class _Template:
    """The fields that many records share, so that 100,000 clients stay small in memory."""

    fields: Mapping[str, JSON]
    derived: tuple[str, ...] = ()
    numbered: bool = False

    def record(self, tenant_id: int) -> dict[str, JSON]:
        record = dict(self.fields)
        if self.numbered:
            record["id"] = tenant_id
        for name in self.derived:
            record[name] = _DERIVED[name].format(tenant_id)
        return record


_DERIVED: Mapping[str, str] = MappingProxyType(
    {
        "name": "ringme_test_{}",
        "prefix": "{:04d}",
        "domain_prefix": "{:05d}",
        "email": "admin{}@domain.com",
    }
)


@define(eq=False)
class FakeTenant:
    """One client, with its record on the server.

    Attributes:
        id: Its id.
        blocked: Does every request for it get a 403 ``user_blocked``?
        locked: Writable fields that are refused with a 403 ``access_denied``.
    """

    id: int
    _template: _Template = field(repr=False)
    _bodies: dict[int, bytes] = field(repr=False)
    blocked: bool = False
    locked: frozenset[str] = frozenset()
    _changes: Mapping[str, JSON] = field(default=_NOTHING, repr=False, init=False)

    @property
    def record(self) -> Mapping[str, JSON]:
        """The record in wire form, as it is now."""
        return MappingProxyType(self._merged())

    def set(self, **fields: JSON) -> None:
        """Change the record on the server without a request and without checks.

        Args:
            fields: Wire names and wire values; unknown names are allowed.
        """
        self._changes = {**self._changes, **fields}
        self._bodies.pop(self.id, None)

    def differences(self, fields: Mapping[str, JSON]) -> tuple[str, ...]:
        """Name the fields that ``set`` would change."""
        record = self._merged()
        return tuple(
            name
            for name, value in fields.items()
            if name not in record or type(record[name]) is not type(value) or record[name] != value
        )

    def encoded(self) -> bytes:
        """Encode the record as the body of an answer."""
        body = self._bodies.get(self.id)
        if body is None:
            body = json.dumps(self._merged(), ensure_ascii=False).encode("utf-8", "surrogatepass")
            if len(self._bodies) >= _KEPT_BODIES:
                del self._bodies[next(iter(self._bodies))]
            self._bodies[self.id] = body
        return body

    def _merged(self) -> dict[str, JSON]:
        record = self._template.record(self.id)
        record.update(self._changes)
        return record


@define(eq=False)
class FakeApplication:
    """One application that can log in.

    Attributes:
        app_id: What OAuth calls ``client_id``.
        app_secret: What OAuth calls ``client_secret``.
        kind: Which grants it may use (API page, section 2).
        tenant: The client it belongs to, whose counter it uses.
        ceiling: Requests an hour on that counter; above that it is refused.
        access: What its access level allows; too little is a 403 ``app_access_type_deny``.
        sees: The clients it reaches: ``"own"``, ``"all"``, or a set of ids.
    """

    app_id: str
    app_secret: str = field(repr=False)
    kind: ApplicationKind
    tenant: FakeTenant
    ceiling: int
    access: Access = "full"
    sees: Reach = "own"

    def reaches(self, tenant_id: int) -> bool:
        """May the application access this client?"""
        if self.sees == "all" or tenant_id == self.tenant.id:
            return True
        return isinstance(self.sees, frozenset) and tenant_id in self.sees


@define(eq=False)
class FakeUser:
    """One user, for the password grant and for public applications.

    Attributes:
        username: The login.
        password: The password.
        tenant: The client the user belongs to.
        blocked: Does the user get a 403 ``user_blocked``?
        access: What the user's level allows; too little is a 403 ``user_access_type_deny``.
    """

    username: str
    password: str = field(repr=False)
    tenant: FakeTenant
    blocked: bool = False
    access: Access = "full"


TenantLike: TypeAlias = int | FakeTenant
ApplicationLike: TypeAlias = str | FakeApplication
UserLike: TypeAlias = str | FakeUser


class Accounts:
    """All clients, applications and users of one fake, by id, App ID and login."""

    def __init__(self, *, later_revision: bool, extension_len_as_string: bool) -> None:
        self.tenants: dict[int, FakeTenant] = {}
        self.applications: dict[str, FakeApplication] = {}
        self.users: dict[str, FakeUser] = {}
        self._fields = dict(EXAMPLE)
        if later_revision:
            self._fields.update(LATER_DEFAULTS)
        if extension_len_as_string:
            self._fields["extension_len"] = str(self._fields["extension_len"])
        self._bodies: dict[int, bytes] = {}
        self._ids = count(1)
        self._dealer_ids = count(_DEALERS_START_AT)

    def add_tenant(self, tenant_id: int | None, fields: Mapping[str, JSON]) -> FakeTenant:
        _refuse_unknown(fields)
        if tenant_id is None:
            tenant_id = self._free(self._ids)
        return self._add(tenant_id, _Template({**self._fields, "id": tenant_id, **fields}))

    def add_dealer_tenant(self) -> FakeTenant:
        return self.add_tenant(self._free(self._dealer_ids), {"name": "dealer"})

    def add_records(self, records: Iterable[Mapping[str, JSON]]) -> list[FakeTenant]:
        return [self._add(_id_in(record), _Template(dict(record))) for record in records]

    def add_many(
        self, how_many: int, first_id: int | None, fields: Mapping[str, JSON]
    ) -> list[FakeTenant]:
        _refuse_unknown(fields)
        derived = tuple(name for name in _DERIVED if name not in fields)
        template = _Template({**self._fields, **fields}, derived, numbered=True)
        ids = self._ids if first_id is None else count(first_id)
        return [self._add(self._free(ids), template) for _ in range(how_many)]

    def _add(self, tenant_id: int, template: _Template) -> FakeTenant:
        if tenant_id in self.tenants:
            raise ValueError(f"there is a client {tenant_id} already")
        tenant = FakeTenant(tenant_id, template, self._bodies)
        self.tenants[tenant_id] = tenant
        return tenant

    def _free(self, ids: Iterator[int]) -> int:
        return next(tenant_id for tenant_id in ids if tenant_id not in self.tenants)


class Records(Mapping[int, Mapping[str, JSON]]):
    """The records of all clients, by id, in wire form, as they are now."""

    def __init__(self, tenants: Mapping[int, FakeTenant]) -> None:
        self._tenants = tenants

    def __getitem__(self, tenant_id: int) -> Mapping[str, JSON]:
        return self._tenants[tenant_id].record

    def __iter__(self) -> Iterator[int]:
        return iter(self._tenants)

    def __len__(self) -> int:
        return len(self._tenants)


def _refuse_unknown(fields: Mapping[str, JSON]) -> None:
    unknown = sorted(fields.keys() - FIELDS.keys())
    if unknown:
        raise ValueError(
            f"no field of a client is called {', '.join(unknown)};"
            " for what a newer server might send, use add_tenants([record]) or tenant.set()"
        )


def _id_in(record: Mapping[str, JSON]) -> int:
    tenant_id = record.get("id")
    if isinstance(tenant_id, bool) or not isinstance(tenant_id, int):
        raise ValueError(f"a record needs a whole number as its id, not {tenant_id!r}")
    return tenant_id
