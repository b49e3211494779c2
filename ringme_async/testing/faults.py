"""What can go wrong between a client and RingMe, each as a small value.

Import the module, not its names, since some of them are names of errors too::

    from ringme_async.testing import faults

    fake.faults.next(faults.ServerError(503, retry_after=2), times=3, on="GET", tenant=12)

Every fault acts the same in memory and over a loopback server. A fault that carries the request out
does so first, even if the caller no longer waits for the answer.
"""

from ringme_async.testing.fake.fault_kinds import (
    Busy,
    ClockSkew,
    CutBody,
    Empty,
    Fault,
    GarbledBody,
    GarbledGzip,
    GzipBomb,
    Html,
    RateLimited,
    Redirect,
    ResetAfter,
    ResetBefore,
    ServerError,
    SlowDrip,
    Stall,
    Status,
    TokenDeath,
)

__all__ = [
    "Busy",
    "ClockSkew",
    "CutBody",
    "Empty",
    "Fault",
    "GarbledBody",
    "GarbledGzip",
    "GzipBomb",
    "Html",
    "RateLimited",
    "Redirect",
    "ResetAfter",
    "ResetBefore",
    "ServerError",
    "SlowDrip",
    "Stall",
    "Status",
    "TokenDeath",
]
