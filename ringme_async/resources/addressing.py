"""From whom a call is for to where it goes, with which credentials."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ringme_async.auth import Auth, TokenKey
from ringme_async.errors import InvalidRequest
from ringme_async.tenant import Tenant, Who, client_id_in_path

UrlForm = Literal["client", "client_info"]


@frozen
class Address:
    """Where a call for a client goes."""

    key: TokenKey
    client_id: str
    path: str


@frozen
class Addressing:
    """Resolves whom calls are for against the defaults of one ``RingMe``."""

    origin: str | None
    auth: Auth | None
    url_form: UrlForm = "client"

    def of(self, who: Who) -> Address:
        """Find out where a call for ``who`` goes.

        Raises:
            InvalidRequest: The id is malformed, or no credentials or no host are known for it.
        """
        client_id = client_id_in_path(who.client_id if isinstance(who, Tenant) else who)
        key = self.key_of(who if isinstance(who, Tenant) else None)
        if self.url_form == "client":
            return Address(key, client_id, f"/client/{client_id}/client/")
        return Address(key, client_id, f"/client/client_info/{client_id}/")

    def key_of(self, tenant: Tenant | None) -> TokenKey:
        """Choose the credentials and the host; never send credentials to a host not theirs."""
        if tenant is None:
            tenant = _NOBODY_IN_PARTICULAR
        origin = tenant.origin or self.origin
        if origin is None:
            raise InvalidRequest("no base_url: give one to RingMe, or to the tenant")
        if tenant.auth is not None:
            return TokenKey(origin, tenant.auth)
        if self.auth is None:
            raise InvalidRequest("no credentials: give auth= to RingMe, or to the tenant")
        if origin != self.origin:
            raise InvalidRequest(
                "the tenant's base_url is another host than RingMe's; give the tenant auth= too"
            )
        return TokenKey(origin, self.auth)


_NOBODY_IN_PARTICULAR = Tenant()
