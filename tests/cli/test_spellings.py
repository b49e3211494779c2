"""Advice of errors, in the terms of the command line and of the command that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ringme_async import ClientUpdate, DeadlineExceeded, InvalidRequest, RateLimited, errors
from ringme_async.cli.app import app
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.spellings import for_shell
from ringme_async.errors import RingMeError
from ringme_async.mirror import errors as mirror_errors
from tests.cli.conftest import Here
from tests.cli.shell import Shell

PYTHON = re.compile(r"\b[a-z_]+=|\bTrue\b|\bNone\b")
OPTION = re.compile(r"--[a-z][a-z-]*")


def kinds() -> Iterator[type[RingMeError]]:
    for module in (errors, mirror_errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, RingMeError):
                yield kind


def advice_of(kind: type[RingMeError]) -> set[str]:
    advice = {kind("it broke").next_step}
    return advice | {getattr(kind, name) for name in dir(kind) if name.startswith("advice")}


def options_of(command: str) -> set[str]:
    arguments = app[command].assemble_argument_collection()
    return {name for argument in arguments for name in argument.names}


@pytest.mark.parametrize("kind", list(kinds()))
def test_no_advice_on_the_command_line_is_for_python(kind: type[RingMeError]) -> None:
    for advice in advice_of(kind):
        message = for_shell(advice)
        assert PYTHON.search(message) is None, message
        # Advice for all commands must not name an option that some of them lack.
        if advice != DeadlineExceeded.advice_on_run:
            assert set(OPTION.findall(message)) <= options_of("get")


@pytest.mark.parametrize("command", ["refresh", "plan", "apply"])
def test_advice_names_only_options_of_the_command(command: str) -> None:
    refused = RateLimited("no", reset_after=725)
    refused.remedy = 'on_quota="park"'
    for advice in (DeadlineExceeded.advice_on_run, refused.next_step):
        options = OPTION.findall(for_shell(advice))
        assert options
        assert set(options) <= options_of(command)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (str(RateLimited("no", reset_after=725)), "no; try again in 12 min 5 s"),
        (str(DeadlineExceeded("no")), "no; try again later if the server is merely slow"),
        ("the deadline passed (timeout=60 s)", "the deadline passed (time-out 60 s)"),
        ("timezone is wrong", "timezone is wrong"),
        ("trust it with ssl= or --ca", "trust it with --ca"),
    ],
)
def test_advice_for_python_becomes_advice_for_the_command_line(message: str, shown: str) -> None:
    assert for_shell(message) == shown


def test_advice_on_a_known_field_in_extra_is_for_the_command_line() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ClientUpdate(extra={"timezone": "Asia/Omsk"})
    assert for_shell(caught.value.reason) == "timezone is named by itself, not in extra"


@pytest.mark.parametrize("form", [[], ["--json"]])
async def test_a_used_up_hour_says_when_to_try_again(
    form: list[str], here: Here, shell: Shell
) -> None:
    small = shell.fake.add_dealer("small", "small-s3cret", ceiling=2)
    shell.variables |= {"RINGME_APP_ID": small.app_id, "RINGME_APP_SECRET": "small-s3cret"}
    ended = await here("get", "12", *form)
    while ended.code == ExitCode.ALL_WELL:
        ended = await here("get", "12", *form)
    for message in (ended.err, ended.json["message"] if form else ended.err):
        assert re.search(r"; try again in [0-9]+ (h|min)( [0-9]+ (min|s))*$", message.strip())


async def test_failure_kinds_in_json_name_options(here: Here, shell: Shell) -> None:
    small = shell.fake.add_dealer("small", "small-s3cret", ceiling=5)
    shell.variables |= {"RINGME_APP_ID": small.app_id, "RINGME_APP_SECRET": "small-s3cret"}
    tenants = shell.write_tenants(range(1, 21))
    options = ("--tenants", tenants, "--on-quota", "fail", "--json")
    ended = await here("refresh", "--into", "clients.jsonl", *options)
    (kind,) = ended.json["kinds"]
    assert kind["next_step"].endswith(", or give --on-quota park")
    shell.write("changes.csv", "tenant,hold_music\nt1,5\n")
    ended = await here("plan", "changes.csv", *options)
    (failure,) = ended.json["failures"]
    assert failure["message"].endswith(", or give --on-quota park")
