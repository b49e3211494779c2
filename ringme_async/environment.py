"""Where to and with which credentials, from environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from ringme_async.auth import Auth, BearerToken, ClientCredentials, PasswordCredentials
from ringme_async.errors import InvalidRequest

BASE_URL = "RINGME_BASE_URL"
TOKEN = "RINGME_TOKEN"
APP_ID = "RINGME_APP_ID"
APP_SECRET = "RINGME_APP_SECRET"
USERNAME = "RINGME_USERNAME"
PASSWORD = "RINGME_PASSWORD"


def base_url_in(environ: Mapping[str, str]) -> str:
    """Read the base URL.

    Raises:
        InvalidRequest: It is not set.
    """
    base_url = environ.get(BASE_URL)
    if not base_url:
        raise InvalidRequest(f"the environment variable {BASE_URL} is not set")
    return base_url


def auth_in(environ: Mapping[str, str]) -> Auth:
    """Read the credentials: a token, or an App ID and Secret, perhaps with a user.

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
        raise InvalidRequest(f"{USERNAME} is set, and {PASSWORD} is not")
    return PasswordCredentials(
        environ[APP_ID], environ[APP_SECRET], environ[USERNAME], environ[PASSWORD]
    )
