"""Settings from environment variables."""

from __future__ import annotations

import pytest

from ringme_async import BearerToken, ClientCredentials, InvalidRequest, PasswordCredentials, RingMe
from ringme_async.environment import auth_in, base_url_in
from tests.scripted import ScriptedTransport, record

APP = {"RINGME_APP_ID": "app", "RINGME_APP_SECRET": "s3cret"}
USER = {"RINGME_USERNAME": "olga", "RINGME_PASSWORD": "pa55"}


@pytest.mark.parametrize(
    ("environ", "auth"),
    [
        (APP, ClientCredentials("app", "s3cret")),
        (APP | USER, PasswordCredentials("app", "s3cret", "olga", "pa55")),
        ({"RINGME_TOKEN": "t0ken"}, BearerToken("t0ken")),
        (APP | {"RINGME_TOKEN": "t0ken"}, BearerToken("t0ken")),
    ],
)
def test_the_variables_that_are_set_choose_the_credentials(
    environ: dict[str, str], auth: object
) -> None:
    assert auth_in(environ) == auth


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "RINGME_APP_ID"),
        ({"RINGME_APP_ID": "app"}, "RINGME_APP_SECRET"),
        ({"RINGME_APP_SECRET": "s3cret", "RINGME_APP_ID": ""}, "RINGME_APP_ID"),
        (APP | {"RINGME_USERNAME": "olga"}, "RINGME_PASSWORD"),
    ],
)
def test_a_missing_variable_is_named_and_no_value_is_shown(
    environ: dict[str, str], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        auth_in(environ)

    assert "s3cret" not in str(caught.value)


def test_a_missing_base_url_is_named() -> None:
    with pytest.raises(InvalidRequest, match="RINGME_BASE_URL"):
        base_url_in({})


async def test_a_ringme_is_made_from_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RINGME_BASE_URL", "https://pbx.example.com")
    monkeypatch.setenv("RINGME_TOKEN", "t0ken")
    transport = ScriptedTransport([record(id=12)])

    async with RingMe.from_env(transport=transport) as ringme:
        assert (await ringme.clients.get(12)).id == 12

    assert transport.requests[0].headers["authorization"] == "Bearer t0ken"


def test_a_ringme_is_made_from_any_mapping() -> None:
    environ = {"RINGME_BASE_URL": "https://pbx.example.com", **APP}

    ringme = RingMe.from_env(environ, transport=ScriptedTransport([record()]))

    assert repr(ringme) == "<RingMe https://pbx.example.com>"
