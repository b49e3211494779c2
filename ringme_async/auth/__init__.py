"""Who calls: kinds of credentials, the tokens they get, and the limit on logins."""

from __future__ import annotations

from ringme_async.auth.credentials import (
    Auth,
    BearerToken,
    ClientCredentials,
    PasswordCredentials,
    RefreshToken,
    TokenKey,
)
from ringme_async.auth.endpoint import TokenEndpoint, TokenHost
from ringme_async.auth.flight import Patience
from ringme_async.auth.login_limit import LoginLimit
from ringme_async.auth.store import TokenStore
from ringme_async.auth.token import Token

__all__ = [
    "Auth",
    "BearerToken",
    "ClientCredentials",
    "LoginLimit",
    "PasswordCredentials",
    "Patience",
    "RefreshToken",
    "Token",
    "TokenEndpoint",
    "TokenHost",
    "TokenKey",
    "TokenStore",
]
