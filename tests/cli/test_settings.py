"""The sources of settings, their precedence, and the messages for wrong ones."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ringme_async import BearerToken, ClientCredentials, PasswordCredentials, Tenant
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.settings import Settings, config_path, read_settings
from tests.cli.shell import Shell

URL = "https://pbx.example.com"
ENVIRONMENT = {
    "RINGME_BASE_URL": URL,
    "RINGME_APP_ID": "app",
    "RINGME_APP_SECRET": "s3cret",
}
CONFIG = """
[default]
base_url = "https://default.example.com"
app_id = "default-app"
secret = "default-s3cret"

[other]
base_url = "https://other.example.com"
app_id = "other-app"
secret_env = "OTHER"

[host]
base_url = "https://host.example.com"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return str(path)


def refusal(profile: str | None, **environ: str) -> str:
    with pytest.raises(CouldNotStart) as caught:
        read_settings(None, profile, environ)
    (sentence,) = caught.value.sentences
    assert "s3cret" not in sentence
    return sentence


def test_the_environment_holds_the_host_and_credentials() -> None:
    settings = read_settings(None, None, ENVIRONMENT)
    assert settings == Settings(URL, ClientCredentials("app", "s3cret"))
    assert "s3cret" not in repr(settings)


def test_the_environment_may_hold_other_credentials() -> None:
    user = {"RINGME_USERNAME": "user", "RINGME_PASSWORD": "word"}
    assert read_settings(None, None, ENVIRONMENT | user).auth == PasswordCredentials(
        "app", "s3cret", "user", "word"
    )
    assert read_settings(None, None, {"RINGME_TOKEN": "token"}).auth == BearerToken("token")


def test_a_host_alone_is_enough_if_tenants_have_their_own_credentials() -> None:
    assert read_settings(None, None, {"RINGME_BASE_URL": URL}) == Settings(URL)


def test_an_argument_overrules_the_base_url(config: str) -> None:
    there = "https://there.example.com"
    assert read_settings(there, None, ENVIRONMENT).base_url == there
    found = read_settings(there, "host", {"RINGME_CONFIG": config})
    assert found == Settings(there)


def test_the_option_profile_wins_over_the_whole_environment(config: str) -> None:
    environ = ENVIRONMENT | {"RINGME_CONFIG": config, "OTHER": "other-s3cret"}
    assert read_settings(None, "other", environ) == Settings(
        "https://other.example.com", ClientCredentials("other-app", "other-s3cret")
    )
    assert read_settings(None, "host", environ).auth is None


def test_the_profile_default_applies_without_an_environment(config: str) -> None:
    assert read_settings(None, None, {"RINGME_CONFIG": config}) == Settings(
        "https://default.example.com", ClientCredentials("default-app", "default-s3cret")
    )


def test_no_secret_of_the_default_profile_goes_to_a_host_of_the_environment(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "RINGME_BASE_URL": URL}
    assert read_settings(None, None, environ) == Settings(URL)


def test_missing_settings_are_no_error_until_needed(tmp_path: Path) -> None:
    assert read_settings(None, None, {"HOME": str(tmp_path)}) == Settings()


@pytest.mark.parametrize(
    ("platform", "environ", "path"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.config/ringme/config.toml"),
        ("linux", {"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/x/ringme/config.toml"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support/ringme/config.toml"),
        ("win32", {"HOME": "/h", "APPDATA": "/roaming"}, "/roaming/ringme/config.toml"),
        ("win32", {"HOME": "/h"}, "/h/AppData/Roaming/ringme/config.toml"),
        ("linux", {"HOME": "/h", "RINGME_CONFIG": "/mine.toml"}, "/mine.toml"),
    ],
)
def test_the_file_of_profiles_is_where_the_platform_keeps_such_files(
    platform: str, environ: dict[str, str], path: str
) -> None:
    assert config_path(environ, platform) == Path(path)


def test_the_home_folder_need_not_be_in_the_environment() -> None:
    assert config_path({}, "linux") == Path.home() / ".config/ringme/config.toml"


def test_a_secret_readable_by_others_causes_a_warning(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "OTHER": "s3cret"}
    assert read_settings(None, "default", environ).warning == ""
    Path(config).chmod(0o644)
    assert read_settings(None, "default", environ).warning.endswith(f"chmod 600 {config}")
    assert read_settings(None, "other", environ).warning == ""


def test_a_malformed_argument_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="--base-url: base_url must not hold credentials"):
        read_settings("https://me:s3cret@pbx.example.com", None, {})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RINGME_BASE_URL": "pbx"}, "RINGME_BASE_URL: base_url needs a scheme and a host"),
        ({"RINGME_APP_ID": "app"}, "the environment variable RINGME_APP_SECRET is not set"),
        ({"RINGME_APP_SECRET": "s3cret"}, "the environment variable RINGME_APP_ID is not set"),
        ({"RINGME_TOKEN": "s3cret\n"}, "BearerToken: token "),
    ],
)
def test_a_malformed_environment_is_reported(environ: dict[str, str], message: str) -> None:
    assert refusal(None, **environ).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no profile 'one'"),
        ("one = 5", "there is no profile 'one'"),
        ("[ones]", "there is no profile 'one' (did you mean 'ones'?)"),
        ("[one", "Expected ']'"),
        ('[one]\ncolour = "red"', "unknown keys: colour; there are base_url, app_id, secret"),
        ('[one]\nappid = "a"', "unknown keys: appid (did you mean 'app_id'?); there are base_url"),
        ("[one]\napp_id = 5", "app_id is no text"),
        ('[one]\napp_id = ""', "app_id is no text"),
        ('[one]\nbase_url = "pbx"', "base_url needs a scheme and a host"),
        ('[one]\nsecret = "s3cret"', "it has a secret, and no app_id"),
        ('[one]\napp_id = "app"', "an app_id needs either a secret or a secret_env"),
        (
            '[one]\napp_id = "app"\nsecret = "s3cret"\nsecret_env = "X"',
            "an app_id needs either a secret or a secret_env",
        ),
        ('[one]\napp_id = "app"\nsecret_env = "s3cret"', "the environment variable that"),
        ('[one]\napp_id = "app"\nsecret = "s3cret\\u0001s3cret"', "ClientCredentials: app_secret"),
    ],
)
def test_a_malformed_profile_is_reported(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(content, encoding="utf-8")
    sentence = refusal("one", RINGME_CONFIG=str(path))
    assert str(path) in sentence
    assert message in sentence


def test_undecodable_bytes_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[one]\n# \xff\n")
    assert str(path) in refusal("one", RINGME_CONFIG=str(path))


def test_a_missing_file_of_profiles_is_reported(tmp_path: Path) -> None:
    missing = str(tmp_path / "config.toml")
    for profile in (None, "one"):
        message = refusal(profile, RINGME_CONFIG=missing)
        assert message == f"{missing}: No such file or directory"


HOSTS = ("https://a.example.com", "https://b.example.com", None)


def profile_file(folder: Path, table: dict[str, str]) -> str:
    path = folder / "config.toml"
    path.write_text("[default]\n" + "".join(f'{key} = "{table[key]}"\n' for key in table))
    path.chmod(0o600)
    return str(path)


def secrets_of(settings: Settings) -> set[str]:
    auth: Any = settings.auth
    names = ("app_secret", "token", "password")
    return {getattr(auth, name) for name in names if hasattr(auth, name)}


@pytest.mark.parametrize("profile", [None, "default"])
def test_a_secret_goes_only_to_the_host_of_its_source(profile: str | None, tmp_path: Path) -> None:
    pairs = ((), ("app_id",), ("secret",), ("app_id", "secret"))
    used = 0
    for url, profile_url, mine, theirs in product(HOSTS, HOSTS, pairs, pairs):
        table = {} if profile_url is None else {"base_url": profile_url}
        table |= {key: f"profile-{key}" if key == "secret" else "one" for key in theirs}
        environ = {"RINGME_CONFIG": profile_file(tmp_path, table)}
        environ |= {} if url is None else {"RINGME_BASE_URL": url}
        environ |= {"RINGME_APP_ID": "one"} if "app_id" in mine else {}
        environ |= {"RINGME_APP_SECRET": "environment-secret"} if "secret" in mine else {}
        try:
            settings = read_settings(None, profile, environ)
        except CouldNotStart:
            continue
        first, second = (url, profile_url) if profile is None else (profile_url, url)
        assert settings.base_url == (first or second)
        if secrets_of(settings) == {"profile-secret"}:
            assert profile_url in {None, settings.base_url}
        elif secrets_of(settings):
            assert secrets_of(settings) == {"environment-secret"}
            assert url in {None, settings.base_url}
        used += bool(settings.auth)
    assert used > 20


@pytest.mark.parametrize(
    ("environ", "app_id", "secret"),
    [
        ({"RINGME_BASE_URL": "https://DEFAULT.example.com:443/"}, "default-app", "default-s3cret"),
        ({"RINGME_APP_SECRET": "newer-s3cret"}, "default-app", "newer-s3cret"),
        ({"RINGME_APP_ID": "default-app"}, "default-app", "default-s3cret"),
        ({"RINGME_APP_ID": "app", "RINGME_APP_SECRET": "s3cret"}, "app", "s3cret"),
    ],
)
def test_one_variable_leaves_the_rest_to_the_profile_default(
    environ: dict[str, str], app_id: str, secret: str, config: str
) -> None:
    settings = read_settings(None, None, environ | {"RINGME_CONFIG": config})
    assert settings.auth == ClientCredentials(app_id, secret)
    assert Tenant(base_url=settings.base_url).origin == "https://default.example.com"


def test_a_profile_may_name_a_variable_of_the_environment_for_its_secret(tmp_path: Path) -> None:
    table = {"base_url": URL, "app_id": "app", "secret_env": "RINGME_APP_SECRET"}
    environ = {"RINGME_CONFIG": profile_file(tmp_path, table), "RINGME_APP_SECRET": "s3cret"}
    for profile in (None, "default"):
        found = read_settings(None, profile, environ)
        assert found == Settings(URL, ClientCredentials("app", "s3cret"))


def test_a_user_of_the_environment_goes_with_the_application_of_the_profile(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "RINGME_USERNAME": "user", "RINGME_PASSWORD": "word"}
    assert read_settings(None, None, environ).auth == PasswordCredentials(
        "default-app", "default-s3cret", "user", "word"
    )


def test_a_whole_environment_does_not_read_the_profile(tmp_path: Path) -> None:
    broken = tmp_path / "config.toml"
    broken.write_text("[")
    found = read_settings(None, None, ENVIRONMENT | {"RINGME_CONFIG": str(broken)})
    assert found == Settings(URL, ClientCredentials("app", "s3cret"))


def test_a_file_without_the_profile_default_leaves_the_environment_alone(tmp_path: Path) -> None:
    other = tmp_path / "config.toml"
    other.write_text("[other]")
    environ = {"RINGME_CONFIG": str(other), "RINGME_BASE_URL": URL}
    assert read_settings(None, None, environ) == Settings(URL)


def withheld(profile: str | None, environ: dict[str, str]) -> str:
    settings = read_settings(None, profile, environ)
    assert settings.auth is None
    with pytest.raises(CouldNotStart) as caught:
        settings.require_auth()
    (sentence,) = caught.value.sentences
    assert sentence == settings.withheld
    assert "s3cret" not in sentence
    return sentence


def test_credentials_for_another_host_are_reported(config: str) -> None:
    message = withheld(None, {"RINGME_CONFIG": config, "RINGME_BASE_URL": URL})
    assert message == (
        f"the credentials of profile 'default' in {config} are for https://default.example.com, and"
        f" are not sent to {URL}; set RINGME_APP_ID and RINGME_APP_SECRET, or choose the profile"
        " with --profile"
    )
    message = withheld("host", ENVIRONMENT | {"RINGME_CONFIG": config})
    assert message.startswith(
        f"the credentials of the environment are for {URL}, and are not sent to"
        " https://host.example.com; put app_id and secret_env into profile 'host'"
    )


def test_credentials_without_a_host_use_the_profiles_host(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "RINGME_TOKEN": "token"}
    for profile, host in ((None, "default"), ("host", "host")):
        found = read_settings(None, profile, environ)
        assert found == Settings(f"https://{host}.example.com", BearerToken("token"))


@pytest.mark.parametrize(
    ("profile", "table", "environ", "message"),
    [
        (
            None,
            {"base_url": "https://b.example.com", "app_id": "one", "secret": "s3cret"},
            {"RINGME_BASE_URL": URL, "RINGME_APP_ID": "one"},
            "are for https://b.example.com, and are not sent to https://pbx.example.com; set",
        ),
        (
            None,
            {"app_id": "one", "secret": "s3cret"},
            {"RINGME_APP_ID": "other"},
            "is for another App ID",
        ),
        (
            "default",
            {"base_url": "https://b.example.com", "app_id": "one"},
            {"RINGME_BASE_URL": URL, "RINGME_APP_SECRET": "s3cret"},
            "not sent to https://b.example.com; give the profile a secret_env",
        ),
        (
            "default",
            {"app_id": "one"},
            {"RINGME_APP_ID": "other", "RINGME_APP_SECRET": "s3cret"},
            "RINGME_APP_SECRET is for another App ID; give the profile a secret_env",
        ),
    ],
)
def test_halves_that_do_not_belong_together_are_refused(
    profile: str | None,
    table: dict[str, str],
    environ: dict[str, str],
    message: str,
    tmp_path: Path,
) -> None:
    environ = environ | {"RINGME_CONFIG": profile_file(tmp_path, table)}
    assert message in refusal(profile, **environ)


async def test_the_command_reads_with_one_variable_and_the_profile(shell: Shell) -> None:
    shell.write("config.toml", f'[default]\nbase_url = "{shell.url}"\napp_id = "dealer"\n')
    shell.variables["RINGME_CONFIG"] = "config.toml"
    del shell.variables["RINGME_BASE_URL"], shell.variables["RINGME_APP_ID"]
    ended = await shell.run("get", "12", "--json")
    assert (ended.code, ended.json["id"]) == (ExitCode.ALL_WELL, 12)
    shell.variables["RINGME_BASE_URL"] = "https://other.example.com"
    del shell.variables["RINGME_APP_SECRET"]
    shell.write(
        "config.toml", f'[default]\nbase_url = "{shell.url}"\napp_id = "dealer"\nsecret = "x"'
    )
    changes = shell.write("changes.csv", "client_id,timezone\n12,Asia/Omsk\n")
    for command in (("get", "12"), ("plan", changes)):
        ended = await shell.run(*command)
        assert ended.code == ExitCode.COULD_NOT_START
        assert f"are for {shell.url}, and are not sent to https://other.example.com" in ended.err
