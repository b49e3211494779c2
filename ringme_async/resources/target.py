"""From whom a call is for to where it goes, with which credentials."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ringme_async._internal.validation import one_of
from ringme_async.auth import Auth, TokenKey
from ringme_async.errors import InvalidRequest
from ringme_async.tenant import Tenant, Who, checked_auth, client_id_in_path, origin_of

UrlForm = Literal["client", "client_info"]

_URL_FORMS: tuple[UrlForm, ...] = ("client", "client_info")
_NO_HOST = "no base_url: give one to RingMe, or to the tenant"


@frozen
class Addressing:
    """Resolves whom calls are for against the defaults of one ``RingMe``."""

    origin: str | None
    # One for all calls: looking things up by the very same key is quicker than by an equal one.
    own: TokenKey | None
    url_form: UrlForm

    @classmethod
    def by(cls, base_url: str | None, auth: Auth | None, url_form: UrlForm) -> Addressing:
        """Take the defaults as they were given to a ``RingMe``.

        Raises:
            InvalidRequest: One of them is malformed.
        """
        one_of("url_form", url_form, _URL_FORMS)
        origin = None if base_url is None else origin_of(base_url)
        checked_auth(auth)
        own = None if origin is None or auth is None else TokenKey(origin, auth)
        return cls(origin, own, url_form)

    def of(self, who: Who) -> tuple[TokenKey, str, str]:
        """Find out where a call for ``who`` goes.

        Returns:
            Its credentials and host, the id as it stands in a path, and the path.

        Raises:
            InvalidRequest: The id is malformed, or no credentials or no host are known for it.
        """
        if isinstance(who, Tenant):
            client_id = client_id_in_path(who.client_id)
            key = self.key_of(who)
        else:
            client_id = client_id_in_path(who)
            key = self.own or self._own_key()
        if self.url_form == "client":
            return key, client_id, f"/client/{client_id}/client/"
        return key, client_id, f"/client/client_info/{client_id}/"

    def origin_for(self, who: Who) -> str | None:
        """Tell which host a call for ``who`` goes to; None if no host is known for it."""
        return (who.origin if isinstance(who, Tenant) else None) or self.origin

    def key_of(self, tenant: Tenant | None) -> TokenKey:
        """Choose the credentials and the host; never send credentials to a host not theirs."""
        if tenant is None:
            return self._own_key()
        if not isinstance(tenant, Tenant):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"tenant is a Tenant, not a {type(tenant).__name__}")
        if tenant.auth is None and tenant.origin in {None, self.origin}:
            return self._own_key()
        origin = tenant.origin or self.origin
        if origin is None:
            raise InvalidRequest(_NO_HOST)
        if tenant.auth is None:
            raise InvalidRequest(
                "the tenant's base_url is another host than RingMe's; give the tenant auth= too"
            )
        return TokenKey(origin, tenant.auth)

    def _own_key(self) -> TokenKey:
        if self.origin is None:
            raise InvalidRequest(_NO_HOST)
        if self.own is None:
            raise InvalidRequest("no credentials: give auth= to RingMe, or to the tenant")
        return self.own
