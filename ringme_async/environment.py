"""The base URL and the credentials from environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from ringme_async._internal.validation import refusing
from ringme_async.auth import Auth, BearerToken, ClientCredentials, PasswordCredentials
from ringme_async.errors import InvalidRequest

BASE_URL = "RINGME_BASE_URL"
TOKEN = "RINGME_TOKEN"
APP_ID = "RINGME_APP_ID"
APP_SECRET = "RINGME_APP_SECRET"
USERNAME = "RINGME_USERNAME"
PASSWORD = "RINGME_PASSWORD"


@refusing
def base_url_in(environ: Mapping[str, str]) -> str:
    """Read the base URL.

    Raises:
        InvalidRequest: It is not set.
    """
    base_url = environ.get(BASE_URL)
    if not base_url:
        raise InvalidRequest(
            f"the environment variable {BASE_URL} is not set; it is the provider's URL,"
            ' such as "https://pbx.example.com"'
        )
    return base_url


@refusing
def auth_in(environ: Mapping[str, str]) -> Auth:
    """Read the credentials: a token, or an App ID and Secret, optionally with a user.

    Raises:
        InvalidRequest: None are set, or only a part of them.
    """
    if environ.get(TOKEN):
        return BearerToken(environ[TOKEN])
    missing = [name for name in (APP_ID, APP_SECRET) if not environ.get(name)]
    if missing:
        raise InvalidRequest(
            f"the environment variable {missing[0]} is not set; set {APP_ID} and {APP_SECRET},"
            f" or {TOKEN}"
        )
    if not environ.get(USERNAME):
        return ClientCredentials(environ[APP_ID], environ[APP_SECRET])
    if not environ.get(PASSWORD):
        raise InvalidRequest(
            f"the environment variable {PASSWORD} is not set, and {USERNAME} is; set both or none"
        )
    return PasswordCredentials(
        environ[APP_ID], environ[APP_SECRET], environ[USERNAME], environ[PASSWORD]
    )
