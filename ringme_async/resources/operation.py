"""The operations on a client, each as a ``Call`` to send (API page, section 1)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ringme_async._internal.validation import one_of, seconds_above_zero
from ringme_async.calls.call import Call, OnQuota
from ringme_async.errors import DecodeError, InvalidRequest, WrongRecord
from ringme_async.resources.clients.codec import decode_client, encode_update, id_in
from ringme_async.resources.clients.model import Client
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.resources.target import TargetResolver
from ringme_async.tenant import ME, Who
from ringme_async.transports import Response

__all__ = ["ClientOperations", "check_update", "checked_on_quota", "checked_timeout"]

_ON_QUOTA: tuple[OnQuota, ...] = ("raise", "wait")


@frozen
class ClientOperations:
    """Builds the calls to clients, with the defaults of one ``RingMe``.

    Args:
        targets: Finds credentials, host and path of a client.
        timeout: The default timeout of a call, in seconds.
        on_quota: What a call does by default when the quota is used up.
    """

    targets: TargetResolver
    timeout: float
    on_quota: OnQuota

    def read(self, who: Who, timeout: float, on_quota: OnQuota = "raise") -> Call[Client]:
        """Build the call that reads a client.

        Raises:
            InvalidRequest: The id is malformed, or the credentials or the host are missing.
        """
        return self._call("GET", who, timeout, on_quota, b"")

    def write(
        self, who: Who, update: ClientUpdate, timeout: float, on_quota: OnQuota = "raise"
    ) -> Call[Client]:
        """Build the call that changes a client; it sets absolute values and may be repeated.

        Raises:
            InvalidRequest: As ``read``; or the update is no ``ClientUpdate``, or empty.
        """
        _check_type(update)
        return self._call("PUT", who, timeout, on_quota, encode_update(update))

    def timeout_or_default(self, timeout: float | None) -> float:
        """Check a call's timeout; None gives the default."""
        return self.timeout if timeout is None else checked_timeout(timeout)

    def on_quota_or_default(self, on_quota: OnQuota | None) -> OnQuota:
        """Check a call's ``on_quota``; None gives the default."""
        return self.on_quota if on_quota is None else checked_on_quota(on_quota)

    def _call(
        self, method: str, who: Who, timeout: float, on_quota: OnQuota, body: bytes
    ) -> Call[Client]:
        key, client_id, path = self.targets.resolve(who)
        return Call(
            method,
            path,
            key,
            _decode if client_id == ME else _decoder_of(int(client_id)),
            client_id,
            idempotent=True,
            timeout=timeout,
            body=body,
            on_quota=on_quota,
        )


def _decode(response: Response) -> Client:
    return decode_client(response.body)


def _decoder_of(asked: int) -> Callable[[Response], Client]:
    """Make the decoder of one client's record; it refuses another client's record."""

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
    """Check that an update is a ``ClientUpdate`` and not empty."""
    _check_type(update)
    if not update:
        raise InvalidRequest("the update names nothing to change")


def _check_type(update: ClientUpdate) -> None:
    if not isinstance(update, ClientUpdate):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"an update is a ClientUpdate, not a {type(update).__name__}")


def checked_timeout(timeout: float) -> float:
    """Check that a timeout is a number of seconds above 0."""
    return seconds_above_zero("timeout", timeout)


def checked_on_quota(on_quota: OnQuota) -> OnQuota:
    """Check that ``on_quota`` is ``"raise"`` or ``"wait"``."""
    return one_of("on_quota", on_quota, _ON_QUOTA)
