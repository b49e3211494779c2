"""``ringme plan`` and ``ringme apply``: plan first, apply then, and resume a stopped run."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from ringme_async.cli import results
from ringme_async.cli.codes import ExitCode
from ringme_async.mirror import ApplyReport
from tests.cli.conftest import Here
from tests.cli.shell import Shell

CHANGES = (
    "client_id;timezone;hold_music;geo_list\n1;Asia/Omsk;;\n2;;null;RU BY\n3;Europe/Moscow;;\n"
)


async def make_plan(here: Here, shell: Shell, count: int = 0) -> None:
    if count:
        rows = [f"{number};Asia/Omsk" for number in range(1, count + 1)]
        shell.write("changes.csv", "\r\n".join(["client_id;timezone", *rows]))
    else:
        shell.write("changes.csv", CHANGES)
    ended = await here("plan", "changes.csv", "--out", "plan.json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")


async def test_a_plan_is_shown_as_a_diff_and_nothing_is_changed(shell: Shell) -> None:
    shell.fake.tenant(2).set(hold_music=7)
    shell.write("changes.csv", CHANGES)
    ended = await shell.run("plan", "changes.csv")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert ended.out.startswith(
        "client 1\n"
        '  timezone: "Europe/Moscow" -> "Asia/Omsk"\n'
        "client 2\n"
        '  geo_list: null -> "RU BY"\n'
        "  hold_music: 7 -> null\n"
    )
    assert "as wished" in ended.out
    assert not shell.fake.requests.where(method="PUT")
    assert {path.name for path in shell.folder.iterdir()} == {"changes.csv"}


async def test_as_json_a_plan_includes_its_failures(here: Here, shell: Shell) -> None:
    shell.write(
        "changes.jsonl", '{"client_id": 1, "timezone": null}\n{"client_id": 99, "hold_music": 5}'
    )
    ended = await here("plan", "changes.jsonl", "--out", "plan.json", "--json")
    assert (ended.code, ended.err) == (ExitCode.SOME_FAILED, "")
    result = ended.json
    (failure,) = result.pop("failures")
    assert (failure["tenant"], failure["error"]) == ("99", "ClientNotFound")
    assert result == json.loads((shell.folder / "plan.json").read_text("utf-8"))
    (change,) = result["changes"]
    assert change["fields"] == {"timezone": {"from": "Europe/Moscow", "to": None}}


async def test_an_unreadable_tenant_is_named_and_the_rest_is_planned(
    here: Here, shell: Shell
) -> None:
    rows = [f"{number},Asia/Omsk" for number in range(1, 51)]
    shell.write("changes.csv", "\n".join(["client_id,timezone", *rows]))
    ended = await here("plan", "changes.csv", "--out", "plan.json")
    assert ended.code == ExitCode.SOME_FAILED
    complaints = ended.err.splitlines()
    assert len(complaints) == 21
    assert complaints[0].startswith("ringme: client 21: 404 Not Found")
    assert complaints[-1] == "ringme: 10 more could not be planned"
    assert len(json.loads((shell.folder / "plan.json").read_text("utf-8"))["changes"]) == 20


async def test_tenants_after_the_deadline_are_not_planned(here: Here, shell: Shell) -> None:
    shell.fake.latency = 30.0
    shell.write("changes.csv", CHANGES)
    arguments = ("plan", "changes.csv", "--deadline", "0.5", "--concurrency", "1")
    ended = await here(*arguments, "--json")
    assert ended.code == ExitCode.SOME_FAILED
    assert {one["error"] for one in ended.json["failures"]} == {"DeadlineExceeded", "NotAttempted"}
    result = await here(*arguments)
    assert "the run's deadline passed" in result.err


@pytest.mark.parametrize("out", [".", "nowhere/plan.json"])
async def test_nothing_is_read_for_a_plan_that_cannot_be_written(
    out: str, here: Here, shell: Shell
) -> None:
    shell.write("changes.csv", CHANGES)
    ended = await here("plan", "changes.csv", "--out", out)
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err.startswith(f"ringme: {out}: no file can be written there: ")
    assert shell.fake.requests.total == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a thing of Linux")
async def test_a_plan_that_cannot_be_written_after_all_is_a_failure(
    here: Here, shell: Shell
) -> None:
    shell.write("changes.csv", CHANGES)
    (shell.folder / "plan.json").symlink_to("/dev/full")
    ended = await here("plan", "changes.csv", "--out", "plan.json")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.err == "ringme: plan.json: No space left on device\n"


async def test_all_wrong_lines_of_the_changes_are_named(here: Here, shell: Shell) -> None:
    shell.write("changes.csv", "client_id;timezone\n1;not a zone\n2;Asia/Omsk\n2;Asia/Omsk\n")
    ended = await here("plan", "changes.csv")
    assert ended.code == ExitCode.COULD_NOT_START
    first, second = ended.err.splitlines()
    assert first.startswith("ringme: changes.csv, line 2: timezone must be an IANA zone")
    assert second == "ringme: changes.csv, line 4: client_id '2' is on line 3 already"
    assert shell.fake.requests.total == 0


async def test_only_what_differs_is_sent_and_only_where_it_differs(
    here: Here, shell: Shell
) -> None:
    shell.fake.tenant(2).set(geo_list="BY RU", hold_music=7)
    await make_plan(here, shell)
    ended = await here("apply", "plan.json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert "listed in plan.journal.jsonl" in ended.out
    puts = shell.fake.requests.where(method="PUT")
    assert {put.tenant: dict(put.sent) for put in puts} == {
        1: {"timezone": "Asia/Omsk"},
        2: {"hold_music": None},
    }


async def test_as_json_an_apply_prints_its_counts(here: Here, shell: Shell) -> None:
    await make_plan(here, shell)
    shell.fake.tenant(1).set(timezone="Asia/Omsk")
    shell.fake.tenant(2).set(geo_list="US")
    ended = await here("apply", "plan.json", "--journal", "done.jsonl", "--json")
    assert (ended.code, ended.err) == (ExitCode.SOME_FAILED, "")
    result = ended.json
    assert result.pop("run") == shell.lines("done.jsonl")[0]["run"]
    (kind,) = result.pop("kinds")
    assert (kind["error"], kind["count"]) == ("Conflict", 1)
    assert result == {
        "applied": 0,
        "as_wished": 1,
        "failed": 1,
        "conflicts": 1,
        "rewritten": 0,
        "unclear": 0,
        "skipped": 0,
        "not_attempted": 0,
        "ok": False,
        "journal": "done.jsonl",
        "failures": "done.failures.jsonl",
    }


async def test_a_change_made_behind_the_plans_back_is_a_conflict(here: Here, shell: Shell) -> None:
    await make_plan(here, shell)
    shell.fake.tenant(1).set(timezone="Asia/Tomsk")
    ended = await here("apply", "plan.json")
    assert ended.code == ExitCode.SOME_FAILED
    assert "of these conflicts" in ended.out
    assert "Conflict " not in ended.out
    (failure,) = shell.lines("plan.journal.failures.jsonl")
    assert (failure["tenant"], failure["error"]) == ("1", "Conflict")
    shell.fake.assert_not_updated(1)


@pytest.mark.parametrize(
    ("stop", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)],
)
async def test_a_stopped_apply_is_resumed_without_a_false_conflict(
    stop: signal.Signals, code: int, here: Here, shell: Shell
) -> None:
    shell.fake.add_tenants(100)
    await make_plan(here, shell, 120)
    shell.fake.latency = 0.02
    stopped = await shell.stop_after(100, stop, "apply", "plan.json", "--concurrency", "8")
    assert (stopped.code, stopped.out) == (code, "")
    ended = await shell.run("apply", "plan.json", "--resume", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    result = ended.json
    assert result["applied"] + result["as_wished"] + result["skipped"] == 120
    assert result["skipped"] > 0
    journal = Counter(line["tenant"] for line in shell.lines("plan.journal.jsonl"))
    assert journal == Counter(str(number) for number in range(1, 121))
    for number in range(1, 121):
        assert shell.fake.records[number]["timezone"] == "Asia/Omsk"


async def test_a_malformed_plan_does_not_ask_for_a_list_of_tenants(
    here: Here, shell: Shell
) -> None:
    shell.write("changes.csv", CHANGES)
    ended = await here("apply", "changes.csv")
    assert ended.code == ExitCode.COULD_NOT_START
    assert ended.err.startswith("ringme: changes.csv is no plan")
    assert "--tenants" not in ended.err


async def test_a_tenant_that_cannot_be_planned_is_reported_by_name(
    here: Here, shell: Shell
) -> None:
    shell.write("tenants.csv", "name,client_id\nacme,777\n")
    shell.write("changes.csv", "tenant,timezone\nacme,Asia/Omsk\n")
    ended = await here("plan", "changes.csv", "--tenants", "tenants.csv")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.err.startswith("ringme: acme: client 777: 404 Not Found")


async def test_a_plan_of_tenants_by_name_is_applied_with_the_same_list(shell: Shell) -> None:
    shell.fake.add_application("own", "own-s3cret", tenant=5)
    shell.variables = {"OWN": "own-s3cret", "RINGME_BASE_URL": shell.url}
    shell.write("tenants.jsonl", '{"name": "acme", "app_id": "own", "secret_env": "OWN"}\n')
    shell.write("changes.csv", "tenant,timezone\nacme,Asia/Omsk\n")
    with_list = ("--tenants", "tenants.jsonl")
    planned = await shell.run("plan", "changes.csv", "--out", "plan.json", *with_list)
    assert planned.out.startswith("client 5 (acme)\n")
    assert "s3cret" not in (shell.folder / "plan.json").read_text("utf-8")
    refused = await shell.run("apply", "plan.json")
    assert refused.code == ExitCode.COULD_NOT_START
    assert "a plan for tenants by name needs --tenants" in refused.err
    ended = await shell.run("apply", "plan.json", *with_list)
    assert ended.code == ExitCode.ALL_WELL
    shell.fake.assert_updated(5, timezone="Asia/Omsk")


async def test_a_file_that_is_no_plan_is_not_applied(here: Here, shell: Shell) -> None:
    missing = await here("apply", "plan.json")
    assert missing.code == ExitCode.COULD_NOT_START
    assert missing.err == "ringme: plan.json: No such file or directory\n"
    shell.write("plan.json", "[]")
    malformed = await here("apply", "plan.json", "--tenants", shell.write_tenants(range(1, 2)))
    assert malformed.code == ExitCode.COULD_NOT_START
    assert "is no plan" in malformed.err
    assert shell.fake.requests.total == 0


async def test_a_plan_of_client_ids_needs_credentials(here: Here, shell: Shell) -> None:
    await make_plan(here, shell)
    before = shell.fake.requests.total
    shell.variables = {"RINGME_BASE_URL": shell.url}
    ended = await here("apply", "plan.json")
    assert ended.code == ExitCode.COULD_NOT_START
    assert ended.err.startswith("ringme: there are no credentials: ")
    assert shell.fake.requests.total == before


async def test_a_journal_of_another_plan_is_left_alone(here: Here, shell: Shell) -> None:
    await make_plan(here, shell)
    await here("apply", "plan.json")
    await make_plan(here, shell, 5)
    ended = await here("apply", "plan.json", "--resume")
    assert ended.code == ExitCode.COULD_NOT_START
    assert "this line is of another plan" in ended.err
    contradiction = await here("apply", "plan.json", "--resume", "--overwrite")
    assert contradiction.code == ExitCode.WRONG_USAGE
    anew = await here("apply", "plan.json", "--overwrite")
    assert anew.code == ExitCode.ALL_WELL


async def test_tenants_of_an_earlier_part_of_the_run_are_skipped(here: Here, shell: Shell) -> None:
    await make_plan(here, shell, 5)
    await here("apply", "plan.json")
    before = shell.fake.requests.total
    ended = await here("apply", "plan.json", "--resume")
    assert ended.code == ExitCode.ALL_WELL
    assert "an earlier part of the run has done them" in ended.out
    assert shell.fake.requests.total == before


async def test_a_plan_for_another_host_needs_any_host(here: Here, shell: Shell) -> None:
    await make_plan(here, shell)
    plan = (shell.folder / "plan.json").read_text("utf-8")
    made_for = json.loads(plan)["changes"][0]["base_url"]
    shell.write("plan.json", plan.replace(made_for, "https://pbx.example.com"))
    ended = await here("apply", "plan.json")
    assert ended.code == ExitCode.COULD_NOT_START
    assert "was made for 'https://pbx.example.com', and would go to" in ended.err
    assert "--any-host takes it nevertheless" in ended.err
    assert not shell.fake.requests.where(method="PUT")
    ended = await here("apply", "plan.json", "--any-host")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert shell.fake.requests.where(method="PUT")


def test_the_summary_tells_own_writes_from_changes_by_others() -> None:
    report = ApplyReport(
        run="1",
        applied=3,
        as_wished=0,
        failed=2,
        conflicts=0,
        skipped=0,
        not_attempted=0,
        rewritten=3,
        unclear=2,
    )
    rows = {name: count for name, count, _remark in results.applied(report, "a", "b")}
    assert rows == {
        "changed": 3,
        "of these rewritten": 3,
        "as wished": 0,
        "failed": 2,
        "of these unclear": 2,
    }
    remarks = [remark for _name, _count, remark in results.applied(report, "a", "b")]
    assert not any("somebody else" in remark for remark in remarks)
