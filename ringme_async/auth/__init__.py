"""Authentication: credentials, their tokens, and the limit on logins."""

from __future__ import annotations

from ringme_async.auth.credentials import (
    Auth,
    BearerToken,
    ClientCredentials,
    PasswordCredentials,
    RefreshToken,
    TokenKey,
)
from ringme_async.auth.login_throttle import LoginLimit
from ringme_async.auth.single_flight import Patience
from ringme_async.auth.token import Token
from ringme_async.auth.token_endpoint import TokenEndpoint, TokenHost
from ringme_async.auth.token_store import TokenStore

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
