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
from ringme_async.cli.columns import field_name_error
from ringme_async.cli.connect import CommandContext, print_to_stderr
from ringme_async.cli.errors import WrongUsage
from ringme_async.cli.show import show_fields
from ringme_async.cli.spellings import for_shell
from ringme_async.cli.text import print_json
from ringme_async.cli.update_options import any_value, update_of, value_of
from ringme_async.mirror import key_of
from ringme_async.mirror.failures import describe

__all__ = ["get_or_set", "update_from"]


def update_from(options: Mapping[str, str | None], extra: Sequence[str]) -> ClientUpdate:
    """Create an update from the options of the command line.

    Args:
        options: The text of each field; None leaves it alone.
        extra: ``NAME=VALUE`` for fields that the SDK does not know.

    Raises:
        WrongUsage: No field is named, or a value is malformed.
    """
    updates = {name: value_of(name, text) for name, text in options.items() if text is not None}
    pairs = [pair.partition("=") for pair in extra]
    if not all(name and equals for name, equals, _ in pairs):
        raise WrongUsage("--extra takes NAME=VALUE")
    names = [name for name, _, _ in pairs]
    for name in names:
        message = field_name_error(name)
        if message is None and names.count(name) > 1:
            message = "it is given twice"
        if message:
            raise WrongUsage(f"--extra {name!r:.60}: {message}")
    try:
        update = update_of(updates, {name: any_value(text) for name, _, text in pairs})
    except InvalidRequest as error:
        raise WrongUsage(error.reason) from None
    if not update:
        raise WrongUsage("name at least one field to change, such as --timezone Asia/Omsk")
    return update


def get_or_set(
    context: CommandContext, name: str, update: ClientUpdate | None, *, as_json: bool
) -> int:
    """Read or change a client, and print its record or the error.

    Args:
        context: The command's context.
        name: A client id, or a name in the list of tenants.
        update: The change; None to read.
        as_json: Print the record as the server sent it, or the error, as one JSON object.
    """
    who = context.who(name)
    try:
        client = interruption.run(_call(context, who, update))
    except RingMeError as error:
        if as_json:
            failed = Failed(who, 0, error.attempts, error)
            fields = describe(failed)
            print_json({"tenant": key_of(who), **fields, "message": for_shell(str(error))})
        print_to_stderr(f"{who.name}: {error}" if isinstance(who, Tenant) else str(error))
        return ExitCode.SOME_FAILED
    record = client_to_json(client)
    if as_json:
        print_json(record)
    elif update is None:
        show_fields(record)
    else:
        show_fields({field: record.get(field) for field in ("id", "name", *update.changes())})
    return ExitCode.ALL_WELL


async def _call(context: CommandContext, who: Who, update: ClientUpdate | None) -> Client:
    async with context.ringme() as ringme:
        if update is None:
            return await ringme.clients.get(who)
        return await ringme.clients.update(who, update)
