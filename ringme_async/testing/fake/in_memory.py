"""An answer delivered in memory: what a transport would return or raise."""

from __future__ import annotations

from attrs import evolve

from ringme_async.errors import ResponseLost
from ringme_async.testing.fake import fault_kinds
from ringme_async.testing.fake.exchange import Exchange
from ringme_async.testing.fake.gzip_bodies import garbled, zeros
from ringme_async.transports import Headers, Response


def delay_in_memory(exchange: Exchange) -> float:
    """Return the seconds until the whole answer has arrived."""
    drip = exchange.fault.seconds if isinstance(exchange.fault, fault_kinds.SlowDrip) else 0.0
    return exchange.delay + drip


def deliver(exchange: Exchange) -> Response:
    """Return the answer, or raise what a transport raises when it is lost.

    The body is uncompressed, unless the fault is in the compression: the transport must meet that.

    Raises:
        ResponseLost: The fault leaves no answer.
    """
    match exchange.fault:
        case None:
            return exchange.response
        case fault_kinds.ResetBefore() | fault_kinds.ResetAfter():
            raise ResponseLost("the connection was reset before the answer")
        case fault_kinds.CutBody():
            raise ResponseLost("the connection ended in the middle of the answer")
        case fault_kinds.GarbledGzip():
            return _in_gzip(exchange.response, garbled(exchange.response.body))
        case fault_kinds.GzipBomb(size=size):
            return _in_gzip(exchange.response, b"".join(zeros(size)))
        case _:
            return exchange.response


def _in_gzip(response: Response, body: bytes) -> Response:
    fields = {**response.headers, "content-encoding": "gzip"}
    return evolve(response, headers=Headers(fields), body=body)
