"""Host and credentials for tenants without their own: from options, environment or profile."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from ringme_async import Auth, ClientCredentials, InvalidRequest, Tenant
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.profiles import (
    CONFIG,
    Profile,
    check_base_url,
    config_path,
    default_profile,
    is_open_to_others,
    read_profile,
)
from ringme_async.environment import APP_ID, APP_SECRET, BASE_URL, TOKEN, USERNAME, auth_in

__all__ = ["CONFIG", "Settings", "config_path", "is_open_to_others", "read_settings"]


@frozen
class Settings:
    """Host and credentials for tenants without their own.

    Attributes:
        base_url: The provider's URL; None if there is none.
        auth: The credentials; None if there are none.
        warning: A warning about the profile; empty for none.
        withheld: Why found credentials are not used; empty if they are.
    """

    base_url: str | None = None
    auth: Auth | None = field(default=None, repr=False)
    warning: str = ""
    withheld: str = field(default="", eq=False)

    def require_base_url(self) -> None:
        """Check that there is a host.

        Raises:
            CouldNotStart: There is none.
        """
        if self.base_url is None:
            raise CouldNotStart(
                "there is no base URL: give --base-url, set RINGME_BASE_URL, or name a profile"
            )

    def require_auth(self) -> None:
        """Check that there are credentials.

        Raises:
            CouldNotStart: There are none.
        """
        if self.auth is None:
            raise CouldNotStart(
                self.withheld
                or "there are no credentials: set RINGME_APP_ID and RINGME_APP_SECRET, or name a"
                " profile, or a list of tenants that have their own"
            )


def read_settings(
    base_url: str | None, profile: str | None, environ: Mapping[str, str]
) -> Settings:
    """Find the base URL and the credentials.

    For each of them, an option counts before the environment, and the environment before the
    profile ``default``. A profile named by ``--profile`` counts as an option. An App ID and its App
    Secret may come from two sources.

    A secret is sent only to the host of the source that holds it. Only ``base_url`` overrules this,
    as it names the host for this command.

    Args:
        base_url: The option ``--base-url``.
        profile: The option ``--profile``.
        environ: The environment variables.

    Raises:
        CouldNotStart: A source is malformed, there is no such profile, or half of the credentials
            is for another host or another App ID.
        WrongUsage: ``base_url`` is malformed.
    """
    if base_url is not None:
        try:
            Tenant(base_url=base_url)
        except InvalidRequest as error:
            raise WrongUsage(f"--base-url: {error.reason}") from None
    if profile is not None:
        return _from_profile(read_profile(profile, environ), base_url, environ)
    return _from_environment(base_url, environ)


def _from_environment(option: str | None, environ: Mapping[str, str]) -> Settings:
    """Read the environment, and the rest from the profile ``default``."""
    own = _own_base_url(environ)
    host = option or own
    is_whole = bool(environ.get(TOKEN) or (environ.get(APP_ID) and environ.get(APP_SECRET)))
    has_part = any(environ.get(name) for name in (APP_ID, APP_SECRET, USERNAME))
    profile: Profile | None = None
    if host is None or not is_whole:
        profile = default_profile(environ, required=not (own or is_whole or has_part))
    base_url = host or (profile.base_url if profile else None)
    warning = profile.warning if profile else ""
    if is_whole or (has_part and profile is None):
        return Settings(base_url, _auth_in(environ), warning)
    if profile is None:
        return Settings(base_url)
    refusal = None if option else _conflict(base_url, profile.base_url, profile.where)
    if has_part:
        return Settings(base_url, _auth_in(_with_profile_half(environ, profile, refusal)), warning)
    if refusal and profile.has_secret:
        advice = f"set {APP_ID} and {APP_SECRET}, or choose the profile with --profile"
        return Settings(base_url, None, warning, f"{refusal}; {advice}")
    return Settings(base_url, _auth_of(profile, environ), warning)


def _from_profile(profile: Profile, option: str | None, environ: Mapping[str, str]) -> Settings:
    """Read the profile of ``--profile``, and the rest from the environment."""
    own = _own_base_url(environ)
    base_url = option or profile.base_url or own
    refusal = None if option else _conflict(base_url, own, "the environment")
    if profile.app_id is not None or profile.has_secret:
        auth = _with_environment(profile, environ, refusal)
        return Settings(base_url, auth, profile.warning)
    if not any(environ.get(name) for name in (TOKEN, APP_ID, APP_SECRET, USERNAME)):
        return Settings(base_url, None, profile.warning)
    if refusal:
        advice = f"put app_id and secret_env into {profile.where}"
        return Settings(base_url, None, profile.warning, f"{refusal}; {advice}")
    return Settings(base_url, _auth_in(environ), profile.warning)


def _with_environment(
    profile: Profile, environ: Mapping[str, str], refusal: str | None
) -> ClientCredentials | None:
    """Return a profile's credentials, with a missing half from the environment."""
    if profile.app_id is None and environ.get(APP_ID):
        profile = evolve(profile, app_id=environ[APP_ID])
    elif not profile.has_secret and environ.get(APP_SECRET):
        if refusal:
            raise CouldNotStart(f"{refusal}; give the profile a secret_env")
        if environ.get(APP_ID) not in {None, "", profile.app_id}:
            raise CouldNotStart(
                f"{profile.where}: it has no secret, and {APP_SECRET} is for another App ID;"
                " give the profile a secret_env"
            )
        profile = evolve(profile, secret=environ[APP_SECRET])
    return _auth_of(profile, environ)


def _with_profile_half(
    environ: Mapping[str, str], profile: Profile, refusal: str | None
) -> Mapping[str, str]:
    """Add the profile's half of the credentials to the half in the environment."""
    halves: dict[str, str] = {}
    if not environ.get(APP_ID) and profile.app_id is not None:
        halves[APP_ID] = profile.app_id
    if not environ.get(APP_SECRET) and profile.has_secret:
        if refusal:
            raise CouldNotStart(f"{refusal}; set {APP_SECRET} as well")
        if environ.get(APP_ID) and profile.app_id not in {None, environ[APP_ID]}:
            raise CouldNotStart(
                f"{APP_SECRET} is not set, and the secret of {profile.where} is for another App ID"
            )
        halves[APP_SECRET] = profile.secret(environ)
    return {**environ, **halves}


def _conflict(base_url: str | None, bound: str | None, where: str) -> str | None:
    """Return why a source's secret is not sent to a host; None if it may be."""
    if bound is None or Tenant(base_url=base_url).origin == Tenant(base_url=bound).origin:
        return None
    return f"the credentials of {where} are for {bound}, and are not sent to {base_url}"


def _own_base_url(environ: Mapping[str, str]) -> str | None:
    base_url = environ.get(BASE_URL) or None
    check_base_url(base_url, BASE_URL)
    return base_url


def _auth_in(environ: Mapping[str, str]) -> Auth:
    try:
        return auth_in(environ)
    except InvalidRequest as error:
        raise CouldNotStart(error.reason) from None


def _auth_of(profile: Profile, environ: Mapping[str, str]) -> ClientCredentials | None:
    if profile.app_id is None:
        if profile.has_secret:
            raise CouldNotStart(f"{profile.where}: it has a secret, and no app_id")
        return None
    if not profile.has_secret:
        raise CouldNotStart(f"{profile.where}: an app_id needs either a secret or a secret_env")
    return _client_credentials(profile.app_id, profile.secret(environ), profile.where)


def _client_credentials(app_id: str, secret: str, where: str) -> ClientCredentials:
    try:
        return ClientCredentials(app_id, secret)
    except InvalidRequest as error:
        message = error.reason
    # Outside the `except`, so that no frame that holds the secret is chained.
    raise CouldNotStart(f"{where}: {message}")
