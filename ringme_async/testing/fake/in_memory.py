"""What becomes of an answer in memory: as it would come out of the wire, or not at all."""

from __future__ import annotations

from attrs import evolve

from ringme_async.errors import ResponseLost
from ringme_async.testing import faults
from ringme_async.testing.fake.exchange import Visit
from ringme_async.testing.fake.gzip_bodies import garbled, zeros
from ringme_async.transports import Headers, Response


def delay_in_memory(visit: Visit) -> float:
    """Tell how many seconds pass until the whole answer is there."""
    drip = visit.fault.seconds if isinstance(visit.fault, faults.SlowDrip) else 0.0
    return visit.delay + drip


def delivered(visit: Visit) -> Response:
    """Give the answer, or raise what a transport makes of its loss.

    The body is plain, except where a fault lies in its packing: there it is left to the transport.

    Raises:
        ResponseLost: The fault leaves no answer.
    """
    match visit.fault:
        case None:
            return visit.response
        case faults.ResetBefore() | faults.ResetAfter():
            raise ResponseLost("the connection was reset before the answer")
        case faults.CutBody():
            raise ResponseLost("the connection ended in the middle of the answer")
        case faults.GarbledGzip():
            return _in_gzip(visit.response, garbled(visit.response.body))
        case faults.GzipBomb(size=size):
            return _in_gzip(visit.response, b"".join(zeros(size)))
        case _:
            return visit.response


def _in_gzip(response: Response, body: bytes) -> Response:
    fields = {**response.headers, "content-encoding": "gzip"}
    return evolve(response, headers=Headers(fields), body=body)
