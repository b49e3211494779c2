"""The commands for many tenants: refresh an output, make a plan, apply it."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal

from attrs import asdict, define, evolve, frozen

from ringme_async import (
    CallStarted,
    Event,
    Failed,
    InvalidRequest,
    NotAttempted,
    Plan,
    RingMe,
    Tenant,
)
from ringme_async.cli import interruption
from ringme_async.cli.changes_file import Changes, read_changes
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.connect import CommandContext, print_to_stderr
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.files import files_of_output
from ringme_async.cli.inputs import refuse_stream
from ringme_async.cli.results import applied, planned, refreshed
from ringme_async.cli.show import ProgressBars, show_counts
from ringme_async.cli.spellings import for_shell
from ringme_async.cli.text import print_json, printable
from ringme_async.mirror import (
    ApplyReport,
    OutputError,
    RefreshReport,
    apply_plan,
    key_of,
    refresh,
    sink_for,
)
from ringme_async.mirror.errors import describe_file_error
from ringme_async.mirror.failures import describe
from ringme_async.mirror.jsonl_sink import failures_beside
from ringme_async.mirror.output_path import normalize_output, refuse_for_plan
from ringme_async.mirror.write_log import writes_beside

__all__ = ["RunOptions", "apply", "changes_of", "plan", "refresh_all"]

_MOST_SHOWN: Final = 20
_NO_SUCH_TENANT: Final = "no such tenant"
_URL: Final = re.compile(r"([A-Za-z0-9_+.-]+://)(?:(.*)@)?([^?]*)(\?.*)?", re.DOTALL)


@frozen
class RunOptions:
    """How fast, and how long.

    Parameters
    ----------
    concurrency
        How many calls may be under way at once, or auto to have it found from latencies and
        failures.
    deadline
        Seconds for the run as a whole; whoever has not had a turn then is not attempted.
    on_quota
        Let tenants whose hourly limit is used up wait for their next hour, or fail.
    on_outage
        Wait for a host that is down and try again what failed by that, or let it fail.
    """

    concurrency: int | Literal["auto"] = 64
    deadline: float | None = None
    on_quota: Literal["park", "fail"] = "park"
    on_outage: Literal["wait", "fail"] = "wait"


@define
class _CallWatcher:
    """Records whether any call has started."""

    any_call: bool = False

    def __call__(self, event: Event) -> None:
        self.any_call = self.any_call or isinstance(event, CallStarted)


def refresh_all(
    context: CommandContext,
    into: str,
    options: RunOptions,
    *,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Read every tenant of the list into a file or a database."""
    if context.tenants is None:
        raise WrongUsage("refresh needs a list of tenants: --tenants FILE")
    if resume and overwrite:
        raise WrongUsage("--resume goes on with what --overwrite would throw away")
    if not into:
        raise WrongUsage("--into: name a file or a database")
    refuse_stream(
        "--into", into, "name a file, such as clients.jsonl, which --resume can go on with"
    )
    into = normalize_output(into)
    context.refuse_shared_files({}, files_of_output("--into", into))
    tenants = context.tenants.tenants
    sink = sink_for(into, overwrite=overwrite)
    shown, failures = _output(into)

    async def run(started: _CallWatcher, bars: ProgressBars) -> RefreshReport:
        with bars.track("reading", len(tenants)) as update:
            async with context.ringme(started) as ringme:
                return await refresh(
                    ringme, tenants, sink, resume=resume, on_progress=update, **asdict(options)
                )

    with _resumable(shown) as started, ProgressBars() as bars:
        report = interruption.run(run(started, bars))
    if as_json:
        print_json({**_counts(report), "into": shown, "failures": failures})
    else:
        show_counts(refreshed(report, shown, failures))
    return ExitCode.ALL_WELL if report.ok else ExitCode.SOME_FAILED


def plan(
    context: CommandContext,
    changes: Changes,
    path: str,
    out: str | None,
    options: RunOptions,
    *,
    as_json: bool,
) -> int:
    """Show what would change, and save the plan if ``out`` is given.

    Args:
        context: The command's context.
        changes: The wanted changes.
        path: The file of the changes.
        out: The file for the plan.
        options: The options of the run.
        as_json: Print the plan as JSON.
    """
    if out is not None:
        refuse_stream("--out", out, "name a file, or print the plan with --json")
        context.refuse_shared_files({"the list of changes": path}, {"--out": out})
        _check_writable(out)

    async def run(bars: ProgressBars) -> Plan:
        with bars.count("planning", len(changes)) as count:
            async with context.ringme(count) as ringme:
                return await ringme.clients.plan(changes, **asdict(options))

    with ProgressBars() as bars:
        made = interruption.run(run(bars))
    if out is not None:
        try:
            made.save(out)
        except OSError as error:
            raise OutputError(describe_file_error(out, error)) from error
    if as_json:
        print_json({**made.to_json(), "failures": [_failure(failure) for failure in made.failures]})
    else:
        for change in made:
            print(printable(str(change)))
        show_counts(planned(made, out))
        for failure in made.failures[:_MOST_SHOWN]:
            print_to_stderr(_failure_line(failure))
        if len(made.failures) > _MOST_SHOWN:
            print_to_stderr(f"{len(made.failures) - _MOST_SHOWN} more could not be planned")
    return ExitCode.SOME_FAILED if made.failures else ExitCode.ALL_WELL


def apply(
    context: CommandContext,
    path: str,
    journal: str | None,
    options: RunOptions,
    *,
    resume: bool,
    overwrite: bool,
    any_host: bool,
    as_json: bool,
) -> int:
    """Make the changes of a plan."""
    if resume and overwrite:
        raise WrongUsage("--resume goes on with what --overwrite would throw away")
    refuse_stream("PLAN", path, "name the file of the plan, which --resume reads again")
    refuse_stream("--journal", journal, "name a file, which --resume can go on with")
    into = f"{os.path.splitext(path)[0]}.journal.jsonl" if journal is None else journal
    log = {"the open writes of --journal": writes_beside(into)}
    context.refuse_shared_files({"the plan": path}, {**files_of_output("--journal", into), **log})

    async def run(started: _CallWatcher, bars: ProgressBars) -> ApplyReport:
        async with context.ringme(started) as ringme:
            loaded = _load(ringme, context, path, any_host=any_host)
            with bars.track("changing", len(loaded)) as update:
                return await apply_plan(
                    loaded,
                    into,
                    resume=resume,
                    overwrite=overwrite,
                    on_progress=update,
                    **asdict(options),
                )

    with _resumable(into) as started, ProgressBars() as bars:
        report = interruption.run(run(started, bars))
    failures = failures_beside(into)
    if as_json:
        print_json({**_counts(report), "journal": into, "failures": failures})
    else:
        show_counts(applied(report, into, failures))
    return ExitCode.ALL_WELL if report.ok else ExitCode.SOME_FAILED


def changes_of(context: CommandContext, path: str, encoding: str) -> Changes:
    """Read a list of changes; see ``read_changes``."""
    settings = context.settings
    try:
        return read_changes(path, encoding, context.tenants, has_auth=settings.auth is not None)
    except CouldNotStart as error:
        if not settings.withheld:
            raise
        sentences = (*error.sentences, settings.withheld)
    raise CouldNotStart(*sentences)


@contextmanager
def _resumable(where: str) -> Generator[_CallWatcher, None, None]:
    """Yield an observer of calls, and report how to resume an interrupted run.

    Raises:
        CouldNotStart: The output is unusable, and nothing was sent.
    """
    watcher = _CallWatcher()
    try:
        yield watcher
    except OutputError as error:
        if watcher.any_call:
            raise
        raise CouldNotStart(str(error)) from None
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt.__context__, "__notes__", ()):
            print_to_stderr(note)
        print_to_stderr(f"what has come is in {where}; go on with --resume")
        raise


def _load(ringme: RingMe, context: CommandContext, path: str, *, any_host: bool) -> Plan:
    tenants = () if context.tenants is None else context.tenants.tenants
    try:
        loaded = ringme.clients.load_plan(path, tenants=tenants, any_host=any_host)
    except OSError as error:
        raise CouldNotStart(describe_file_error(path, error)) from None
    except InvalidRequest as error:
        is_named = error.reason.endswith(_NO_SUCH_TENANT)
        hint = "; a plan for tenants by name needs --tenants" if is_named and not tenants else ""
        raise CouldNotStart(f"{error.reason}{hint}") from None
    if any(change.name is None for change in loaded):
        context.require_settings()
    return loaded


def _output(into: str) -> tuple[str, str | None]:
    """Return an output's name without a password, and its file of failures."""
    url = _URL.fullmatch(into)
    if url is None:
        return into, failures_beside(into)
    scheme, user, rest, query = url.groups(default="")
    if "password=" in query:
        raise WrongUsage("--into: leave the password to PGPASSWORD or ~/.pgpass")
    if ":" in user:
        print_to_stderr(
            "warning: the password in --into can be seen in the list of processes;"
            " leave it to PGPASSWORD or ~/.pgpass"
        )
    return scheme + rest, None


def _check_writable(out: str) -> None:
    """Check that the plan can be written, before the run reads many tenants for it."""
    try:
        refuse_for_plan(out)
    except OutputError as refusal:
        raise CouldNotStart(str(refusal)) from None
    folder = os.path.dirname(out) or "."
    message = ""
    if os.path.isdir(out):
        message = "it is a folder; name a file in it"
    elif not os.path.isdir(folder):
        message = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):  # pragma: no cover - root may write everywhere
        message = f"you may not make files in {folder}"
    if message:
        raise CouldNotStart(f"{out}: no file can be written there: {message}")


def _failure_line(failure: Failed | NotAttempted) -> str:
    if isinstance(failure, NotAttempted):
        return f"{key_of(failure.who)}: {failure.reason}"
    names_client = failure.error.client_id is not None and not isinstance(failure.who, Tenant)
    return str(failure.error) if names_client else f"{key_of(failure.who)}: {failure.error}"


def _failure(failure: Failed | NotAttempted) -> dict[str, object]:
    if isinstance(failure, NotAttempted):
        return {"tenant": key_of(failure.who), "error": "NotAttempted", "message": failure.reason}
    return {
        "tenant": key_of(failure.who),
        **describe(failure),
        "message": for_shell(str(failure.error)),
    }


def _counts(report: RefreshReport | ApplyReport) -> dict[str, object]:
    """Return a report for JSON, with advice in the terms of the command line."""
    kinds = [evolve(kind, next_step=for_shell(kind.next_step)) for kind in report.kinds]
    return {**asdict(evolve(report, kinds=tuple(kinds))), "ok": report.ok}
