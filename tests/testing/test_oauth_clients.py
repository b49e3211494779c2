"""Third-party OAuth clients and curl log in to the fake on a socket."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import frozen
from authlib.integrations.requests_client import OAuth2Session as Authlib
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from ringme_async.testing import FakeRingMe
from ringme_async.testing.plugin import serving
from tests.testing.reach import ROOT
from tests.testing.test_records import EXAMPLE

ME = f"{ROOT}/client/@me/client/"
PASSWORD = {"username": "ann", "password": "p&ss wörd"}
BY_FORM = "client_secret_post"
BY_HEADER = "client_secret_basic"


@frozen
class Served:
    url: str
    fake: FakeRingMe

    @property
    def token_url(self) -> str:
        return f"{self.url}/oauth/token"


@contextmanager
def served() -> Iterator[Served]:
    """A trusted application and one for the password grant, both of client 12."""
    fake = FakeRingMe()
    fake.add_tenant(12)
    fake.add_application("trusted", "s&cret", tenant=12)
    fake.add_application("users", "s&cret", kind="password_credentials", tenant=12)
    fake.add_user("ann", PASSWORD["password"], 12)
    with serving(fake) as url:
        yield Served(url, fake)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    # oauthlib accepts plain http only with this variable.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    with served() as server:
        yield server
        server.fake.assert_quiet()


@pytest.mark.parametrize("way", [BY_FORM, BY_HEADER])
@pytest.mark.parametrize(("app_id", "user"), [("trusted", {}), ("users", PASSWORD)])
def test_authlib_reads_a_client(
    server: Served, app_id: str, user: dict[str, str], way: str
) -> None:
    with Authlib(app_id, "s&cret", token_endpoint_auth_method=way, scope="all") as session:
        session.fetch_token(server.token_url, **user)
        answer = session.get(f"{server.url}{ME}")
    assert (answer.status_code, answer.json()) == (200, EXAMPLE)


@pytest.mark.parametrize("in_form", [True, False])
@pytest.mark.parametrize(
    ("client", "user"),
    [(BackendApplicationClient("trusted"), {}), (LegacyApplicationClient("users"), PASSWORD)],
    ids=["client-credentials", "password"],
)
def test_requests_oauthlib_reads_a_client(
    server: Served, client: Any, user: dict[str, str], in_form: bool
) -> None:
    with OAuth2Session(client=client, scope=["all"]) as session:
        session.fetch_token(
            server.token_url,
            client_id=client.client_id,
            client_secret="s&cret",
            include_client_id=in_form,
            **user,
        )
        answer = session.get(f"{server.url}{ME}")
    assert (answer.status_code, answer.json()) == (200, EXAMPLE)


def test_oauth_clients_understand_the_error_for_a_wrong_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    with (
        served() as server,
        OAuth2Session(client=BackendApplicationClient("trusted")) as session,
        pytest.raises(InvalidClientError),
    ):
        session.fetch_token(server.token_url, client_secret="wrong", include_client_id=True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_reads_a_client_if_it_accepts_gzip() -> None:
    def curl(*arguments: str) -> Any:
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", *arguments]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    form = "grant_type=client_credentials&client_id=trusted&client_secret=s%26cret"
    with served() as server:
        token = curl("--compressed", "-d", form, server.token_url)["access_token"]
        bearer = ("-H", f"Authorization: Bearer {token}", f"{server.url}{ME}")

        assert curl("--compressed", *bearer) == EXAMPLE
        server.fake.assert_quiet()
        assert "gzip" in curl(*bearer)["message"]
        assert server.fake.answers[406] == 1
