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
from ringme_async.cli.connect import Ready, complain
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.files import files_of_output
from ringme_async.cli.inputs import refuse_stream
from ringme_async.cli.results import applied, planned, refreshed
from ringme_async.cli.show import Bars, show_counts
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
from ringme_async.mirror.errors import told_of_file
from ringme_async.mirror.failures import describe
from ringme_async.mirror.jsonl_sink import failures_beside
from ringme_async.mirror.output_path import in_full, refuse_for_plan
from ringme_async.mirror.write_log import writes_beside

__all__ = ["Pace", "apply", "changes_of", "plan", "refresh_all"]

_MOST_TOLD: Final = 20
_NO_SUCH_TENANT: Final = "no such tenant"
_URL: Final = re.compile(r"([A-Za-z0-9_+.-]+://)(?:(.*)@)?([^?]*)(\?.*)?", re.DOTALL)


@frozen
class Pace:
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
class _Started:
    """Notes whether any call has been made."""

    anything: bool = False

    def __call__(self, event: Event) -> None:
        self.anything = self.anything or isinstance(event, CallStarted)


def refresh_all(
    ready: Ready, into: str, pace: Pace, *, resume: bool, overwrite: bool, as_json: bool
) -> int:
    """Read every tenant of the list into a file or a database."""
    if ready.tenants is None:
        raise WrongUsage("refresh needs a list of tenants: --tenants FILE")
    if resume and overwrite:
        raise WrongUsage("--resume goes on with what --overwrite would throw away")
    if not into:
        raise WrongUsage("--into: name a file or a database")
    refuse_stream(
        "--into", into, "name a file, such as clients.jsonl, which --resume can go on with"
    )
    into = in_full(into)
    ready.keep_apart({}, files_of_output("--into", into))
    tenants = ready.tenants.tenants
    sink = sink_for(into, overwrite=overwrite)
    shown, failures = _output(into)

    async def run(started: _Started, bars: Bars) -> RefreshReport:
        with bars.follow("reading", len(tenants)) as tell:
            async with ready.ringme(started) as ringme:
                return await refresh(
                    ringme, tenants, sink, resume=resume, on_progress=tell, **asdict(pace)
                )

    with _resumable(shown) as started, Bars() as bars:
        report = interruption.run(run(started, bars))
    if as_json:
        print_json({**_counts(report), "into": shown, "failures": failures})
    else:
        show_counts(refreshed(report, shown, failures))
    return ExitCode.ALL_WELL if report.ok else ExitCode.SOME_FAILED


def plan(
    ready: Ready, changes: Changes, path: str, out: str | None, pace: Pace, *, as_json: bool
) -> int:
    """Say what would change, and keep it in a file if asked to.

    Args:
        ready: What to work with.
        changes: What is wished for.
        path: The file that the changes are from.
        out: The file for the plan.
        pace: How fast, and how long.
        as_json: Print the plan as JSON.
    """
    if out is not None:
        refuse_stream("--out", out, "name a file, or print the plan with --json")
        ready.keep_apart({"the list of changes": path}, {"--out": out})
        _check_writable(out)

    async def run(bars: Bars) -> Plan:
        with bars.count("planning", len(changes)) as count:
            async with ready.ringme(count) as ringme:
                return await ringme.clients.plan(changes, **asdict(pace))

    with Bars() as bars:
        made = interruption.run(run(bars))
    if out is not None:
        try:
            made.save(out)
        except OSError as error:
            raise OutputError(told_of_file(out, error)) from error
    if as_json:
        print_json({**made.to_json(), "failures": [_failure(one) for one in made.failures]})
    else:
        for change in made:
            print(printable(str(change)))
        show_counts(planned(made, out))
        for one in made.failures[:_MOST_TOLD]:
            complain(_told(one))
        if len(made.failures) > _MOST_TOLD:
            complain(f"{len(made.failures) - _MOST_TOLD} more could not be planned")
    return ExitCode.SOME_FAILED if made.failures else ExitCode.ALL_WELL


def apply(
    ready: Ready,
    path: str,
    journal: str | None,
    pace: Pace,
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
    ready.keep_apart({"the plan": path}, {**files_of_output("--journal", into), **log})

    async def run(started: _Started, bars: Bars) -> ApplyReport:
        async with ready.ringme(started) as ringme:
            loaded = _load(ringme, ready, path, any_host=any_host)
            with bars.follow("changing", len(loaded)) as tell:
                return await apply_plan(
                    loaded,
                    into,
                    resume=resume,
                    overwrite=overwrite,
                    on_progress=tell,
                    **asdict(pace),
                )

    with _resumable(into) as started, Bars() as bars:
        report = interruption.run(run(started, bars))
    failures = failures_beside(into)
    if as_json:
        print_json({**_counts(report), "journal": into, "failures": failures})
    else:
        show_counts(applied(report, into, failures))
    return ExitCode.ALL_WELL if report.ok else ExitCode.SOME_FAILED


def changes_of(ready: Ready, path: str, encoding: str) -> Changes:
    """Read a list of changes; see ``read_changes``."""
    settings = ready.settings
    try:
        return read_changes(path, encoding, ready.tenants, has_auth=settings.auth is not None)
    except CouldNotStart as error:
        if not settings.withheld:
            raise
        sentences = (*error.sentences, settings.withheld)
    raise CouldNotStart(*sentences)


@contextmanager
def _resumable(where: str) -> Generator[_Started, None, None]:
    """Give an observer, and say what becomes of a run that breaks off.

    Raises:
        CouldNotStart: The output was not to be used, and nothing was sent.
    """
    started = _Started()
    try:
        yield started
    except OutputError as error:
        if started.anything:
            raise
        raise CouldNotStart(str(error)) from None
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt.__context__, "__notes__", ()):
            complain(note)
        complain(f"what has come is in {where}; go on with --resume")
        raise


def _load(ringme: RingMe, ready: Ready, path: str, *, any_host: bool) -> Plan:
    tenants = () if ready.tenants is None else ready.tenants.tenants
    try:
        loaded = ringme.clients.load_plan(path, tenants=tenants, any_host=any_host)
    except OSError as error:
        raise CouldNotStart(told_of_file(path, error)) from None
    except InvalidRequest as error:
        is_named = error.reason.endswith(_NO_SUCH_TENANT)
        hint = "; a plan for tenants by name needs --tenants" if is_named and not tenants else ""
        raise CouldNotStart(f"{error.reason}{hint}") from None
    if any(change.name is None for change in loaded):
        ready.require_settings()
    return loaded


def _output(into: str) -> tuple[str, str | None]:
    """Name an output, without the password of a database, and the file of its failures."""
    url = _URL.fullmatch(into)
    if url is None:
        return into, failures_beside(into)
    scheme, user, rest, query = url.groups(default="")
    if "password=" in query:
        raise WrongUsage("--into: leave the password to PGPASSWORD or ~/.pgpass")
    if ":" in user:
        complain(
            "warning: the password in --into can be seen in the list of processes;"
            " leave it to PGPASSWORD or ~/.pgpass"
        )
    return scheme + rest, None


def _check_writable(out: str) -> None:
    """See to it that the plan can be written before many tenants are read for it."""
    try:
        refuse_for_plan(out)
    except OutputError as refusal:
        raise CouldNotStart(str(refusal)) from None
    folder = os.path.dirname(out) or "."
    flaw = ""
    if os.path.isdir(out):
        flaw = "it is a folder; name a file in it"
    elif not os.path.isdir(folder):
        flaw = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):  # pragma: no cover - root may write everywhere
        flaw = f"you may not make files in {folder}"
    if flaw:
        raise CouldNotStart(f"{out}: no file can be written there: {flaw}")


def _told(one: Failed | NotAttempted) -> str:
    if isinstance(one, NotAttempted):
        return f"{key_of(one.who)}: {one.reason}"
    says_whom = one.error.client_id is not None and not isinstance(one.who, Tenant)
    return str(one.error) if says_whom else f"{key_of(one.who)}: {one.error}"


def _failure(one: Failed | NotAttempted) -> dict[str, object]:
    if isinstance(one, NotAttempted):
        return {"tenant": key_of(one.who), "error": "NotAttempted", "message": one.reason}
    return {"tenant": key_of(one.who), **describe(one), "message": for_shell(str(one.error))}


def _counts(report: RefreshReport | ApplyReport) -> dict[str, object]:
    """Give a report for JSON, its advice in the words of the command line."""
    kinds = [evolve(one, next_step=for_shell(one.next_step)) for one in report.kinds]
    return {**asdict(evolve(report, kinds=tuple(kinds))), "ok": report.ok}
