"""An element of the input whose job is in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.job import Job
from ringme_async.bulk.line import Linked
from ringme_async.bulk.outcome import Failed
from ringme_async.tenant import Who

if TYPE_CHECKING:
    from ringme_async.bulk.share import TenantShare

__all__ = ["Ticket"]

V = TypeVar("V")


@define(eq=False)
class Ticket(Linked, Generic[V]):
    """A job, whom it is for, and its place in the input.

    Attributes:
        tenant: The share that it is counted in; set when it is scheduled.
        is_probe: Whether it only asks if a host is there, and has no outcome.
        failure: How it failed when its host seemed to be down.
        abandoned: Whether its job was cancelled at the run's deadline.
    """

    index: int
    who: Who
    job: Job[V]
    tenant: TenantShare[V] = field(init=False, repr=False)
    is_probe: bool = field(default=False, kw_only=True)
    failure: Failed | None = field(default=None, init=False, repr=False)
    abandoned: bool = field(default=False, init=False)
