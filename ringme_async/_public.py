"""Every public name of ``ringme_async``, which loads this module on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ringme_async._internal.frozen_json import JSON
from ringme_async._internal.public_names import publish
from ringme_async.auth import (
    Auth,
    BearerToken,
    ClientCredentials,
    LoginLimit,
    PasswordCredentials,
    RefreshToken,
    Token,
    TokenHost,
    TokenStore,
)
from ringme_async.bulk import (
    BulkReport,
    BulkRun,
    BulkSummary,
    Done,
    Failed,
    NotAttempted,
    Outcome,
    Progress,
)
from ringme_async.errors import (
    AccessDenied,
    ApiError,
    AppAccessTypeDenied,
    BadRequest,
    Busy,
    CertificateError,
    ClientNotFound,
    Conflict,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    InvalidRequest,
    NotApplied,
    NotFound,
    RateLimited,
    ResponseLost,
    ResponseTooLarge,
    RingMeClosed,
    RingMeError,
    ServerError,
    TokenError,
    TransportError,
    TransportTimeout,
    Unauthorized,
    UserAccessTypeDenied,
    UserBlocked,
    WrongRecord,
)
from ringme_async.events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallStarted,
    Event,
    HeaderObserver,
    Observer,
    Parked,
    RetryScheduled,
    TokenFetched,
    Woken,
)
from ringme_async.policies.retry import RetryPolicy
from ringme_async.resources.clients.codec import client_from_json, client_to_json
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import Client, ClientType
from ringme_async.resources.clients.plan import Applied, FieldChange, Plan, PlannedChange, Written
from ringme_async.resources.clients.update import UNSET, ClientUpdate
from ringme_async.ringme import RingMe
from ringme_async.tenant import Tenant, Who
from ringme_async.transports import Headers, Request, Response, Timeouts, Transport
from ringme_async.transports.memory import InMemoryTransport
from ringme_async.version import __version__

if TYPE_CHECKING:
    from ringme_async.transports.aiohttp import AiohttpTransport
else:

    def __getattr__(name: str) -> object:
        """Load aiohttp only for its transport: programs with another transport need none."""
        if name != "AiohttpTransport":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        transport = import_module("ringme_async.transports.aiohttp").AiohttpTransport
        publish("ringme_async", [name], {name: transport})
        return transport


__all__ = [
    "JSON",
    "UNSET",
    "AccessDenied",
    "AiohttpTransport",
    "ApiError",
    "AppAccessTypeDenied",
    "Applied",
    "AttemptEnded",
    "AttemptSent",
    "Auth",
    "BadRequest",
    "BearerToken",
    "BulkReport",
    "BulkRun",
    "BulkSummary",
    "Busy",
    "CallEnded",
    "CallStarted",
    "CertificateError",
    "Client",
    "ClientCredentials",
    "ClientNotFound",
    "ClientType",
    "ClientUpdate",
    "Conflict",
    "ConnectError",
    "DeadlineExceeded",
    "DecodeError",
    "Done",
    "Event",
    "Failed",
    "FieldChange",
    "Forbidden",
    "GeoList",
    "HeaderObserver",
    "Headers",
    "InMemoryTransport",
    "InvalidRequest",
    "LoginLimit",
    "NotApplied",
    "NotAttempted",
    "NotFound",
    "Observer",
    "Outcome",
    "Parked",
    "PasswordCredentials",
    "Plan",
    "PlannedChange",
    "Progress",
    "RateLimited",
    "RefreshToken",
    "Request",
    "Response",
    "ResponseLost",
    "ResponseTooLarge",
    "RetryPolicy",
    "RetryScheduled",
    "RingMe",
    "RingMeClosed",
    "RingMeError",
    "ServerError",
    "Tenant",
    "Timeouts",
    "Token",
    "TokenError",
    "TokenFetched",
    "TokenHost",
    "TokenStore",
    "Transport",
    "TransportError",
    "TransportTimeout",
    "Unauthorized",
    "UserAccessTypeDenied",
    "UserBlocked",
    "Who",
    "Woken",
    "Written",
    "WrongRecord",
    "__version__",
    "client_from_json",
    "client_to_json",
]

publish("ringme_async", __all__, globals())
