"""The commands of the command line, each a thin shell over the SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError, UnusedCliTokensError

from ringme_async import InvalidRequest, RingMeError
from ringme_async.cli import interruption, many, single
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.connect import Connection, prepare, print_to_stderr
from ringme_async.cli.demo import run_demo
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.fake import ListenOptions, serve_fake
from ringme_async.cli.inputs import refuse_shared_stdin
from ringme_async.cli.many import RunOptions
from ringme_async.cli.show import ProgressBars, show_demo
from ringme_async.cli.update_options import LOCKED
from ringme_async.cli.zones import warn_unknown_zones
from ringme_async.mirror.errors import describe_os_error
from ringme_async.version import __version__

AsJSON: TypeAlias = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
Flag: TypeAlias = Annotated[bool, Parameter(negative=(), show_default=False)]
ConnectionArgs: TypeAlias = Annotated[Connection, Parameter(name="*")]
RunArgs: TypeAlias = Annotated[RunOptions, Parameter(name="*")]
Extra: TypeAlias = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]

_DEFAULT_CONNECTION: Final = Connection()
_DEFAULT_OPTIONS: Final = RunOptions()
_DEFAULT_LISTEN: Final = ListenOptions()

app: App = App(
    name="ringme",
    help="""Read and change the tenants of a RingMe PBX.

Where to and with which credentials, RINGME_BASE_URL, RINGME_APP_ID and RINGME_APP_SECRET say, or a
profile, or a list of tenants. A secret is never an argument.

Exit codes: 0 all well, 1 some tenants failed, 2 wrong usage, 3 could not start, 130 interrupted.
""",
    version=__version__,
    suppress_keyboard_interrupt=False,
)


@app.command(name="get", sort_key=1)
def get_(
    who: str, /, *, connection: ConnectionArgs = _DEFAULT_CONNECTION, as_json: AsJSON = False
) -> int:
    """Read one client.

    Parameters
    ----------
    who
        Its id, @me, or its name in the list of tenants.
    as_json
        Print the record as one JSON object, as the server sent it, or the error.
    """
    return single.get_or_set(prepare(connection), who, None, as_json=as_json)


@app.command(name="set", sort_key=2)
def set_(
    who: str,
    /,
    *,
    timezone: str | None = None,
    geo_list: str | None = None,
    hold_music: str | None = None,
    dial_rule_id: str | None = None,
    sip_network_permission_id: str | None = None,
    disk_space_notify_threshold: str | None = None,
    disk_space_notify_email: str | None = None,
    extra: Extra = (),
    connection: ConnectionArgs = _DEFAULT_CONNECTION,
    as_json: AsJSON = False,
) -> int:
    """Change settings of one client: what is not named stays, "null" clears.

    Parameters
    ----------
    who
        Its id, @me, or its name in the list of tenants.
    timezone
        Its IANA zone, such as Asia/Omsk.
    geo_list
        The countries whose IP addresses may use SIP accounts: "RU BY", or "*" for all.
    hold_music
        The sound file that is played on hold, by its id.
    dial_rule_id
        The rule for outgoing calls.
    sip_network_permission_id
        The trusted SIP network.
    disk_space_notify_threshold
        The percentage of disk space at which a mail goes out.
    disk_space_notify_email
        Where that mail goes.
    extra
        NAME=VALUE for a field that this program does not know; the value is JSON or a text.
    as_json
        Print the whole record as it is now as one JSON object, or the error.
    """
    options = {
        "timezone": timezone,
        "geo_list": geo_list,
        "hold_music": hold_music,
        "dial_rule_id": dial_rule_id,
        "sip_network_permission_id": sip_network_permission_id,
        "disk_space_notify_threshold": disk_space_notify_threshold,
        "disk_space_notify_email": disk_space_notify_email,
    }
    update = single.update_from(options, extra)
    context = prepare(connection)
    warn_unknown_zones([update])
    return single.get_or_set(context, who, update, as_json=as_json)


@app.command(sort_key=3)
def refresh(
    *,
    into: str,
    resume: Flag = False,
    overwrite: Flag = False,
    connection: ConnectionArgs = _DEFAULT_CONNECTION,
    options: RunArgs = _DEFAULT_OPTIONS,
    as_json: AsJSON = False,
) -> int:
    """Read every tenant of a list (--tenants) into a file or a database, each as it comes.

    Parameters
    ----------
    into
        A file of JSON lines, such as clients.jsonl, whose failures go to clients.failures.jsonl; or
        a database: sqlite:///clients.db or postgresql+asyncpg://host/name.
    resume
        Go on where a run into the same place stopped.
    overwrite
        Begin anew although the output of an earlier run is in the file.
    as_json
        Print the counts as one JSON object.
    """
    return many.refresh_all(
        prepare(connection), into, options, resume=resume, overwrite=overwrite, as_json=as_json
    )


@app.command(sort_key=4)
def plan(
    changes: str,
    /,
    *,
    out: str | None = None,
    connection: ConnectionArgs = _DEFAULT_CONNECTION,
    options: RunArgs = _DEFAULT_OPTIONS,
    as_json: AsJSON = False,
) -> int:
    """Read clients as they are, and say what would change; nothing is changed.

    Parameters
    ----------
    changes
        A list, CSV, JSON lines or a JSON array: tenant (a name in --tenants) or client_id, and the
        fields to change, called like the API's. An empty cell leaves a field alone, "null" clears
        it. "-" reads standard input.
    out
        Keep the plan in this file, for "ringme apply". An earlier plan in it is replaced; any
        other file is left alone.
    as_json
        Print the plan, and what could not be planned, as one JSON object.
    """
    refuse_shared_stdin((changes, connection.tenants))
    context = prepare(connection)
    updates = many.changes_of(context, changes, connection.encoding)
    warn_unknown_zones(update for _, update in updates)
    return many.plan(context, updates, changes, out, options, as_json=as_json)


@app.command(name="apply", sort_key=5)
def apply_(
    plan: str,
    /,
    *,
    journal: str | None = None,
    resume: Flag = False,
    overwrite: Flag = False,
    any_host: Flag = False,
    connection: ConnectionArgs = _DEFAULT_CONNECTION,
    options: RunArgs = _DEFAULT_OPTIONS,
    as_json: AsJSON = False,
) -> int:
    """Make the changes of a plan, each after one more look at the client.

    Parameters
    ----------
    plan
        What "ringme plan --out" has written.
    journal
        A file that gets a line for each tenant that is as wished; default that of plan.json is
        plan.journal.jsonl, and failures go to plan.journal.failures.jsonl.
    resume
        Go on where applying the same plan stopped.
    overwrite
        Begin anew although the journal of an earlier run is in the file.
    any_host
        Apply the plan although it was made for another host.
    as_json
        Print the counts as one JSON object.
    """
    return many.apply(
        prepare(connection),
        plan,
        journal,
        options,
        resume=resume,
        overwrite=overwrite,
        any_host=any_host,
        as_json=as_json,
    )


@app.command(sort_key=6)
def demo(*, as_json: AsJSON = False) -> int:
    """Read 1,000 tenants of a RingMe on this machine and change some, with trouble on the way.

    It needs no network and no account, and ends in under 15 seconds. Some tenants fail because
    they are blocked, which is part of the show: the exit code is 0 if what the SDK tells agrees
    with the server's own books.

    Parameters
    ----------
    as_json
        Print the result as JSON, for scripts.
    """
    with ProgressBars() as bars:
        try:
            report = interruption.run(run_demo(bars.track))
        except OSError as error:
            raise CouldNotStart(
                f"the demo's server did not start: {describe_os_error(error)}"
            ) from None
    show_demo(report, as_json=as_json)
    return ExitCode.ALL_WELL if report.books_agree else ExitCode.SOME_FAILED


@app.command(name="fake", sort_key=7)
def fake_(
    *,
    at: Annotated[ListenOptions, Parameter(name="*")] = _DEFAULT_LISTEN,
    as_json: AsJSON = False,
) -> int:
    """Serve a RingMe on this machine, for curl and for programs in other languages.

    It prints an App ID and Secret, which open nothing else, and ends with Ctrl-C, SIGTERM or
    SIGHUP.

    Parameters
    ----------
    as_json
        Print where it is, and the App ID and Secret, as one JSON object.
    """
    serve_fake(at, as_json=as_json)
    return ExitCode.ALL_WELL


class _Dash(str):
    """A ``-`` for a standard stream, which cyclopts would take for an option."""

    __slots__ = ()

    def startswith(self, *_prefix: object) -> bool:
        """Return False, as cyclopts recognises an option by its hyphen."""
        return False


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    tokens = [_Dash(word) if word == "-" else word for word in arguments]
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except UnusedCliTokensError as error:
        print_to_stderr(f"too many arguments: {' '.join(error.unused_tokens or ())}")
        return ExitCode.WRONG_USAGE
    except UnknownOptionError as error:
        print_to_stderr(_unknown_option_message(error))
        if "secret" in str(error).lower():
            print_to_stderr(
                "a secret is never an argument; RINGME_APP_SECRET holds it, or a profile"
            )
        return ExitCode.WRONG_USAGE
    except CycloptsError as error:
        print_to_stderr(str(error))
        return ExitCode.WRONG_USAGE
    except (WrongUsage, InvalidRequest) as error:
        print_to_stderr(str(error))
        return ExitCode.WRONG_USAGE
    except CouldNotStart as error:
        print_to_stderr(*error.sentences)
        return ExitCode.COULD_NOT_START
    except RingMeError as error:
        print_to_stderr(str(error))
        return ExitCode.SOME_FAILED
    return code if isinstance(code, int) else ExitCode.ALL_WELL


def _unknown_option_message(error: UnknownOptionError) -> str:
    option = (error.token.keyword or "").partition("=")[0]
    if option.removeprefix("--").replace("-", "_") in LOCKED:
        return f"{option}: this field of a client can be read, and not changed"
    return str(error)
