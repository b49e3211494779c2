"""The calls of the resource "Client", as data: reading one, changing one (API page, section 1)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ringme_async._internal.validation import one_of, seconds_above_zero
from ringme_async.calls.call import Call, OnQuota
from ringme_async.errors import DecodeError, InvalidRequest, WrongRecord
from ringme_async.resources.clients.codec import decode_client, encode_update, id_in
from ringme_async.resources.clients.model import Client
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.resources.target import Addressing
from ringme_async.tenant import ME, Who
from ringme_async.transports import Response

__all__ = ["ClientCalls", "check_update", "checked_on_quota", "checked_timeout"]

_ON_QUOTA: tuple[OnQuota, ...] = ("raise", "wait")


@frozen
class ClientCalls:
    """Makes the calls for clients of one ``RingMe``.

    Args:
        addressing: Finds out where they go.
        timeout: Seconds for a call that is given none.
        on_quota: What a call does that is not told.
    """

    addressing: Addressing
    timeout: float
    on_quota: OnQuota

    def read(self, who: Who, timeout: float, on_quota: OnQuota = "raise") -> Call[Client]:
        """Make the call that reads a client.

        Raises:
            InvalidRequest: The id is malformed, or the credentials or the host are missing.
        """
        return self._call("GET", who, timeout, on_quota, b"")

    def write(
        self, who: Who, update: ClientUpdate, timeout: float, on_quota: OnQuota = "raise"
    ) -> Call[Client]:
        """Make the call that changes a client; setting absolute values, it may be repeated.

        Raises:
            InvalidRequest: As ``read``; or the update is none, or names nothing.
        """
        _check_type(update)
        return self._call("PUT", who, timeout, on_quota, encode_update(update))

    def seconds(self, timeout: float | None) -> float:
        """Give a call's timeout, checked; None: the default."""
        return self.timeout if timeout is None else checked_timeout(timeout)

    def rule(self, on_quota: OnQuota | None) -> OnQuota:
        """Give what a call does when the quota is used up, checked; None: the default."""
        return self.on_quota if on_quota is None else checked_on_quota(on_quota)

    def _call(
        self, method: str, who: Who, timeout: float, on_quota: OnQuota, body: bytes
    ) -> Call[Client]:
        key, client_id, path = self.addressing.of(who)
        return Call(
            method,
            path,
            key,
            _decode if client_id == ME else _decoder(int(client_id)),
            client_id,
            idempotent=True,
            timeout=timeout,
            body=body,
            on_quota=on_quota,
        )


def _decode(response: Response) -> Client:
    return decode_client(response.body)


def _decoder(asked: int) -> Callable[[Response], Client]:
    """Make what reads the record of one client, and takes none of another."""

    def decode(response: Response) -> Client:
        try:
            client = decode_client(response.body)
        except DecodeError:
            found = id_in(response.body)
            if found is None or found == asked:
                raise
        else:
            found = client.id
            if found == asked:
                return client
        raise WrongRecord(
            f"the answer holds the record of another client, {found}", field="id", value=found
        )

    return decode


def check_update(update: ClientUpdate) -> None:
    """Check that an update is one, and names something."""
    _check_type(update)
    if not update:
        raise InvalidRequest("the update names nothing to change")


def _check_type(update: ClientUpdate) -> None:
    if not isinstance(update, ClientUpdate):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"an update is a ClientUpdate, not a {type(update).__name__}")


def checked_timeout(timeout: float) -> float:
    """Check a call's timeout: a number of seconds above 0."""
    return seconds_above_zero("timeout", timeout)


def checked_on_quota(on_quota: OnQuota) -> OnQuota:
    """Check what to do when the quota is used up."""
    return one_of("on_quota", on_quota, _ON_QUOTA)
