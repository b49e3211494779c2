"""Find the credentials, the host and the path for a client."""

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
class TargetResolver:
    """Resolves clients and tenants to targets, with the defaults of one ``RingMe``."""

    origin: str | None
    # One object for all calls: dict lookups by the same key are quicker than by an equal one.
    default_key: TokenKey | None
    url_form: UrlForm

    @classmethod
    def from_defaults(
        cls, base_url: str | None, auth: Auth | None, url_form: UrlForm
    ) -> TargetResolver:
        """Take the defaults that a ``RingMe`` was given.

        Raises:
            InvalidRequest: One of them is malformed.
        """
        one_of("url_form", url_form, _URL_FORMS)
        origin = None if base_url is None else origin_of(base_url)
        checked_auth(auth)
        default_key = None if origin is None or auth is None else TokenKey(origin, auth)
        return cls(origin, default_key, url_form)

    def resolve(self, who: Who) -> tuple[TokenKey, str, str]:
        """Find the credentials, the host and the path of a call.

        Returns:
            The key of credentials and host, the id for a path, and the path.

        Raises:
            InvalidRequest: The id is malformed, or the credentials or the host are missing.
        """
        if isinstance(who, Tenant):
            client_id = client_id_in_path(who.client_id)
            key = self.key_of(who)
        else:
            client_id = client_id_in_path(who)
            key = self.default_key or self._checked_default_key()
        if self.url_form == "client":
            return key, client_id, f"/client/{client_id}/client/"
        return key, client_id, f"/client/client_info/{client_id}/"

    def origin_for(self, who: Who) -> str | None:
        """Find the host that a call for ``who`` goes to; None if unknown."""
        return (who.origin if isinstance(who, Tenant) else None) or self.origin

    def key_of(self, tenant: Tenant | None) -> TokenKey:
        """Choose credentials and host; a tenant's own host never gets RingMe's credentials."""
        if tenant is None:
            return self._checked_default_key()
        if not isinstance(tenant, Tenant):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"tenant is a Tenant, not a {type(tenant).__name__}")
        if tenant.auth is None and tenant.origin in {None, self.origin}:
            return self._checked_default_key()
        origin = tenant.origin or self.origin
        if origin is None:
            raise InvalidRequest(_NO_HOST)
        if tenant.auth is None:
            raise InvalidRequest(
                "the tenant's base_url is another host than RingMe's; give the tenant auth= too"
            )
        return TokenKey(origin, tenant.auth)

    def _checked_default_key(self) -> TokenKey:
        if self.origin is None:
            raise InvalidRequest(_NO_HOST)
        if self.default_key is None:
            raise InvalidRequest("no credentials: give auth= to RingMe, or to the tenant")
        return self.default_key
