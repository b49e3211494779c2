"""Load and check a file that ``Plan.save`` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest, one_line
from ringme_async.resources.clients.plan import (
    FORMAT,
    VERSION,
    FieldChange,
    PlannedChange,
    resolved,
    update_of,
)
from ringme_async.tenant import Tenant, Who, client_id_in_path, origin_of

__all__ = ["load_changes"]

_SavedField = TypedDict("_SavedField", {"from": Any, "to": Any})


class _SavedChange(TypedDict):
    id: int
    tenant: str | None
    base_url: str | None
    fields: dict[str, _SavedField]


_Version = TypedDict("_Version", {"ringme-plan": int})
_SavedPlan = TypedDict(
    "_SavedPlan", {"ringme-plan": Literal[2], "as_wished": int, "changes": list[_SavedChange]}
)


def load_changes(
    path: str | Path, tenants: Iterable[Tenant]
) -> tuple[tuple[PlannedChange, ...], int]:
    """Load a saved plan, and find the tenants that it names.

    Returns:
        The changes, and how many clients had the wanted values.

    Raises:
        InvalidRequest: The file is no plan, or names an unknown tenant.
    """
    by_name = {tenant.name: tenant for tenant in tenants if tenant.name is not None}
    try:
        text = Path(path).read_bytes()
        if msgspec.json.decode(text, type=_Version)[FORMAT] == 1:
            raise InvalidRequest(
                f"{Path(path).name} does not say for which host it was made, as it was saved by an"
                " older version; make the plan anew"
            )
        plan = msgspec.json.decode(text, type=_SavedPlan)
    except (msgspec.DecodeError, RecursionError) as error:
        flaw = one_line(str(error))
    else:
        changes = tuple(
            _loaded(number, change, by_name) for number, change in enumerate(plan["changes"], 1)
        )
        return changes, plan["as_wished"]
    raise InvalidRequest(f"{Path(path).name} is no plan of version {VERSION}: {flaw}")


def _loaded(number: int, change: _SavedChange, by_name: Mapping[str, Tenant]) -> PlannedChange:
    client_id_in_path(change["id"])
    origin = change["base_url"]
    if origin is not None:
        try:
            origin = origin_of(origin)
        except InvalidRequest as error:
            raise InvalidRequest(f"change {number} of the plan: {error.reason}") from None
    fields = tuple(
        FieldChange(name, values["from"], values["to"]) for name, values in change["fields"].items()
    )
    update_of({item.field: item.after for item in fields})
    who = _who_of(number, change["id"], change["tenant"], by_name)
    return PlannedChange(who, change["id"], fields, origin)


def _who_of(number: int, client_id: int, name: str | None, by_name: Mapping[str, Tenant]) -> Who:
    if name is None:
        return client_id
    tenant = by_name.get(name)
    if tenant is None:
        raise InvalidRequest(f"change {number} of the plan is for {shown(name)}: no such tenant")
    return resolved(tenant, client_id)
