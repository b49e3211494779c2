"""Turns texts into an update: ``null`` clears, digits are a number."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import fields

from ringme_async import JSON, Client, ClientUpdate, InvalidRequest
from ringme_async.cli.spellings import for_shell

__all__ = ["LOCKED", "WRITABLE", "any_value", "update_of", "value_of"]

WRITABLE: Final = tuple(field.name for field in fields(ClientUpdate) if field.name != "extra")
LOCKED: Final = frozenset(field.name for field in fields(Client)) - {"extra", *WRITABLE}

_NUMBERS: Final = frozenset(
    {"dial_rule_id", "sip_network_permission_id", "hold_music", "disk_space_notify_threshold"}
)
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def value_of(name: str, text: str) -> str | int | None:
    """Parse the value of a writable field; ``ClientUpdate`` checks it later."""
    if text == "null":
        return None
    return int(text) if name in _NUMBERS and _INTEGER.fullmatch(text) else text


def any_value(text: str) -> JSON:
    """Parse the value of an unknown field: JSON, else the text as it is."""
    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def update_of(updates: Mapping[str, JSON], extra: Mapping[str, JSON]) -> ClientUpdate:
    """Create an update.

    Raises:
        InvalidRequest: A value is malformed; the message names the field.
    """
    named: dict[str, Any] = dict(updates)
    try:
        return ClientUpdate(**named, extra=extra)
    except InvalidRequest as error:
        message = for_shell(error.reason)
    raise InvalidRequest(message)
