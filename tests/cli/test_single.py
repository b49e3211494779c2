"""``ringme get`` and ``ringme set``, run by a user or a script."""

from __future__ import annotations

import pytest

from ringme_async.cli.codes import ExitCode
from ringme_async.testing import faults
from tests.cli.conftest import Here
from tests.cli.shell import Shell


async def test_getting_a_client_shows_its_record(shell: Shell) -> None:
    ended = await shell.run("get", "12")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert '"Europe/Moscow"' in ended.out
    assert "disk_space_notify_threshold" in ended.out


async def test_as_json_it_is_the_record_as_the_server_sent_it(shell: Shell) -> None:
    ended = await shell.run("get", "12", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert ended.json == shell.fake.records[12]


async def test_letters_that_stdout_cannot_encode_are_escaped_in_json(shell: Shell) -> None:
    shell.fake.tenant(12).set(name="\u0420\u043e\u043c\u0430\u0448\u043a\u0430")
    shell.variables["PYTHONIOENCODING"] = "ascii"
    ended = await shell.run("get", "12", "--json")
    assert ended.code == ExitCode.ALL_WELL
    assert ended.json == shell.fake.records[12]
    table = await shell.run("get", "12")
    assert table.code == ExitCode.ALL_WELL
    assert r"\u0420\u043e" in table.out


async def test_control_characters_do_not_reach_the_terminal(here: Here, shell: Shell) -> None:
    shell.fake.tenant(12).set(name="\x1b[2J [bold]\x9b2J")
    ended = await here("get", "12")
    assert "\x9b" not in ended.out
    assert "\x1b" not in ended.out
    assert "[bold]" in ended.out


async def test_a_missing_client_is_a_failure(shell: Shell) -> None:
    ended = await shell.run("get", "404")
    assert (ended.code, ended.out) == (ExitCode.SOME_FAILED, "")
    assert ended.err.startswith("ringme: client 404: 404 Not Found (client_not_found)")


async def test_as_json_a_failure_is_an_object_too(here: Here, shell: Shell) -> None:
    ended = await here("get", "404", "--json")
    assert ended.code == ExitCode.SOME_FAILED
    result = ended.json
    assert result.pop("message").startswith("client 404: ")
    assert result == {
        "tenant": "404",
        "error": "ClientNotFound",
        "status_code": 404,
        "status": "client_not_found",
        "maybe_applied": False,
        "attempts": 1,
    }


async def test_set_sends_the_named_fields_and_null_clears(shell: Shell) -> None:
    shell.fake.tenant(12).set(hold_music=7)
    ended = await shell.run(
        "set", "12", "--timezone", "Asia/Omsk", "--hold-music", "null", "--dial-rule-id", "21"
    )
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert '"Asia/Omsk"' in ended.out
    assert "disk_space" not in ended.out
    shell.fake.assert_updated(12, timezone="Asia/Omsk", hold_music=None, dial_rule_id=21)
    (put,) = shell.fake.requests.where(method="PUT")
    assert put.sent == {"timezone": "Asia/Omsk", "hold_music": None, "dial_rule_id": 21}


async def test_as_json_setting_gives_the_record_as_it_is_now(here: Here, shell: Shell) -> None:
    ended = await here("set", "12", "--geo-list", "*", "--json")
    assert ended.code == ExitCode.ALL_WELL
    assert ended.json == shell.fake.records[12]
    assert ended.json["geo_list"] == "*"


async def test_a_write_whose_answer_is_lost_for_good_says_so(here: Here, shell: Shell) -> None:
    shell.fake.faults.next(faults.ServerError(500), times=4, on="PUT")
    ended = await here("set", "12", "--timezone", "Asia/Omsk", "--json")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.json["maybe_applied"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "12"], "name at least one field"),
        (["set", "12", "--timezone", "not a zone"], "timezone must be an IANA zone"),
        (["set", "12", "--hold-music", "loud"], "hold_music must be an integer"),
        (["set", "12", "--extra", "colour"], "--extra takes NAME=VALUE"),
        (["set", "12", "--extra", "name=x"], "name cannot be changed"),
        (["get", "../12"], 'a client id is a number or "@me"'),
        (["get", "acme"], "names are those of a list: --tenants FILE"),
        (["get", "12", "--base-url", "pbx.example.com"], "--base-url: "),
        (["get"], "requires an argument"),
        (["get", "12", "--secret", "s3cret"], "a secret is never an argument"),
    ],
)
async def test_a_wrong_argument_is_wrong_usage_and_nothing_is_sent(
    arguments: list[str], message: str, here: Here, shell: Shell
) -> None:
    ended = await here(*arguments)
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert message in ended.err
    assert shell.fake.requests.total == 0


async def test_fields_that_the_program_does_not_know_can_be_set(here: Here, shell: Shell) -> None:
    shell.fake.tenant(12).set(colour=None, depth=None)
    await here("set", "12", "--extra", "colour=red", "--extra", "depth=3")
    (put,) = shell.fake.requests.where(method="PUT")
    assert put.sent == {"colour": "red", "depth": 3}


async def test_a_read_only_field_is_reported_as_such(here: Here, shell: Shell) -> None:
    ended = await here("set", "1", "--domain-prefix=1")
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert ended.err == (
        "ringme: --domain-prefix: this field of a client can be read, and not changed\n"
    )
    misspelt = await here("set", "1", "--timezon", "Asia/Omsk")
    assert "--timezone" in misspelt.err
    assert shell.fake.requests.total == 0


async def test_a_tenant_is_found_by_its_name_in_a_list(here: Here, shell: Shell) -> None:
    own = shell.fake.add_application("own", "own-s3cret", tenant=5)
    shell.write("tenants.csv", f"name;app_id;secret\nacme;{own.app_id};own-s3cret\n")
    ended = await here("get", "acme", "--tenants", "tenants.csv", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert ended.json["id"] == 5
    missing = await here("get", "globex", "--tenants", "tenants.csv")
    assert missing.code == ExitCode.WRONG_USAGE
    assert missing.err == "ringme: there is no tenant 'globex' in tenants.csv\n"
    misspelt = await here("get", "acmee", "--tenants", "tenants.csv")
    assert misspelt.err == (
        "ringme: there is no tenant 'acmee' in tenants.csv (did you mean 'acme'?)\n"
    )


async def test_a_failure_of_a_tenant_is_reported_by_name(here: Here, shell: Shell) -> None:
    shell.fake.block(5)
    shell.fake.add_application("own", "own-s3cret", tenant=5)
    shell.write("tenants.csv", "name;app_id;secret\nacme;own;own-s3cret\n")
    ended = await here("get", "acme", "--tenants", "tenants.csv")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.err.startswith("ringme: acme: client @me: 403 Forbidden (user_blocked)")


async def test_a_list_with_secrets_readable_by_others_causes_a_warning(
    here: Here, shell: Shell
) -> None:
    shell.fake.add_application("own", "own-s3cret", tenant=5)
    shell.write("tenants.csv", "name;app_id;secret\nacme;own;own-s3cret\n", mode=0o644)
    ended = await here("get", "acme", "--tenants", "tenants.csv", "--json")
    assert ended.code == ExitCode.ALL_WELL
    assert ended.err == (
        "ringme: warning: tenants.csv holds secrets, and others can read it:"
        " chmod 600 tenants.csv\n"
    )


async def test_a_profile_holds_the_host_and_credentials(shell: Shell) -> None:
    config = f'[test]\nbase_url = "{shell.url}"\napp_id = "dealer"\nsecret = "dealer-s3cret"\n'
    (shell.folder / ".config" / "ringme").mkdir(parents=True)
    shell.write(".config/ringme/config.toml", config)
    shell.variables = {"RINGME_BASE_URL": "http://127.0.0.1:1"}
    ended = await shell.run("get", "12", "--profile", "test", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    shell.write(".config/ringme/config.toml", config, mode=0o604)
    warned = await shell.run("get", "12", "--profile", "test", "--json")
    assert warned.code == ExitCode.ALL_WELL
    assert "holds a secret, and others can read it: chmod 600" in warned.err


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("RINGME_BASE_URL", "there is no base URL: "),
        ("RINGME_APP_SECRET", "the environment variable RINGME_APP_SECRET is not set"),
        ("all", "there are no credentials: "),
    ],
)
async def test_without_settings_it_does_not_start(
    missing: str, message: str, here: Here, shell: Shell
) -> None:
    if missing == "all":
        shell.variables = {"RINGME_BASE_URL": shell.url}
    else:
        del shell.variables[missing]
    ended = await here("get", "12")
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err.startswith(f"ringme: {message}")
    assert shell.fake.requests.total == 0


async def test_a_secret_that_is_refused_is_not_shown(shell: Shell) -> None:
    shell.variables["RINGME_APP_SECRET"] = "wrong-s3cret"
    ended = await shell.run("get", "12", "--json")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.json["error"] == "TokenError"
    assert ended.json["status"] == "invalid_client"


async def test_an_unreachable_host_is_a_failure(here: Here, shell: Shell) -> None:
    shell.variables["RINGME_BASE_URL"] = "http://127.0.0.1:1"
    ended = await here("get", "12", "--base-url", "http://127.0.0.1:2", "--json")
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.json["error"] == "ConnectError"
    assert ":2" in ended.json["message"]


async def test_tokens_are_kept_for_the_next_run_if_asked_for(here: Here, shell: Shell) -> None:
    for _ in range(2):
        ended = await here("get", "12", "--tokens", "tokens", "--json")
        assert ended.code == ExitCode.ALL_WELL
    assert shell.fake.logins == 1
    (shell.folder / "tokens").chmod(0o644)
    refused = await here("get", "12", "--tokens", "tokens", "--json")
    assert refused.code == ExitCode.COULD_NOT_START


async def test_the_other_path_of_the_api_can_be_chosen(here: Here, shell: Shell) -> None:
    await here("get", "12", "--url-form", "client_info")
    assert shell.fake.requests[-1].path == "/api/ver1.0/client/client_info/12/"
