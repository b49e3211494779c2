"""Where settings come from, which of them wins, and what is said if they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringme_async import BearerToken, ClientCredentials, PasswordCredentials
from ringme_async.cli.settings import Settings, config_path, read_settings
from ringme_async.cli.wrong import CouldNotStart, WrongUsage

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


def test_the_environment_says_where_and_with_which_credentials() -> None:
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


def test_a_profile_that_is_asked_for_wins_over_the_environment_whole(config: str) -> None:
    environ = ENVIRONMENT | {"RINGME_CONFIG": config, "OTHER": "other-s3cret"}
    assert read_settings(None, "other", environ) == Settings(
        "https://other.example.com", ClientCredentials("other-app", "other-s3cret")
    )
    assert read_settings(None, "host", environ).auth is None


def test_the_profile_default_is_for_those_without_an_environment(config: str) -> None:
    assert read_settings(None, None, {"RINGME_CONFIG": config}) == Settings(
        "https://default.example.com", ClientCredentials("default-app", "default-s3cret")
    )


def test_no_secret_of_the_default_profile_goes_to_a_host_of_the_environment(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "RINGME_BASE_URL": URL}
    assert read_settings(None, None, environ) == Settings(URL)


def test_nothing_anywhere_is_fine_for_now(tmp_path: Path) -> None:
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


def test_a_secret_that_others_can_read_is_warned_of(config: str) -> None:
    environ = {"RINGME_CONFIG": config, "OTHER": "s3cret"}
    assert read_settings(None, "default", environ).warning == ""
    Path(config).chmod(0o644)
    assert read_settings(None, "default", environ).warning.endswith(f"chmod 600 {config}")
    assert read_settings(None, "other", environ).warning == ""


def test_a_malformed_argument_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="--base-url: base_url must not hold credentials"):
        read_settings("https://me:s3cret@pbx.example.com", None, {})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RINGME_BASE_URL": "pbx"}, "RINGME_BASE_URL: base_url needs a scheme and a host"),
        ({"RINGME_APP_ID": "app"}, "the environment variable RINGME_APP_SECRET is not set"),
        ({"RINGME_APP_SECRET": "s3cret"}, "the environment variable RINGME_APP_ID is not set"),
        ({"RINGME_TOKEN": "s3cret\n"}, "BearerToken: token "),
    ],
)
def test_a_malformed_environment_is_told_of(environ: dict[str, str], said: str) -> None:
    assert refusal(None, **environ).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
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
def test_a_malformed_profile_is_told_of(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(content, encoding="utf-8")
    sentence = refusal("one", RINGME_CONFIG=str(path))
    assert str(path) in sentence
    assert said in sentence


def test_bytes_that_are_no_text_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[one]\n# \xff\n")
    assert str(path) in refusal("one", RINGME_CONFIG=str(path))


def test_a_file_of_profiles_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    missing = str(tmp_path / "config.toml")
    for profile in (None, "one"):
        said = refusal(profile, RINGME_CONFIG=missing)
        assert said == f"{missing}: No such file or directory"
