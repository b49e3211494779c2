"""The commands for one client: read it, change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ringme_async import (
    Client,
    ClientUpdate,
    Failed,
    InvalidRequest,
    RingMeError,
    Tenant,
    Who,
    client_to_json,
)
from ringme_async.cli import interruption
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.columns import flaw_in_field_name
from ringme_async.cli.connect import Ready, complain
from ringme_async.cli.errors import WrongUsage
from ringme_async.cli.show import show_fields
from ringme_async.cli.spellings import for_shell
from ringme_async.cli.text import print_json
from ringme_async.cli.update_options import any_value, update_of, value_of
from ringme_async.mirror import key_of
from ringme_async.mirror.failures import describe

__all__ = ["get_or_set", "update_from"]


def update_from(options: Mapping[str, str | None], extra: Sequence[str]) -> ClientUpdate:
    """Make the update that the options of the command line wish for.

    Args:
        options: A text for each field that was named.
        extra: ``NAME=VALUE`` for fields that the SDK does not know.

    Raises:
        WrongUsage: Nothing is named, or a value is malformed.
    """
    wishes = {name: value_of(name, text) for name, text in options.items() if text is not None}
    pairs = [pair.partition("=") for pair in extra]
    if not all(name and equals for name, equals, _ in pairs):
        raise WrongUsage("--extra takes NAME=VALUE")
    names = [name for name, _, _ in pairs]
    for name in names:
        flaw = flaw_in_field_name(name)
        if flaw is None and names.count(name) > 1:
            flaw = "it is given twice"
        if flaw:
            raise WrongUsage(f"--extra {name!r:.60}: {flaw}")
    try:
        update = update_of(wishes, {name: any_value(text) for name, _, text in pairs})
    except InvalidRequest as error:
        raise WrongUsage(error.reason) from None
    if not update:
        raise WrongUsage("name at least one field to change, such as --timezone Asia/Omsk")
    return update


def get_or_set(ready: Ready, name: str, update: ClientUpdate | None, *, as_json: bool) -> int:
    """Read a client, or change it, and print its record, or why there is none.

    Args:
        ready: What to work with.
        name: Whom: a client id, or a name in the list of tenants.
        update: What to change; None to read.
        as_json: Print the record as the server sent it, or the error, as one JSON object.
    """
    who = ready.who(name)
    try:
        client = interruption.run(_call(ready, who, update))
    except RingMeError as error:
        if as_json:
            failed = Failed(who, 0, error.attempts, error)
            told = describe(failed)
            print_json({"tenant": key_of(who), **told, "message": for_shell(str(error))})
        complain(f"{who.name}: {error}" if isinstance(who, Tenant) else str(error))
        return ExitCode.SOME_FAILED
    record = client_to_json(client)
    if as_json:
        print_json(record)
    elif update is None:
        show_fields(record)
    else:
        show_fields({field: record.get(field) for field in ("id", "name", *update.changes())})
    return ExitCode.ALL_WELL


async def _call(ready: Ready, who: Who, update: ClientUpdate | None) -> Client:
    async with ready.ringme() as ringme:
        if update is None:
            return await ringme.clients.get(who)
        return await ringme.clients.update(who, update)
